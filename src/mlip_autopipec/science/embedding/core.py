"""Core atoms: those that cannot tell the cutout from the parent; and the check of the embedding by
the potential.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

from mlip_autopipec.science.embedding.model import FloatArray, IntArray, Piece

__all__ = ["Local", "Surroundings", "differences", "evaluate", "exact_radii", "near_centre"]

# Atoms of one element this near each other are the same neighbour.
POSITION_TOLERANCE_A = 0.05


class Surroundings:
    """Vectors (Å) and species of the neighbours of every atom out to a radius."""

    def __init__(self, atoms: Atoms, radius_a: float) -> None:
        self.numbers = atoms.numbers
        first, second, vectors = neighbor_list("ijD", atoms, radius_a)
        self._starts = np.searchsorted(first, np.arange(len(atoms) + 1))
        self._neighbours, self._vectors = second, vectors

    def of(self, atom: int) -> tuple[FloatArray, IntArray]:
        """Vectors (m, 3) and atomic numbers (m,) of the neighbours of an atom."""
        part = slice(self._starts[atom], self._starts[atom + 1])
        return self._vectors[part], self.numbers[self._neighbours[part]]


def exact_radii(
    piece: Piece, inside: Surroundings, outside: Surroundings, radius_a: float
) -> FloatArray:
    """Radius (Å) out to which each atom of the piece has the parent's neighbours, atom for atom
    within 0.05 Å.

    ``inside`` and ``outside``: surroundings in the piece and in the parent out to ``radius_a`` +
    0.05 Å. Atoms with nothing wrong out to ``radius_a`` get ``radius_a``.
    """
    radii = np.full(len(piece.atoms), radius_a)
    for i, parent_index in enumerate(piece.parent):
        if inside.numbers[i] != outside.numbers[parent_index]:
            radii[i] = 0.0
            continue
        here, there = inside.of(i), outside.of(int(parent_index))
        radii[i] = min(radius_a, _first_stranger(here, there), _first_stranger(there, here))
    return radii


def _first_stranger(a: tuple[FloatArray, IntArray], b: tuple[FloatArray, IntArray]) -> float:
    """Distance of the nearest neighbour in ``a`` that has no partner of its species in ``b``."""
    if len(a[0]) == 0:
        return float("inf")
    lengths = np.linalg.norm(a[0], axis=1)
    if len(b[0]) == 0:
        return float(lengths.min())
    apart = np.linalg.norm(a[0][:, None, :] - b[0][None], axis=2)
    known = ((apart < POSITION_TOLERANCE_A) & (a[1][:, None] == b[1][None])).any(axis=1)
    return float(lengths[~known].min()) if not known.all() else float("inf")


def near_centre(piece: Piece, radius_a: float) -> IntArray:
    """Atoms within a radius of the centre atom, the centre first."""
    far = piece.atoms.get_distances(piece.centre, np.arange(len(piece.atoms)), mic=True)
    order = np.argsort(far, kind="stable")
    found: IntArray = order[far[order] <= radius_a]
    return found


@dataclass(frozen=True)
class Local:
    """What a potential says of each atom: forces (n, 3) eV/Å, energies (n,) eV, gamma (n,); None
    where it is silent.
    """

    forces: FloatArray
    energies: FloatArray | None
    gamma: FloatArray | None

    def take(self, indices: IntArray) -> Local:
        """The rows of some atoms."""
        return Local(
            self.forces[indices],
            None if self.energies is None else self.energies[indices],
            None if self.gamma is None else self.gamma[indices],
        )


def evaluate(atoms: Atoms, calculator: Calculator) -> Local:
    """Forces, and per-atom energies and extrapolation grades where the calculator gives them."""
    calculator.calculate(atoms, ["energy", "forces"], all_changes)
    results = calculator.results
    energies, gamma = (
        None if results.get(key) is None else np.array(results[key], dtype=float).reshape(-1)
        for key in ("energies", "gamma")
    )
    return Local(np.array(results["forces"], dtype=float), energies, gamma)


def differences(inside: Local, outside: Local) -> tuple[FloatArray, FloatArray]:
    """How far each atom of the cutout is from the same atom of the parent, by the potential: local
    energy (n,) eV, zeros where it gives none, and force (n,) eV/Å, the length of the vector.

    The energy of the isolated atom drops out: the same atom stands on both sides.
    """
    forces = np.linalg.norm(inside.forces - outside.forces, axis=1)
    if inside.energies is None or outside.energies is None:
        return np.zeros(len(forces)), forces
    return np.abs(inside.energies - outside.energies), forces
