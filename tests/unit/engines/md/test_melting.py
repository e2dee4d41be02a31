"""What counts as a liquid, by displacements that are given."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.engines.md.lammps.melting import Displacements, Melting
from mlip_autopipec.engines.ports import MdJob

CELL = bulk("Al", cubic=True) * (2, 2, 2)
EVERY = 50  # steps of 2 fs: a tenth of a picosecond


def test_displacements_cross_the_boundary_and_leave_drift_out() -> None:
    rng, seen = np.random.default_rng(1), Displacements()
    moved = np.zeros((len(CELL), 3))
    seen.add(CELL)
    for _ in range(20):
        moved += rng.normal(0.0, 0.5, moved.shape) + np.array([0.9, 0.0, 0.0])
        atoms = CELL.copy()
        atoms.positions += moved
        atoms.wrap()
        seen.add(atoms)
    own = moved - moved.mean(axis=0)
    edge = (CELL.get_volume() / len(CELL)) ** (1 / 3)
    assert seen.ratio(CELL) == pytest.approx(np.sqrt((own**2).sum(axis=1).mean()) / edge)


class Motion:
    """Atoms that vibrate about their places, or diffuse by 3 Å²/ps."""

    def __init__(self) -> None:
        job = MdJob(
            CELL, ("Al",), "npt", 1200.0, 0.0, 2.0, 10.0, 1.0, 0.25, 12.0, 10, 0.0, 1, Path("p")
        )
        self.melting = Melting(MdJob(**{**_fields(job), "melt_k": 2400.0}))
        self.rng, self.step, self.away = np.random.default_rng(2), 0, np.zeros((len(CELL), 3))

    def go(self, ps: float, *, diffuses: bool) -> str | None:
        for _ in range(round(ps / 0.1)):
            self.step += EVERY
            if diffuses:
                self.away += self.rng.normal(0.0, np.sqrt(0.1), self.away.shape)
            atoms: Atoms = CELL.copy()
            atoms.positions += self.away + self.rng.normal(0.0, 0.3, self.away.shape)
            atoms.wrap()
            self.melting.watch(self.step, atoms)
            if (reason := self.melting.advance(self.step, atoms)) is not None:
                return reason
        return None


def _fields(job: MdJob) -> dict[str, object]:
    return {name: getattr(job, name) for name in MdJob.__slots__}


def test_a_melt_is_heated_cooled_and_liquid_once_it_diffuses() -> None:
    motion = Motion()
    assert (motion.melting.ensemble, motion.melting.temperature_k) == ("nvt", 2400.0)
    assert motion.go(1.9, diffuses=False) is None
    assert motion.melting.temperature_k == 2400.0
    assert motion.go(0.3, diffuses=False) is None
    assert motion.melting.temperature_k > 2400.0, "hotter where it resists"
    assert motion.go(2.0, diffuses=True) is None
    assert (motion.melting.ensemble, motion.melting.temperature_k) == ("npt", 1200.0)
    assert motion.go(3.0, diffuses=True) is None and motion.melting.liquid
    assert motion.go(12.0, diffuses=True) is None and motion.melting.liquid


def test_a_crystal_never_becomes_a_liquid() -> None:
    reason = Motion().go(30.0, diffuses=False)
    assert reason is not None and "does not melt" in reason


def test_a_liquid_that_freezes_in_the_run_is_none() -> None:
    motion = Motion()
    motion.go(6.0, diffuses=True)
    assert motion.melting.liquid
    reason = motion.go(11.0, diffuses=False)
    assert reason == "it froze at 1200 K"


def test_another_potential_has_to_show_that_it_is_liquid_there() -> None:
    motion = Motion()
    motion.go(6.0, diffuses=True)
    motion.melting.doubt(motion.step)
    assert not motion.melting.liquid and motion.melting.temperature_k == 1200.0
