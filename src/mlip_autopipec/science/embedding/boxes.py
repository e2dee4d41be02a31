"""Boxes along a parent's axes, for what is no crystal: liquids, glasses, dislocations, interfaces.

Opposite faces of a box meet as strangers, unless the parent repeats itself from one to the other:
along the axes of a grain boundary or a dislocation it does, nearly, at certain widths, and there
the seam is calm. Where nothing repeats (a liquid) overlapping atoms are merged.
"""

from __future__ import annotations

import itertools
from functools import reduce
from math import gcd

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mlip_autopipec.science.embedding.model import FloatArray, Piece
from mlip_autopipec.science.embedding.pieces import copy_moments, shortest_bond
from mlip_autopipec.science.lattices import separation_a

__all__ = ["MERGE_FACTOR", "box_piece", "merge_overlaps"]

# Of the shortest bond: atoms nearer across the faces of a box are one atom cut twice.
MERGE_FACTOR = 0.8
# A parent with a larger formula (an alloy, a cell with a defect) is left as it was cut.
_MAX_FORMULA_ATOMS = 10
# Widths that are tried, relative to that of the compact box, in steps of _WIDTH_STEP_A.
_NARROWEST, _WIDEST, _WIDTH_STEP_A = 0.8, 1.35, 0.05
# Widths of an axis that are combined with those of the others.
_WIDTHS_KEPT = 4
# The parent behind a face is compared to this depth.
_SEAM_DEPTH_A = 3.0
# A box may be off its centre by so much, where its faces then lie between atoms.
_FACE_SHIFT_A = 0.75


class _Around:
    """A parent seen from an atom: ``relative`` (n, 3) fractional positions within ± 0.5."""

    def __init__(self, parent: Atoms, centre: int) -> None:
        self.parent, self.centre, self.cell = parent, centre, parent.cell.array
        self.widths_a: FloatArray = abs(parent.cell.volume) / np.linalg.norm(
            np.cross(np.roll(self.cell, -1, 0), np.roll(self.cell, -2, 0)), axis=1
        )
        scaled = parent.get_scaled_positions(wrap=False)
        self.relative: FloatArray = scaled - scaled[centre]
        self.relative -= np.round(self.relative)
        self.merge_below_a = MERGE_FACTOR * shortest_bond(parent)

    def within(self, fractions: FloatArray) -> NDArray[np.bool_]:
        """(n, 3): on which axes an atom is within a box of these fractions of the parent's vectors
        with the atom in its middle.
        """
        found: NDArray[np.bool_] = (np.abs(self.relative) < fractions / 2) | (fractions == 1.0)
        return found

    def piece(self, fractions: FloatArray) -> Piece:
        """The box, overlaps merged, whole formula units kept.

        Its faces lie where atoms are far from them: on a face a layer of atoms would be cut in two,
        some of it lost and some doubled. A box as long as the parent has no face there.
        """
        low = np.array([self._low(axis, fractions) for axis in range(3)])
        relative = low + (self.relative - low) % 1.0
        inside = np.all((relative - low < fractions) | (fractions == 1.0), axis=1)
        indices = np.flatnonzero(inside)
        atoms = Atoms(
            numbers=self.parent.numbers[indices],
            positions=relative[indices] @ self.cell
            + 0.5 * (fractions[:, None] * self.cell).sum(axis=0),
            cell=fractions[:, None] * self.cell,
            pbc=True,
        )
        copy_moments(self.parent, atoms, indices.tolist())
        middle = int(np.flatnonzero(indices == self.centre)[0])
        kept, merged = merge_overlaps(atoms, middle, self.merge_below_a)
        kept, dropped = _whole_formula_units(atoms, kept, middle, self.parent)
        piece = atoms[kept]
        piece.wrap()
        distance = separation_a(piece.cell.array)
        notes = {"merged": merged, "dropped_for_stoichiometry": dropped}
        return Piece(piece, indices[kept], kept.index(middle), "box", distance, notes)

    def _low(self, axis: int, fractions: FloatArray) -> float:
        """Where the lower of two faces lies: within 0.75 Å of the symmetric place, the nearest atom
        as far from either face as can be.
        """
        fraction, others = fractions[axis], [i for i in range(3) if i != axis]
        if fraction == 1.0:
            return -0.5
        mine = self.relative[self.within(fractions)[:, others].all(axis=1), axis]
        tried = -fraction / 2 + np.linspace(-1, 1, 31) * _FACE_SHIFT_A / self.widths_a[axis]
        above = (mine[None] - tried[:, None]) % 1.0
        free = np.minimum(np.minimum(above, 1 - above), np.abs(above - fraction)).min(axis=1)
        return float(tried[free.argmax()])


