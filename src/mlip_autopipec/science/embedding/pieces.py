"""Periodic pieces of a crystal: supercells of its own lattice around an atom."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from mlip_autopipec.science.embedding.lattice import Crystal, fold
from mlip_autopipec.science.embedding.model import FloatArray, IntArray, Piece
from mlip_autopipec.science.embedding.supercells import best_supercells, cosets

__all__ = ["copy_moments", "crystal_pieces", "shortest_bond"]

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
    parent: Atoms,
    crystal: Crystal,
    centre: int,
    *,
    max_atoms: int,
    image_distance_a: float,
    min_atoms: int = 1,
) -> Iterator[Piece]:
    """Supercells of ``min_atoms`` to ``max_atoms`` sites around an atom of a crystal, the one to
    try first first.

    Of each class of equivalent sites the one nearest to the centre site is taken (Wigner-Seitz cell
    of the cutout lattice), with whatever sits on it: the surroundings are the parent's out to half
    the image distance.
    """
    max_index = max_atoms // len(crystal.basis)
    min_index = -(-min_atoms // len(crystal.basis))
    if max_index < max(1, min_index):
        return
    occupants: _Occupants = {}
    for atom, key in enumerate(
        np.column_stack([fold(crystal.cells, crystal.multiple), crystal.sites])
    ):
        occupants.setdefault(tuple(key.tolist()), []).append(atom)
    for supercell in best_supercells(crystal.vectors, max_index, image_distance_a, min_index):
        yield _wigner_seitz(parent, crystal, centre, supercell, occupants)


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
    copy_moments(parent, atoms, indices)
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


def copy_moments(parent: Atoms, atoms: Atoms, indices: list[int]) -> None:
    if parent.has("initial_magmoms"):
        atoms.set_initial_magnetic_moments(parent.get_initial_magnetic_moments()[indices])
