"""The crystal inside an MD cell: its primitive vectors, and the lattice site of every atom.

The primitive vectors are taken from a reference cell and follow the strain (and any rotation) of
the MD cell, which is an integer multiple of them. An atom belongs to the nearest site, so an empty
site is a vacancy and a doubly occupied one an interstitial: both survive the cut.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce

from mlip_autopipec.science.embedding.model import FloatArray, IntArray

__all__ = ["Crystal", "find_crystal", "fold", "primitive_cell"]

_SHIFTS = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
# Lindemann: crystals melt where the rms displacement reaches 10-15 % of the nearest-neighbour
# distance.
_MAX_RMS_FRACTION = 0.18
# Of the neighbour distance: a fit this good can be no other origin or orientation.
_CLEAR_RMS_FRACTION = 0.1
# Share of lattice sites with one atom: more vacancies and double ones than that are no crystal.
_MIN_SINGLE_FRACTION = 0.85
# Lattice vectors of the parent may be this far from those of the start.
_MAX_STRAIN = 0.15


@dataclass(frozen=True)
class Crystal:
    """Lattice sites of a parent cell.

    ``vectors`` (3, 3) primitive vectors, Å; ``basis`` (nb, 3) fractional in them; ``multiple`` (3,
    3) integers with ``parent.cell = multiple @ vectors``; per atom: ``cells`` (n, 3) integer
    primitive cell, ``sites`` (n,) basis index, ``displacements`` (n, 3) Å from the site; ``rms_a``
    their root mean square.
    """

    vectors: FloatArray
    basis: FloatArray
    multiple: IntArray
    cells: IntArray
    sites: IntArray
    displacements: FloatArray
    rms_a: float
    mismatch: float
    strain: FloatArray  # (3, 3): reference vectors @ strain = vectors of the parent


def primitive_cell(reference: Atoms, tolerance_a: float = 0.05) -> Atoms:
    """The smallest cell with all pure translations of ``reference`` (same orientation), its vectors
    reduced.
    """
    cell = reference.cell.array
    scaled = reference.get_scaled_positions()
    translations = [shift for shift in scaled - scaled[0] if _maps(reference, shift, tolerance_a)]
    points = (np.array(translations)[:, None, :] + _SHIFTS[None]).reshape(-1, 3) @ cell
    points = points[np.argsort(np.linalg.norm(points, axis=1).round(6), kind="stable")]
    points = points[np.linalg.norm(points, axis=1) > 1e-3][:40]
    wanted = abs(np.linalg.det(cell)) / len(translations)
    for triple in itertools.combinations(range(len(points)), 3):
        vectors = points[list(triple)]
        if abs(abs(np.linalg.det(vectors)) - wanted) < 1e-2 * wanted:
            break
    else:
        vectors = cell
    vectors = minkowski_reduce(vectors)[0]
    if np.linalg.det(vectors) * np.linalg.det(cell) < 0:
        vectors = -vectors
    return _reduced(reference, vectors, tolerance_a)


def _maps(atoms: Atoms, shift: FloatArray, tolerance_a: float) -> bool:
    """Whether a fractional translation maps the structure onto itself, species included."""
    scaled = atoms.get_scaled_positions()
    delta = (scaled + shift)[:, None, :] - scaled[None]
    delta -= np.round(delta)
    near = np.linalg.norm(delta @ atoms.cell.array, axis=2) < tolerance_a
    return bool(np.all((near & (atoms.numbers[:, None] == atoms.numbers[None])).any(axis=1)))


def _reduced(atoms: Atoms, vectors: FloatArray, tolerance_a: float) -> Atoms:
    inverse = np.linalg.inv(vectors)
    kept: list[int] = []
    for i, position in enumerate(atoms.positions):
        delta = (atoms.positions[kept] - position) @ inverse
        delta -= np.round(delta)
        if not np.any(np.linalg.norm(delta @ vectors, axis=1) < tolerance_a):
            kept.append(i)
    return Atoms(
        numbers=atoms.numbers[kept], positions=atoms.positions[kept], cell=vectors, pbc=True
    )


def find_crystal(parent: Atoms, reference: Atoms) -> Crystal | None:
    """The lattice sites of ``parent``, a thermally displaced supercell of ``reference``; None when
    it is no crystal.

    The supercell may be strained (up to 15 %) and rotated against the reference, and may hold point
    defects.
    """
    primitive = primitive_cell(reference)
    best: Crystal | None = None
    for multiple in _multiples(parent, primitive):
        crystal = _assign(parent, primitive, multiple)
        if best is None or _score(crystal) < _score(best) - 1e-9:
            best = crystal
        if _clear(best):
            break
    if best is None or not _is_crystal(best, len(parent)):
        return None
    return best


def _clear(crystal: Crystal) -> bool:
    """Whether the fit is so good that no other origin or orientation could be meant."""
    spacing = _nearest_site_distance(crystal.vectors, crystal.basis)
    return crystal.mismatch == 0 and crystal.rms_a < _CLEAR_RMS_FRACTION * spacing


def _score(crystal: Crystal) -> float:
    return crystal.rms_a + crystal.mismatch


def _is_crystal(crystal: Crystal, n_atoms: int) -> bool:
    spacing = _nearest_site_distance(crystal.vectors, crystal.basis)
    reduced = fold(crystal.cells, crystal.multiple)
    keys = np.column_stack([reduced, crystal.sites])
    _, counts = np.unique(keys, axis=0, return_counts=True)
    single = float((counts == 1).sum()) / max(n_atoms, 1)
    return crystal.rms_a < _MAX_RMS_FRACTION * spacing and single > _MIN_SINGLE_FRACTION


def _nearest_site_distance(vectors: FloatArray, basis: FloatArray) -> float:
    delta = basis[:, None, None, :] - basis[None, :, None, :] + _SHIFTS[None, None]
    lengths = np.linalg.norm(delta @ vectors, axis=-1)
    return float(lengths[lengths > 1e-3].min())


def fold(cells: IntArray, multiple: IntArray) -> IntArray:
    """Integer cells modulo the lattice of ``multiple`` (exact integer arithmetic)."""
    determinant = round(np.linalg.det(multiple))
    adjugate = np.round(np.linalg.inv(multiple) * abs(determinant)).astype(np.int64)
    turns = np.floor_divide(cells @ adjugate, abs(determinant))
    folded: IntArray = cells - turns @ multiple
    return folded


def _multiples(parent: Atoms, primitive: Atoms) -> list[IntArray]:
    """Integer matrices M with parent.cell ~ M @ primitive.cell: by rounding, else by lengths and
    angles alone.
    """
    cell = parent.cell.array
    rounded = np.round(cell @ np.linalg.inv(primitive.cell.array)).astype(np.int64)
    if _plausible(rounded, parent, primitive):
        return [rounded]
    return _multiples_by_metric(parent, primitive)


def _plausible(multiple: IntArray, parent: Atoms, primitive: Atoms) -> bool:
    copies = round(np.linalg.det(multiple))
    if copies == 0 or abs(abs(copies) * len(primitive) - len(parent)) > 0.15 * len(parent):
        return False
    vectors = np.linalg.inv(multiple) @ parent.cell.array
    stretch = np.linalg.svd(np.linalg.inv(primitive.cell.array) @ vectors, compute_uv=False)
    return bool(np.all(np.abs(stretch - 1) < _MAX_STRAIN))


def _multiples_by_metric(parent: Atoms, primitive: Atoms, keep: int = 24) -> list[IntArray]:
    """For a parent rotated against the reference: M with M G M^T = the parent's metric, best ones
    first.
    """
    cell, vectors = parent.cell.array, primitive.cell.array
    reach = int(
        np.ceil(
            np.linalg.norm(cell, axis=1).max()
            * 1.2
            * np.linalg.norm(np.linalg.inv(vectors), axis=0).max()
        )
    )
    grid = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    points = grid @ vectors
    lengths = np.linalg.norm(points, axis=1)
    rows = []
    for target in np.linalg.norm(cell, axis=1):
        off = np.abs(lengths / target - 1)
        order = np.argsort(off.round(6), kind="stable")[:60]
        rows.append(order[off[order] < _MAX_STRAIN])
    metric = cell @ cell.T
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))

    def off_angle(a: IntArray, b: IntArray, i: int, j: int) -> FloatArray:
        return np.asarray(np.abs(points[a] @ points[b].T - metric[i, j]) / scale[i, j])

    ab, ac, bc = (off_angle(rows[i], rows[j], i, j) for i, j in ((0, 1), (0, 2), (1, 2)))
    total = ab[:, :, None] + ac[:, None, :] + bc[None, :, :]
    total = total + sum(
        np.abs(lengths[row] / np.linalg.norm(cell[i]) - 1).reshape(
            [-1 if k == i else 1 for k in range(3)]
        )
        for i, row in enumerate(rows)
    )
    found: list[IntArray] = []
    for flat in np.argsort(total, axis=None, kind="stable")[: 40 * keep]:
        i, j, k = np.unravel_index(flat, total.shape)
        multiple = grid[[rows[0][i], rows[1][j], rows[2][k]]].astype(np.int64)
        proper = np.linalg.det(multiple) * np.linalg.det(vectors) * np.linalg.det(cell) > 0
        if proper and _plausible(multiple, parent, primitive):
            found.append(multiple)
            if len(found) == keep:
                break
    return found


def _assign(parent: Atoms, primitive: Atoms, multiple: IntArray) -> Crystal:
    """Sites of the atoms for the best rigid shift between parent and reference."""
    vectors = np.linalg.inv(multiple) @ parent.cell.array
    inverse = np.linalg.inv(vectors)
    strain = np.linalg.inv(primitive.cell.array) @ vectors
    basis = primitive.get_scaled_positions(wrap=False)
    scaled = parent.positions @ inverse
    best: Crystal | None = None
    # A few atoms as trial origins: one of them may be a defect, so not only the first.
    for atom in np.unique(np.linspace(0, len(parent) - 1, 6).astype(int)):
        for b in np.flatnonzero(primitive.numbers == parent.numbers[atom])[:8]:
            origin = scaled[atom] - basis[b]
            for _ in range(3):
                cells, sites, displacements = _nearest(scaled - origin, basis, vectors)
                origin = origin + displacements.mean(axis=0) @ inverse
            cells, sites, displacements = _nearest(scaled - origin, basis, vectors)
            rms = float(np.sqrt((displacements**2).sum(axis=1).mean()))
            wrong = float((primitive.numbers[sites] != parent.numbers).mean())
            crystal = Crystal(
                vectors, basis, multiple, cells, sites, displacements, rms, wrong, strain
            )
            if best is None or _score(crystal) < _score(best) - 1e-9:
                best = crystal
        if best is not None and _clear(best):
            break
    if best is None:  # no species in common: sites by geometry alone
        cells, sites, displacements = _nearest(scaled - scaled[0] + basis[0], basis, vectors)
        rms = float(np.sqrt((displacements**2).sum(axis=1).mean()))
        best = Crystal(vectors, basis, multiple, cells, sites, displacements, rms, 1.0, strain)
    return best


def _nearest(
    scaled: FloatArray, basis: FloatArray, vectors: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Nearest site of each fractional position: cell (n, 3), basis index (n,), displacement (n, 3)
    Å.
    """
    delta = scaled[:, None, :] - basis[None]
    cells = np.round(delta)
    offsets = (delta - cells)[:, :, None, :] - _SHIFTS
    cartesian = offsets @ vectors
    lengths = (cartesian**2).sum(axis=-1).reshape(len(scaled), -1)
    flat = lengths.argmin(axis=1)
    sites, shift = np.divmod(flat, len(_SHIFTS))
    rows = np.arange(len(scaled))
    found = (cells[rows, sites] + _SHIFTS[shift]).astype(np.int64)
    return found, sites.astype(np.int64), cartesian[rows, sites, shift]
