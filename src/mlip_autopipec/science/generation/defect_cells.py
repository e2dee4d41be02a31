"""Supercells for defects: images as far apart as few atoms allow, whatever the cell's shape.

All superlattices of a size are looked at, by the Hermite normal forms of their matrices (Hart &
Forcade, Phys. Rev. B 77, 224115, 2008): the best of them are rarely multiples of the unit cell.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from mlip_autopipec.science.lattices import bare, hermite_forms, standard_cell, widest_a

__all__ = ["SEPARATION_A", "defect_cell"]

# Images of a defect farther apart than this hardly see each other.
SEPARATION_A = 8.0


def defect_cell(atoms: Atoms, max_atoms: int) -> Atoms:
    """The smallest supercell whose defects' images are more than 8 Å apart (its shortest lattice
    vector).

    Where none of at most ``max_atoms`` atoms is that large, the one whose images are farthest
    apart, and of equals the largest. The structure itself when nothing fits or it is not fully
    periodic.
    """
    if not atoms.pbc.all():
        return bare(atoms)
    unit = standard_cell(atoms, primitive=True)
    points = _lattice_points(unit.cell.array)
    lengths = np.linalg.norm(points @ unit.cell.array, axis=1)
    limit = max_atoms // len(unit)
    best: tuple[float, int, NDArray[np.int64]] | None = None
    # Sizes that may do it, smallest first; then the rest, while the densest packing of spheres
    # beats the best so far.
    enough = max(1, int(np.ceil(SEPARATION_A**3 / 2**0.5 / unit.get_volume() - 1e-9)))
    for size in (*range(enough, limit + 1), *range(min(enough - 1, limit), 0, -1)):
        if best is not None and widest_a(size * unit.get_volume()) < best[0]:
            break
        forms = hermite_forms(size)
        # A lattice vector belongs to the superlattice when its coordinates there are integers.
        inside = np.einsum("kc,mcd->mkd", points, np.linalg.inv(forms))
        held = (np.abs(inside - np.round(inside)) < 1e-6).all(axis=2)
        shortest = np.where(held, lengths, np.inf).min(axis=1)
        apart = np.minimum(np.round(shortest, 6), SEPARATION_A)
        index = int(apart.argmax())
        if best is None or (float(apart[index]), size) > best[:2]:
            best = (float(apart[index]), size, forms[index])
        if apart[index] >= SEPARATION_A:
            break
    if best is None:
        return bare(atoms)
    cell: Atoms = make_supercell(unit, best[2])
    cell.set_cell(minkowski_reduce(cell.cell.array)[0], scale_atoms=False)
    if np.linalg.det(cell.cell.array) < 0:
        cell.set_cell(-cell.cell.array, scale_atoms=False)
    cell.wrap()
    return bare(cell)


def _lattice_points(cell: NDArray[np.float64]) -> NDArray[np.int64]:
    """Integer coordinates (k, 3) of all lattice vectors up to SEPARATION_A and some beyond, one of
    each pair v, -v.
    """
    reach = np.ceil(1.5 * SEPARATION_A * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int)
    grid = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))))
    grid = grid[[tuple(point) > (0, 0, 0) for point in grid]]
    return np.asarray(grid[np.linalg.norm(grid @ cell, axis=1) <= 1.5 * SEPARATION_A])
