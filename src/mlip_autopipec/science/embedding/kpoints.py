"""The k-points of the reference cell, folded into a cutout.

A cutout of a crystal is a sublattice of the reference cell's lattice, often with vectors for which the rule
"n_i from |b_i|" asks for more k-points than needed. Folding the reference mesh gives the same sampling of the same
crystal, so that energies and forces of cells of all shapes compare to the last digit. For some basis of the cutout
lattice the folded set is again a regular mesh; that basis is what is looked for here.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms

from mlip_autopipec.science.embedding.model import FloatArray, IntArray

__all__ = ["folded_mesh", "mesh_of", "rebased"]

_Mesh = tuple[int, int, int]


def mesh_of(cell: FloatArray, spacing_per_a: float) -> _Mesh:
    """Mesh of a cell (3, 3) by the rule n_i = ceil(|b_i| / spacing), 2π included."""
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    a, b, c = (max(1, int(np.ceil(length / spacing_per_a - 1e-6))) for length in lengths)
    return a, b, c


def folded_mesh(
    cell: FloatArray, reference_cell: FloatArray, mesh: _Mesh, *, shifted: bool
) -> tuple[IntArray, _Mesh] | None:
    """A basis of the cutout's lattice and the mesh in it that holds the folded k-points of the reference, or None.

    ``cell``, ``reference_cell`` (3, 3) Å under the same strain; ``mesh`` with every direction shifted by half a step
    or none. Returns unimodular integers U, the new vectors being ``U @ cell``, and the mesh along them.
    """
    shift = 0.5 if shifted else 0.0
    grid = np.array(list(itertools.product(*(range(n) for n in mesh)))) + shift
    points = (grid / np.array(mesh)) @ np.linalg.inv(reference_cell).T
    folded = np.unique(((points @ cell.T) % 1.0).round(5) % 1.0, axis=0)
    rows, counts = [], []
    for row in sorted(itertools.product((-2, -1, 0, 1, 2), repeat=3), key=lambda v: np.linalg.norm(v @ cell).round(6)):
        values = np.unique(((folded @ np.array(row)) % 1.0).round(4) % 1.0)
        regular = ((np.arange(len(values)) + shift) / len(values)).round(4)
        if any(row) and np.allclose(values, regular, atol=2e-4):
            rows.append(row)
            counts.append(len(values))
    # A set inside the regular mesh, and as large as it, is the mesh. Short vectors come first.
    best: tuple[float, IntArray, _Mesh] | None = None
    for i, j, k in itertools.combinations(range(min(len(rows), 40)), 3):
        if counts[i] * counts[j] * counts[k] != len(folded):
            continue
        basis = np.array([rows[i], rows[j], rows[k]], dtype=np.int64)
        determinant = round(np.linalg.det(basis))
        if abs(determinant) != 1:
            continue
        length = float(np.linalg.norm(basis @ cell, axis=1).sum().round(4))
        if best is None or length < best[0]:
            best = (length, basis * determinant, (counts[i], counts[j], counts[k]))
    return None if best is None else (best[1], best[2])


def rebased(atoms: Atoms, basis: IntArray) -> Atoms:
    """The same crystal with the cell vectors ``basis @ cell``."""
    other: Atoms = atoms.copy()
    other.set_cell(basis @ atoms.cell.array, scale_atoms=False)
    other.wrap()
    return other