def box_piece(
    parent: Atoms, centre: int, *, max_atoms: int, image_distance_a: float, min_atoms: int = 1
) -> Piece:
    """A parallelepiped along the parent's axes around an atom.

    Its perpendicular widths are near ``image_distance_a`` where the atom limit allows, else as
    equal as the limit allows, never wider than the parent; of the widths near those, the ones at
    which the parent repeats itself best are taken (that leave ``min_atoms`` to ``max_atoms``).
    Overlapping atoms of opposite faces are merged, whole formula units are kept.
    """
    around, target = _Around(parent, centre), image_distance_a
    while True:
        fractions = np.minimum(1.0, target / around.widths_a)
        if around.within(fractions).all(axis=1).sum() <= max_atoms or target < 2.0:
            break
        target *= 0.99
    for choice in _by_mismatch(around, fractions):
        expected = choice.prod() * len(parent)
        if min_atoms < 1.1 * expected and expected < 1.2 * max_atoms:
            piece = around.piece(choice)
            if min_atoms <= len(piece.atoms) <= max_atoms:
                return piece
    return around.piece(fractions)


def _by_mismatch(around: _Around, fractions: FloatArray) -> list[FloatArray]:
    """Boxes near that of ``fractions``, those with the calmest seams first."""
    axes: list[list[tuple[float, float]]] = []
    for axis in range(3):
        width, middle = around.widths_a[axis], fractions[axis]
        if middle == 1.0:
            axes.append([(0.0, 1.0)])
            continue
        widths = np.arange(_NARROWEST * middle * width, _WIDEST * middle * width, _WIDTH_STEP_A)
        tried = np.append(widths[widths < width] / width, [1.0] if widths[-1] >= width else [])
        scored = [(mismatch_a(around, fractions, axis, float(f)) ** 2, float(f)) for f in tried]
        lowest = [
            scored[i] for i in range(len(scored)) if scored[i] <= min(scored[max(0, i - 2) : i + 3])
        ]
        axes.append(sorted(lowest)[:_WIDTHS_KEPT])
    order = sorted(itertools.product(*axes), key=lambda choice: sum(score for score, _ in choice))
    return [np.array([fraction for _, fraction in choice]) for choice in order]


def mismatch_a(around: _Around, fractions: FloatArray, axis: int, fraction: float) -> float:
    """Root mean square distance (Å) between the atoms behind one face of a box, and those of the
    parent where the box's own image puts them; 0 for a box as long as the parent.

    Distances are those of a right-angled parent; of a skewed one they are rough.
    """
    if fraction == 1.0:
        return 0.0
    depth = _SEAM_DEPTH_A / around.widths_a[axis]
    others = [i for i in range(3) if i != axis]
    window = around.within(fractions)[:, others].all(axis=1)
    squares: list[FloatArray] = []
    for side in (-1, 1):
        behind = side * around.relative[:, axis]
        slab = window & (behind < fraction / 2) & (behind > fraction / 2 - depth)
        for number in np.unique(around.parent.numbers[slab]):
            same = around.parent.numbers == number
            tree = cKDTree(
                (around.relative[same] % 1.0) * around.widths_a, boxsize=around.widths_a * 1.0000001
            )
            moved = around.relative[slab & same].copy()
            moved[:, axis] -= side * fraction
            squares.append(tree.query((moved % 1.0) * around.widths_a)[0] ** 2)
    return float(np.sqrt(np.concatenate(squares).mean())) if squares else 0.0


def merge_overlaps(atoms: Atoms, centre: int, distance_a: float) -> tuple[list[int], int]:
    """Atoms left when each pair closer than ``distance_a`` became one (the one nearer to the centre
    stays).
    """
    pairs_i, pairs_j = neighbor_list("ij", atoms, distance_a)
    far = _distance_to(atoms, centre)
    gone: set[int] = set()
    order = np.lexsort((pairs_j, pairs_i, far[pairs_i] + far[pairs_j]))
    for i, j in zip(pairs_i[order], pairs_j[order], strict=True):
        if i < j and i not in gone and j not in gone:
            gone.add(int(j if far[j] >= far[i] else i))
    return [i for i in range(len(atoms)) if i not in gone], len(gone)


def _distance_to(atoms: Atoms, centre: int) -> FloatArray:
    return np.asarray(atoms.get_distances(centre, np.arange(len(atoms)), mic=True))


def _whole_formula_units(
    atoms: Atoms, kept: list[int], centre: int, parent: Atoms
) -> tuple[list[int], int]:
    """Drop atoms, farthest first, until the species stand in the parent's ratio (compounds with a
    small formula).

    A parent whose smallest formula has more than ten atoms (an alloy, a cell with a defect) is left
    as it was cut.
    """
    species, counts = np.unique(parent.numbers, return_counts=True)
    formula = counts // reduce(gcd, counts.tolist())
    if len(species) == 1 or formula.sum() > _MAX_FORMULA_ATOMS:
        return kept, 0
    have = np.array([(atoms.numbers[kept] == number).sum() for number in species])
    surplus = have - formula * int((have // formula).min())
    far = _distance_to(atoms, centre)
    gone: set[int] = set()
    for number, excess in zip(species, surplus, strict=True):
        mine = sorted(
            (i for i in kept if atoms.numbers[i] == number and i != centre), key=lambda i: -far[i]
        )
        gone.update(mine[: int(excess)])
    return [i for i in kept if i not in gone], len(gone)
