"""Sublattices of a crystal: which integer multiple of the primitive cell keeps its images farthest
apart.

Every sublattice of index n has one Hermite normal form, so all of them are looked at (Hart &
Forcade, Phys. Rev. B 77, 224115, 2008); the densest lattice packing (fcc) bounds what a volume can
give: d <= (sqrt(2) V)^(1/3).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from mlip_autopipec.science.embedding.model import FloatArray, IntArray
from mlip_autopipec.science.lattices import hermite_forms, widest_a

__all__ = ["best_supercells", "cosets", "shortest_vectors"]


def _points(index: int, vectors: FloatArray) -> tuple[IntArray, FloatArray]:
    """Lattice points that may be the shortest vector of a sublattice of this index, one of each
    pair ± v, and their lengths (Å), ascending.
    """
    limit = widest_a(abs(np.linalg.det(vectors)) * index) * 1.0001
    reach = np.ceil(limit * np.linalg.norm(np.linalg.inv(vectors), axis=0)).astype(int)
    grid = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))), dtype=np.int64)
    grid = grid[len(grid) // 2 + 1 :]  # the middle is the origin, the first half mirrors the second
    lengths = np.linalg.norm(grid @ vectors, axis=1)
    grid, lengths = grid[lengths <= limit], lengths[lengths <= limit]
    order = np.argsort(lengths, kind="stable")
    return grid[order], lengths[order]


def _members(points: IntArray, inverses: FloatArray) -> NDArray[np.bool_]:
    """Which points lie in which sublattices, (n_sublattices, n_points); ``inverses``: of their
    matrices.
    """
    turns = points.astype(float) @ inverses
    found: NDArray[np.bool_] = np.all(np.abs(turns - np.rint(turns)) < 1e-6, axis=2)
    return found


def shortest_vectors(forms: IntArray, vectors: FloatArray) -> tuple[FloatArray, IntArray]:
    """Length of the shortest lattice vector of each sublattice (Å) and how many have it (k,),
    (k,).
    """
    points, lengths = _points(round(np.linalg.det(forms[0])), vectors)
    inverses = np.linalg.inv(forms)
    shortest = np.empty(len(forms))
    counts = np.empty(len(forms), dtype=np.int64)
    for start in range(0, len(forms), 2000):
        part = slice(start, start + 2000)
        member = _members(points, inverses[part])
        first = lengths[member.argmax(axis=1)]
        shortest[part] = first
        counts[part] = 2 * (member & (lengths[None] < first[:, None] * 1.001)).sum(axis=1)
    return shortest, counts


def _best_of(index: int, vectors: FloatArray) -> tuple[float, IntArray]:
    """The sublattice of one index whose images are farthest apart; fewest such images on a tie."""
    return _best_of_rows(index, tuple(tuple(row) for row in vectors.tolist()))


# Cutouts of one frame, and of frames at constant volume, ask for the same.
@functools.lru_cache(maxsize=256)
def _best_of_rows(index: int, rows: tuple[tuple[float, ...], ...]) -> tuple[float, IntArray]:
    vectors = np.array(rows)
    forms = _without_short_vectors(hermite_forms(index), *_points(index, vectors))
    lengths, counts = shortest_vectors(forms, vectors)
    order = np.lexsort((np.arange(len(forms)), counts, -lengths.round(4)))
    return float(lengths[order[0]]), forms[order[0]]


def _without_short_vectors(forms: IntArray, points: IntArray, lengths: FloatArray) -> IntArray:
    """Those sublattices that hold none of the points, taken shell by shell from the shortest on as
    long as any is left.
    """
    inverses = np.linalg.inv(forms)
    shells = np.flatnonzero(np.diff(lengths, prepend=0.0) > 1e-3 * lengths)
    for shell in np.split(points, shells):
        left = ~_members(shell, inverses).any(axis=1)
        if not left.any():
            break
        forms, inverses = forms[left], inverses[left]
    return forms


def best_supercells(
    vectors: FloatArray, max_index: int, image_distance_a: float, min_index: int = 1
) -> Iterator[tuple[float, IntArray]]:
    """Supercell matrices (rows: reduced, right-handed), to be tried in order, each with its image
    distance in Å.

    First the smallest cell of ``min_index`` primitive cells or more whose images are
    ``image_distance_a`` apart, if there is one; then the cell of at most ``max_index`` primitive
    cells whose images are farthest apart.
    """
    volume = abs(np.linalg.det(vectors))
    lowest = max(min_index, int(np.ceil(image_distance_a**3 / np.sqrt(2.0) / volume - 1e-9)))
    small: tuple[float, IntArray] | None = None
    for index in range(lowest, max_index + 1):
        small = _best_of(index, vectors)
        if small[0] >= image_distance_a - 1e-6:
            yield small[0], _reduce(small[1], vectors)
            break
        small = None
    best: tuple[float, IntArray] | None = small
    for index in range(max_index, max(min_index, 1) - 1, -1):
        if best is not None and widest_a(volume * index) <= best[0] * 1.0001:
            break
        trial = _best_of(index, vectors)
        if best is None or trial[0] >= best[0] * 1.0001:
            best = trial
    if best is not None and (small is None or best[0] > small[0] * 1.0001):
        yield best[0], _reduce(best[1], vectors)


def _reduce(form: IntArray, vectors: FloatArray) -> IntArray:
    _, operation = minkowski_reduce(form @ vectors)
    reduced: IntArray = np.round(operation @ form).astype(np.int64)
    return reduced if np.linalg.det(reduced @ vectors) > 0 else -reduced


def cosets(multiple: IntArray) -> IntArray:
    """One integer vector of each class of Z^3 modulo the rows of ``multiple``, (|det|, 3)."""
    index = abs(round(np.linalg.det(multiple)))
    adjugate = np.round(np.linalg.inv(multiple) * index).astype(np.int64)
    reach = range(index)
    seen: dict[tuple[int, ...], tuple[int, ...]] = {}
    # Walk in shells, so that the classes are found among small vectors long before n^3 of them were
    # tried.
    for shell in reach:
        for vector in itertools.product(range(shell + 1), repeat=3):
            if max(vector) == shell:
                seen.setdefault(tuple((np.array(vector) @ adjugate) % index), vector)
        if len(seen) == index:
            break
    return np.array(list(seen.values()), dtype=np.int64)
