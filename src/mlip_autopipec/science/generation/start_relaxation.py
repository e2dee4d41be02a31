"""Single start structures under the surrogate: the volume of lowest energy, and relaxation that
keeps the symmetry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter, UnitCellFilter
from ase.optimize import BFGS

from mlip_autopipec.science import symmetry
from mlip_autopipec.science.contacts import START_LIMIT, closest_contact
from mlip_autopipec.science.lattices import bare

__all__ = [
    "TIGHT_FORCE_EV_PER_A",
    "Evaluate",
    "Tried",
    "one_by_one",
    "relaxed",
    "relaxed_with_energy",
    "scanned",
]

# Of the starts that everything is built on: below the error of any label.
TIGHT_FORCE_EV_PER_A = 0.005
# Linear factors of the first volumes that are tried; the scan goes on outward until the lowest is
# bracketed.
SCALES, SCALE_STEP, SCALE_RANGE = (0.93, 1.0, 1.07), 1.07, (0.7, 1.5)

# Stiffness (eV/Å²) of a soft bond: what forces promise of the energy that relaxation will gain.
SOFT_EV_PER_A2 = 10.0

R = TypeVar("R")


class Tried(NamedTuple):
    """A structure, its energy, and what it may come down to if its forces fall off like those of
    soft springs.

    Prototypes carry the positions of the compound they were found in, and may gain an eV/atom by
    relaxation: anatase as it stands in the library lies 1.5 eV/atom above the rutile that it beats
    when both are relaxed.
    """

    atoms: Atoms
    energy_ev_per_atom: float
    promised_ev_per_atom: float


class Evaluate(Protocol):
    """Applies ``work`` to many structures, in one process or in many; results in the order of the
    structures.

    ``what``: a word for it, shown to people. ``work`` can be pickled.
    """

    def __call__(
        self, what: str, work: Callable[[Atoms, Calculator], R], structures: Sequence[Atoms]
    ) -> list[R]: ...


def one_by_one(calculator: Calculator) -> Evaluate:
    """:class:`Evaluate` in this process."""

    def evaluate(
        what: str, work: Callable[[Atoms, Calculator], R], structures: Sequence[Atoms]
    ) -> list[R]:
        return [work(atoms, calculator) for atoms in structures]

    return evaluate


def scanned(atoms: Atoms, calculator: Calculator) -> Tried | None:
    """The structure scaled to the lowest energy of a few volumes.

    None where the surrogate fails or atoms would have to overlap; molecules keep their size.
    """
    if not atoms.pbc.all():
        return _tried(bare(atoms), calculator)
    energies = {scale: _energy(_scaled(atoms, scale), calculator) for scale in SCALES}
    while True:
        lowest = min(energies, key=lambda scale: energies[scale])
        further = lowest / SCALE_STEP if lowest == min(energies) else lowest * SCALE_STEP
        bracketed = min(energies) < lowest < max(energies)
        if (
            bracketed
            or not np.isfinite(energies[lowest])
            or not SCALE_RANGE[0] <= further <= SCALE_RANGE[1]
        ):
            break
        energies[further] = _energy(_scaled(atoms, further), calculator)
    if not np.isfinite(energies[lowest]):
        return None
    ordered = sorted(energies)
    around = ordered[max(0, ordered.index(lowest) - 1) :][:3]
    values = [energies[scale] for scale in around]
    if bracketed and np.isfinite(values).all():
        curve = np.polyfit(around, values, 2)
        lowest = float(np.clip(-curve[1] / (2 * curve[0]), around[0], around[-1]))
    return _tried(_scaled(atoms, lowest), calculator)


def _scaled(atoms: Atoms, factor: float) -> Atoms:
    changed = bare(atoms)
    changed.set_cell(atoms.cell.array * factor, scale_atoms=True)
    return changed


def _energy(atoms: Atoms, calculator: Calculator) -> float:
    """eV per atom; infinity where atoms overlap or the surrogate fails."""
    found = _tried(atoms, calculator)
    return np.inf if found is None else found.energy_ev_per_atom


def _tried(atoms: Atoms, calculator: Calculator) -> Tried | None:
    if closest_contact(atoms) < START_LIMIT:
        return None
    moving = bare(atoms)
    moving.calc = calculator
    try:
        forces, energy = moving.get_forces(), float(moving.get_potential_energy()) / len(moving)
    except CalculationFailed:
        return None
    if not np.isfinite(energy) or not np.isfinite(forces).all():
        return None
    return Tried(
        bare(atoms), energy, energy - float(np.sum(forces**2)) / (2 * SOFT_EV_PER_A2 * len(atoms))
    )


def relaxed(
    atoms: Atoms,
    calculator: Calculator,
    *,
    max_force_ev_per_a: float = TIGHT_FORCE_EV_PER_A,
    steps: int = 150,
) -> Atoms:
    """Positions and cell at zero stress (positions alone unless fully periodic), symmetry kept."""
    moving = bare(atoms)
    moving.calc = calculator
    if not moving.pbc.all():
        BFGS(moving, logfile=None).run(fmax=max_force_ev_per_a, steps=steps)
        return bare(moving)
    if _symmetric(moving):
        moving.set_constraint(FixSymmetry(moving, symprec=0.01, verbose=False))
    # The matrix logarithm of the exact filter takes as long as a pretrained potential does for
    # eight atoms.
    loose = max_force_ev_per_a > TIGHT_FORCE_EV_PER_A
    cell_and_positions: Any = UnitCellFilter(moving) if loose else FrechetCellFilter(moving)
    BFGS(cell_and_positions, logfile=None, maxstep=0.1).run(fmax=max_force_ev_per_a, steps=steps)
    return bare(moving)


def _symmetric(atoms: Atoms) -> bool:
    """Whether there is a symmetry to keep; spglib finds none at all in some distorted cells."""
    found = symmetry.dataset(atoms, 0.01)
    return found is not None and len(found.rotations) > 1


def relaxed_with_energy(
    atoms: Atoms, calculator: Calculator, *, max_force_ev_per_a: float, steps: int
) -> Tried | None:
    try:
        moved = relaxed(atoms, calculator, max_force_ev_per_a=max_force_ev_per_a, steps=steps)
    except CalculationFailed:
        return None
    return _tried(moved, calculator)
