"""Periodic pieces of a parent: supercells of its own lattice (crystal), or a box along its axes
(liquid, glass).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import reduce
from math import gcd

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from mlip_autopipec.science.embedding.lattice import Crystal, fold
from mlip_autopipec.science.embedding.model import FloatArray, IntArray, Piece
from mlip_autopipec.science.embedding.supercells import best_supercells, cosets
from mlip_autopipec.science.lattices import separation_a

__all__ = ["MERGE_FACTOR", "box_piece", "crystal_pieces", "merge_overlaps", "shortest_bond"]

# Of the shortest bond: atoms nearer across the faces of a box are one atom cut twice.
MERGE_FACTOR = 0.8
# A parent with a larger formula (an alloy, a cell with a defect) is left as it was cut.
_MAX_FORMULA_ATOMS = 10
_Occupants = dict[
    tuple[int, ...], list[int]
]  # folded cell and basis index of a site -> atoms of the parent on it
_NEAR = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3)))


def shortest_bond(atoms: Atoms) -> float:
    """Shortest pair distance under periodic boundaries, Å (infinite for a lone atom far from its
    images).
    """
    cutoff = 3.0
    while cutoff < 12:
        distances = neighbor_list("d", atoms, cutoff)
        if len(distances):
            return float(distances.min())
        cutoff *= 2
    return float("inf")


def crystal_pieces(
    parent: Atoms, crystal: Crystal, centre: int, *, max_atoms: int, image_distance_a: float
) -> Iterator[Piece]:
    """Supercells around an atom of a crystal, the one to try first first.

    Of each class of equivalent sites the one nearest to the centre site is taken (Wigner-Seitz cell
    of the cutout lattice), with whatever sits on it: the surroundings are the parent's out to half
    the image distance.
    """
    max_index = max_atoms // len(crystal.basis)
    if max_index < 1:
        return
    occupants: _Occupants = {}
    for atom, key in enumerate(
        np.column_stack([fold(crystal.cells, crystal.multiple), crystal.sites])
    ):
        occupants.setdefault(tuple(key.tolist()), []).append(atom)
    for supercell in best_supercells(crystal.vectors, max_index, image_distance_a):
        piece = _wigner_seitz(parent, crystal, centre, supercell, occupants)
        if len(piece.atoms) <= max_atoms:
            yield piece


def _wigner_seitz(
    parent: Atoms,
    crystal: Crystal,
    centre: int,
    supercell: tuple[float, IntArray],
    occupants: _Occupants,
) -> Piece:
    distance, multiple = supercell
    cell = multiple @ crystal.vectors
    home, home_site = crystal.cells[centre], int(crystal.sites[centre])
    classes = cosets(multiple)
    indices: list[int] = []
    positions: list[FloatArray] = []
    for site in range(len(crystal.basis)):
        cells = _nearest_images(
            classes, multiple, crystal.basis[site] - crystal.basis[home_site], crystal.vectors
        )
        vectors = (cells + crystal.basis[site] - crystal.basis[home_site]) @ crystal.vectors
        for key, vector in zip(fold(cells + home, crystal.multiple).tolist(), vectors, strict=True):
            for atom in occupants.get((*key, site), ()):
                indices.append(atom)
                positions.append(vector + crystal.displacements[atom])
    # The centre's own image may hold several atoms when the parent is thinner than the cutout: the
    # one at the origin.
    offsets = np.linalg.norm(np.array(positions) - crystal.displacements[centre], axis=1)
    middle = int(np.where(np.array(indices) == centre, offsets, np.inf).argmin())
    atoms = Atoms(
        numbers=parent.numbers[indices], positions=np.array(positions), cell=cell, pbc=True
    )
    _copy_moments(parent, atoms, indices)
    atoms.translate(0.5 * cell.sum(axis=0) - atoms.positions[middle])
    atoms.wrap()
    notes = {"supercell": multiple.tolist(), "displacement_rms_a": crystal.rms_a}
    return Piece(atoms, np.array(indices, dtype=np.int64), middle, "crystal", distance, notes)


def _nearest_images(
    cells: IntArray, multiple: IntArray, offset: FloatArray, vectors: FloatArray
) -> IntArray:
    """Of each class modulo ``multiple`` the member whose site is nearest to the origin (ties:
    smallest integers).
    """
    turns = np.round((cells + offset) @ np.linalg.inv(multiple)).astype(np.int64)
    inside = cells - turns @ multiple
    images = inside[:, None, :] + (_NEAR @ multiple)[None]
    lengths = np.linalg.norm((images + offset) @ vectors, axis=2).round(4)
    order = np.lexsort((images[..., 2], images[..., 1], images[..., 0], lengths), axis=-1)[:, 0]
    nearest: IntArray = images[np.arange(len(cells)), order]
    return nearest


def _copy_moments(parent: Atoms, atoms: Atoms, indices: list[int]) -> None:
    if parent.has("initial_magmoms"):
        atoms.set_initial_magnetic_moments(parent.get_initial_magnetic_moments()[indices])


def box_piece(parent: Atoms, centre: int, *, max_atoms: int, image_distance_a: float) -> Piece:
    """A parallelepiped along the parent's axes around an atom.

    Its perpendicular widths are ``image_distance_a`` where the atom limit allows, else as equal as
    the limit allows; never wider than the parent. Overlapping atoms of opposite faces are merged,
    whole formula units are kept.
    """
    cell = parent.cell.array
    widths = abs(parent.cell.volume) / np.linalg.norm(
        np.cross(np.roll(cell, -1, 0), np.roll(cell, -2, 0)), axis=1
    )
    scaled = parent.get_scaled_positions(wrap=False)
    relative = scaled - scaled[centre]
    relative -= np.round(relative)
    target = image_distance_a
    while True:
        fractions = np.minimum(1.0, target / widths)
        # A face that cuts the parent's whole length keeps every atom there: no seam in this
        # direction.
        inside = np.all((np.abs(relative) < fractions / 2) | (fractions == 1.0), axis=1)
        if inside.sum() <= max_atoms or target < 2.0:
            break
        target *= 0.99
    indices = np.flatnonzero(inside)
    atoms = Atoms(
        numbers=parent.numbers[indices],
        positions=relative[indices] @ cell + 0.5 * (fractions[:, None] * cell).sum(axis=0),
        cell=fractions[:, None] * cell,
        pbc=True,
    )
    _copy_moments(parent, atoms, indices.tolist())
    middle = int(np.flatnonzero(indices == centre)[0])
    kept, merged = merge_overlaps(atoms, middle, MERGE_FACTOR * shortest_bond(parent))
    kept, dropped = _whole_formula_units(atoms, kept, middle, parent)
    piece = atoms[kept]
    piece.wrap()
    distance = separation_a(piece.cell.array)
    notes = {"merged": merged, "dropped_for_stoichiometry": dropped}
    return Piece(piece, indices[kept], kept.index(middle), "box", distance, notes)


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
