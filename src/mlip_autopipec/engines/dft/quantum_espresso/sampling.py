"""The k-points of a calculation, and whether pw.x uses the symmetry of the structure.

With symmetry pw.x averages over the stars of the k-points (its routines kpoint_grid and
irreducible_BZ) and symmetrises density, forces and stress. A perfect crystal then has the forces
and shear that it should have, none, also where a shifted mesh is not closed under its lattice;
without, the primitive cell of silicon gets 12 meV/Å and 0.4 GPa of shear (mesh of 0.36 1/Å), that
of aluminium 0.2 GPa. A mesh and its rotated copies give a symmetric structure the same energy but
for what the lopsided density changes, which is of second order: 0.02 meV/atom in both, so labels
with and without symmetry stand side by side.

A rattled structure has none. One that keeps little of the symmetry of its lattice would see the
stars of the whole lattice, more points than without symmetry: it is treated without as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.kpoints import KPointGrid, listed
from mlip_autopipec.science.symmetry import IntArray

__all__ = ["Sampling", "sampled", "sampled_as_given"]

# A lattice that is only nearly symmetric (3e-7 off cubic) makes pw.x 6.7 die in its symmetry
# analysis, so what is found must be the same at a loose and at a tight tolerance.
_LOOSE_A, _TIGHT_A = 1e-3, 2e-7
_SAME = 1e-4


@dataclass(frozen=True, slots=True)
class Sampling:
    """``atoms``: as pw.x gets them, turned into the axes in which it looks for symmetry where they
    stood otherwise. ``points``: k-points that it treats; ``card``: K_POINTS.
    """

    atoms: Atoms
    symmetric: bool
    points: int
    card: str


def sampled(atoms: Atoms, grid: KPointGrid) -> Sampling:
    """With symmetry where the structure has it exactly, and it costs no k-points more."""
    plain = sampled_as_given(atoms, grid, symmetric=False)
    if not all(atoms.pbc) or not _exact(atoms):
        return plain
    given, turned = sampled_as_given(atoms, grid, symmetric=True), _turned(atoms)
    standing = given if turned is None else sampled_as_given(turned, grid, symmetric=True)
    best = min(given, standing, key=lambda one: one.points)
    return best if best.points <= plain.points else plain


def sampled_as_given(atoms: Atoms, grid: KPointGrid, *, symmetric: bool) -> Sampling:
    """The structure as it stands, with or without symmetry whatever that costs."""
    if not symmetric:
        return Sampling(atoms, False, len(grid.points()), grid.card())
    lattice = symmetry.lattice_rotations(atoms.cell.array, _LOOSE_A)
    crystal = _used_rotations(atoms)
    if lattice is None or crystal is None:
        return Sampling(atoms, True, len(grid.points()), grid.card())
    lattice, crystal = (_found_by_pw(atoms.cell.array, one) for one in (lattice, crystal))
    # pw.x reduces a mesh by itself; of a list it takes each point for one of its lattice's stars.
    card = listed(grid.irreducible(lattice)) if grid.thinned else grid.card()
    return Sampling(atoms, True, len(grid.irreducible(lattice, crystal)), card)


def _exact(atoms: Atoms) -> bool:
    """Symmetry beyond identity and inversion, the same at both tolerances."""
    counts, more = [], False
    for tolerance_a in (_LOOSE_A, _TIGHT_A):
        found = symmetry.operations(atoms, tolerance_a)
        lattice = symmetry.lattice_rotations(atoms.cell.array, tolerance_a)
        if found is None or lattice is None:
            return False
        counts.append((len(_different(found[0])), len(lattice)))
        more = any(abs(np.trace(rotation)) != 3 for rotation in found[0])
    return more and counts[0] == counts[1]


def _used_rotations(atoms: Atoms) -> IntArray | None:
    """Those that pw.x symmetrises with: in a supercell, only those without a translation."""
    found = symmetry.operations(atoms, _LOOSE_A)
    if found is None:
        return None
    rotations, translations = found
    still = np.abs(translations - np.round(translations)).max(axis=1) < _SAME
    if len(_different(rotations)) < len(rotations):
        rotations = rotations[still]
    return _different(rotations)


def _different(rotations: IntArray) -> IntArray:
    return np.asarray(np.unique(rotations, axis=0))


def _found_by_pw(cell: FloatArray, rotations: IntArray) -> IntArray:
    """Those among the 32 rotations (times inversion) that pw.x tries: of a cube along x, y and z,
    and of a hexagon with a vector along x and its axis along z.
    """
    columns = np.asarray(cell).T
    size = np.abs(columns @ rotations @ np.linalg.inv(columns))
    cubic = np.minimum(size, np.abs(size - 1)).max(axis=(1, 2)) < _SAME
    sines = np.array([0.0, 0.5, np.sqrt(0.75), 1.0])
    hexagonal = np.abs(size[..., None] - sines).min(axis=-1).max(axis=(1, 2)) < _SAME
    upright = np.abs(size[:, 2, 2] - 1) < _SAME
    return np.asarray(rotations[cubic | (hexagonal & upright)])


def _turned(atoms: Atoms) -> Atoms | None:
    """A copy in the axes of the standard cell; None where they are those that it has."""
    found = symmetry.dataset(atoms, _LOOSE_A)
    if found is None:
        return None
    left, _, right = np.linalg.svd(np.asarray(found.std_rotation_matrix))
    rotation = left @ right
    if np.linalg.det(rotation) < 0 or np.abs(rotation - np.eye(3)).max() < _SAME:
        return None
    copy: Atoms = atoms.copy()
    copy.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)
    return copy
