"""What a potential has to survive before it is released: hot MD of compressed and expanded cells,
atoms pushed into each other, atoms alone. Any ASE calculator is asked, whoever made it.

The errors of a potential are measured where there are labels. A user's MD goes where there are
none: there it has to be wrong in a way that brings the atoms back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii
from ase.md.langevin import Langevin

from mlip_autopipec.base.values import Json
from mlip_autopipec.science.contacts import STREAM_LIMIT, closest_contact
from mlip_autopipec.science.lattices import bare, md_cell, standard_cell

__all__ = ["HOTTER", "FreeAtom", "Gate", "GateCheck", "release_gate"]

#: MD runs at this many times the highest temperature asked for.
HOTTER = 1.5
#: Volumes of the MD cells beside that of the start, less one; a molecule has its box alone.
VOLUMES = (-0.1, 0.0, 0.1)
#: Atoms of the MD cell: about, and at most where the crystal has such a cell.
ATOMS, MOST_ATOMS = 12, 16
#: An explosion is hotter than this many times the thermostat, which no small cell is by chance.
BEYOND_REASON = 10.0
#: 1/fs: the thermostat holds the heat of a slow collapse, and leaves vibrations alone.
FRICTION_PER_FS = 0.01
#: Steps of MD between two looks.
LOOK_EVERY = 10
#: Two atoms are pushed together from this share of their covalent distance to NEAREST_A.
DIMER_FROM, NEAREST_A, DIMER_POINTS = 0.7, 0.3, 15
# Their cell: no image is within reach.
DIMER_BOX_A = 20.0
#: eV: atoms alone, potential against DFT.
FREE_ATOM_EV = 0.2


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One thing that was tried, and how it went in words with the numbers."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a potential may be released."""

    checks: tuple[GateCheck, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_json(self) -> Json:
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Gate:
        return cls(tuple(GateCheck(**check) for check in data["checks"]))


@dataclass(frozen=True, slots=True)
class FreeAtom:
    """An atom alone, and its energy by DFT (eV)."""

    atoms: Atoms
    energy_ev: float


def release_gate(
    calculator: Calculator,
    start: Atoms,
    elements: Sequence[str],
    temperature_k: float,
    timestep_fs: float,
    free_atoms: Sequence[FreeAtom] = (),
    *,
    ps: float = 10.0,
    seed: int = 0,
) -> Gate:
    """Every check of the potential behind ``calculator``.

    ``start``: the material at rest; ``elements``: of which each pair is looked at;
    ``temperature_k``: the highest that was asked for. MD runs for ``ps`` at each volume.
    """
    return Gate(
        (
            *_md(calculator, start, HOTTER * temperature_k, timestep_fs, ps, seed),
            *_dimers(calculator, elements),
            *(_alone(calculator, atom) for atom in free_atoms),
        )
    )


def _md(
    calculator: Calculator,
    start: Atoms,
    temperature_k: float,
    timestep_fs: float,
    ps: float,
    seed: int,
) -> Iterator[GateCheck]:
    for number, off in enumerate(VOLUMES if start.pbc.all() else (0.0,)):
        cell = _small_cell(start)
        cell.set_cell(cell.cell.array * (1 + off) ** (1 / 3), scale_atoms=True)
        cell.calc = calculator
        where = f"MD of {len(cell)} atoms at {temperature_k:.0f} K"
        if start.pbc.all():
            where += f" and {off:+.0%} volume"
        rng = np.random.default_rng([seed, number])
        name = f"md{100 * off:+.0f}%" if start.pbc.all() else "md"
        passed, text = _run(cell, temperature_k, timestep_fs, ps, rng)
        yield GateCheck(name, passed, f"{where}: {text}")


def _small_cell(start: Atoms) -> Atoms:
    cell = md_cell(start, ATOMS)
    if len(cell) <= MOST_ATOMS or not start.pbc.all():
        return bare(cell)
    return standard_cell(start, primitive=True)


def _run(
    atoms: Atoms, temperature_k: float, timestep_fs: float, ps: float, rng: np.random.Generator
) -> tuple[bool, str]:
    """Whether the atoms stay together as atoms, and in words how it went."""
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature_k)
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * spread[:, None])
    motion = Langevin(
        atoms,
        timestep_fs * units.fs,
        temperature_K=temperature_k,
        friction=FRICTION_PER_FS / units.fs,
        rng=rng,
        fixcm=False,
    )
    hottest, closest = 0.0, float("inf")
    steps = max(1, round(1000 * ps / timestep_fs))
    for done in range(LOOK_EVERY, steps + LOOK_EVERY, LOOK_EVERY):
        after = f"after {done * timestep_fs / 1000:.2f} ps"
        try:
            # At once: programs hang over positions that are no numbers.
            broken = any(not np.isfinite(atoms.get_forces()).all() for _ in motion.irun(LOOK_EVERY))
        except Exception as error:  # whatever a potential raises out there is how it fails
            return False, f"the potential gave up ({type(error).__name__}: {error}) {after}"
        if broken:
            return False, f"forces are no finite numbers {after}"
        hottest = max(hottest, float(atoms.get_temperature()))
        if hottest > BEYOND_REASON * temperature_k:
            return False, f"{hottest:.0f} K {after}"
        closest = min(closest, closest_contact(atoms))
        if closest < STREAM_LIMIT:
            return False, f"a pair at {closest:.2f} of its covalent distance {after}"
    return True, f"{ps:g} ps, at most {hottest:.0f} K, pairs at {closest:.2f} and more of theirs"


def _dimers(calculator: Calculator, elements: Sequence[str]) -> Iterator[GateCheck]:
    for one, other in itertools.combinations_with_replacement(elements, 2):
        sum_a = sum(float(covalent_radii[atomic_numbers[symbol]]) for symbol in (one, other))
        distances = np.linspace(DIMER_FROM * sum_a, NEAREST_A, DIMER_POINTS)
        energies, pushes = zip(
            *(_pushed(calculator, one, other, float(distance)) for distance in distances),
            strict=True,
        )
        # Written so that what is not a number fails.
        rising = np.append(np.diff(energies) > 0, True) & (np.asarray(pushes) > 0)
        reach = f"from {distances[0]:.2f} to {NEAREST_A:g} Å"
        if rising.all():
            height = energies[-1] - energies[0]
            text = f"{one}-{other} repels {reach}, by {height:.0f} eV"
        else:
            where = float(distances[int(np.argmin(rising))])
            text = f"{one}-{other} attracts at {where:.2f} Å, looked at {reach}"
        yield GateCheck(f"dimer {one}-{other}", bool(rising.all()), text)


def _pushed(calculator: Calculator, one: str, other: str, distance_a: float) -> tuple[float, float]:
    """Energy (eV) of two atoms, and the force (eV/Å) that drives the second one away."""
    atoms = Atoms([one, other], positions=[[0, 0, 0], [distance_a, 0, 0]])
    atoms.set_cell(np.eye(3) * DIMER_BOX_A)
    atoms.center()
    atoms.calc = calculator
    return float(atoms.get_potential_energy()), float(atoms.get_forces()[1, 0])


def _alone(calculator: Calculator, atom: FreeAtom) -> GateCheck:
    atoms = bare(atom.atoms)
    atoms.calc = calculator
    off = float(atoms.get_potential_energy()) - atom.energy_ev
    name = f"free atom {atoms.get_chemical_formula()}"
    text = f"{name} costs {off:+.3f} eV against DFT, at most {FREE_ATOM_EV:g} eV"
    return GateCheck(name, bool(abs(off) <= FREE_ATOM_EV), text)
