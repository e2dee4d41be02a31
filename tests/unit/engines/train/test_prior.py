"""Labels of a surrogate at low weight: only what its energy scale does not decide counts, and only
where DFT says nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from linear_fits_for_tests import copper, fitted, job, labelled
from pyace import ACEBBasisSet

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.engines.ports import Trained
from mlip_autopipec.engines.train.pacemaker.basis import empty_basis
from mlip_autopipec.engines.train.pacemaker.design import LinearBasis
from mlip_autopipec.engines.train.pacemaker.engine import LinearAce
from mlip_autopipec.engines.train.pacemaker.inputs import settings_of
from mlip_autopipec.engines.train.pacemaker.prior import prior_equations

CALM = [copper(seed, spread=0.05) for seed in range(12)]


def dense(seed: int) -> LabelledStructure:
    """Copper pressed together by a sixth to a third of its volume."""
    rng = np.random.default_rng(100 + seed)
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array * rng.uniform(0.89, 0.94), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return labelled(f"dense{seed}", atoms)


def shifted(item: LabelledStructure, ev_per_atom: float, sign: float = 1.0) -> LabelledStructure:
    """The same on another energy scale; ``sign`` -1: a surrogate that has it all wrong."""
    label = item.label
    assert label.stress is not None
    own = replace(
        label,
        energy_ev=sign * label.energy_ev + ev_per_atom * len(item.atoms),
        forces=sign * label.forces,
        stress=sign * label.stress,
    )
    return replace(item, label=own)


PRIOR = tuple(shifted(dense(seed), -7.0) for seed in range(30))


@pytest.fixture(scope="module")
def leaning(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return fitted(replace(job(CALM), prior=PRIOR), tmp_path_factory.mktemp("leaning"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return fitted(job(CALM), tmp_path_factory.mktemp("alone"))


def misses(trained: Trained, items: list[LabelledStructure]) -> tuple[float, float]:
    """Root mean square of energies (eV/atom) and forces (eV/Å)."""
    calculator = LinearAce().calculator(trained.folder)
    energies, forces = [], []
    for item in items:
        atoms: Atoms = item.atoms.copy()
        atoms.calc = calculator
        energies.append((atoms.get_potential_energy() - item.label.energy_ev) / len(atoms))
        forces.append(atoms.get_forces() - item.label.forces)
    return float(np.sqrt(np.mean(np.square(energies)))), float(np.sqrt(np.mean(np.square(forces))))


def test_the_energy_scale_of_the_surrogate_does_not_count() -> None:
    asked = job(CALM)
    basis = LinearBasis(ACEBBasisSet(empty_basis(settings_of(asked, "linear"))))
    here = prior_equations(basis, [dense(seed) for seed in range(6)], {"Cu": 0.0})
    there = prior_equations(basis, [shifted(dense(n), 3.0) for n in range(6)], {"Cu": -2.0})
    size = np.abs(here[1]).max()
    np.testing.assert_allclose(here[0], there[0])
    np.testing.assert_allclose(here[1], there[1], atol=1e-9 * size)


def test_the_surrogate_is_believed_where_dft_says_nothing(leaning: Trained, alone: Trained) -> None:
    unseen = [dense(seed) for seed in range(200, 206)]
    with_it, without = misses(leaning, unseen), misses(alone, unseen)
    assert with_it[0] < 0.5 * without[0]
    assert with_it[1] < 0.5 * without[1]
    assert leaning.metrics["chosen"]["prior_weight"] > 0
    assert alone.metrics["chosen"]["prior_weight"] == 0


def test_where_dft_speaks_hardly_anything_changes(leaning: Trained, alone: Trained) -> None:
    near = [copper(seed, spread=0.05) for seed in range(50, 56)]
    assert misses(leaning, near)[1] < max(1.5 * misses(alone, near)[1], 0.01)


def test_a_surrogate_that_spoils_what_dft_knows_is_not_believed(tmp_path: Path) -> None:
    # Rattled crystals with their forces turned round, ten thousand times as loud.
    wrong = tuple(shifted(copper(seed, spread=0.05), 0.0, sign=-1.0e4) for seed in range(300, 330))
    trained = fitted(replace(job(CALM), prior=wrong), tmp_path / "fit")
    assert trained.metrics["chosen"]["prior_weight"] == 0
