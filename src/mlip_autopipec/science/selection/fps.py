"""Farthest point sampling: greedy max-min, each pick the candidate farthest from everything picked
or labelled so far.

Eldar, Lindenbaum, Porat, Zeevi, IEEE Trans. Image Process. 6, 1305 (1997). O(N) per pick at worst;
rows whose seed is so near that the triangle inequality excludes the new pick are not looked at (as
in Elkan, ICML 2003), and those that a rounded matrix product excludes are not computed exactly;
neither changes any result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from mlip_autopipec.science.selection.rows import (
    BoolArray,
    FloatArray,
    IntArray,
    Limits,
    Progress,
    Rows,
    blocks,
    mean_row,
    raw_blocks,
    silent,
)

__all__ = ["farthest_environments", "farthest_points", "max_min_picks"]

# Rows of a block of distances: bounds the memory, changes no pick.
SEEDS_AT_ONCE = 256
# A seed farther from the new one than twice the distance to its row shields that row; a little more
# against rounding.
SHIELD = 4.0 * (1.0 + 1e-6)


def farthest_points(
    fingerprints: Rows,
    count: int,
    existing: Rows | None = None,
    taken: Sequence[int] = (),
    *,
    families: Sequence[str] | None = None,
    most_per_family: int | None = None,
    worth: NDArray[np.floating] | None = None,
    progress: Progress = silent,
) -> list[int]:
    """Greedy max-min picks among the rows of ``fingerprints`` (N, D).

    ``existing`` (M, D): fingerprints of what is labelled already. ``taken``: rows picked before;
    they are seeds and are not picked again. With no seed at all the row nearest to the mean comes
    first. Ties go to the lower index. No more than ``most_per_family`` picks carry one name of
    ``families`` (one per row). ``worth`` (N,), positive: what a row is worth at equal distance; the
    distance times that decides. Returns at most ``count`` rows (fewer when there are no more).
    """
    starts = np.arange(len(fingerprints) + 1)
    limits = Limits(families, most_per_family)
    return max_min_picks(fingerprints, starts, count, existing, taken, limits, progress, worth)


def farthest_environments(
    environments: Rows,
    starts: NDArray[np.integer],
    count: int,
    existing: Rows | None = None,
    taken: Sequence[int] = (),
    *,
    families: Sequence[str] | None = None,
    most_per_family: int | None = None,
    progress: Progress = silent,
) -> list[int]:
    """Structures picked for their most unfamiliar atom: max-min over ``environments`` (E, D), whole
    structures taken.

    Environments ``starts[i]:starts[i + 1]`` belong to structure i (``starts``: N + 1 ascending
    numbers). A pick makes all its environments familiar. ``existing`` (M, D) are environments; the
    rest is as in :func:`farthest_points`.
    """
    limits = Limits(families, most_per_family)
    return max_min_picks(
        environments, np.asarray(starts, dtype=np.intp), count, existing, taken, limits, progress
    )


def max_min_picks(
    rows: Rows,
    starts: IntArray,
    count: int,
    existing: Rows | None,
    taken: Sequence[int],
    limits: Limits,
    progress: Progress = silent,
    worth: NDArray[np.floating] | None = None,
) -> list[int]:
    """The common core: structure i owns the rows ``starts[i]:starts[i + 1]``; ``limits`` may have
    counted picks; ``worth``: of each structure.
    """
    squared_worth = 1.0 if worth is None else np.repeat(np.square(worth), np.diff(starts))
    count = min(count, len(starts) - 1 - len(set(taken)))
    if count <= 0:
        return []
    familiar = _Familiar(rows)
    if existing is not None:
        for _, block in blocks(existing):
            familiar.add(block)
    full = limits.full()
    if full is not None:
        familiar.squared[np.repeat(full, np.diff(starts))] = -1.0
    for index in taken:
        _take(familiar, starts, index)
    picks: list[int] = []
    if not taken and (existing is None or not len(existing)):
        middle = mean_row(rows)[None]
        away = np.concatenate(
            [cdist(block, middle, "sqeuclidean")[:, 0] for _, block in blocks(rows)]
        )
        picks.append(_owner(starts, int(np.argmin(away))))
        _pick(familiar, starts, picks[0], limits)
    while len(picks) < count:
        best = int(np.argmax(familiar.squared * squared_worth))
        if familiar.squared[best] < 0:
            break
        picks.append(_owner(starts, best))
        _pick(familiar, starts, picks[-1], limits)
        progress(len(picks))
    return picks


class _Familiar:
    """Squared distance of every row to the nearest seed; -1 on rows that may not be picked."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.squared = np.full(len(rows), np.inf)
        self._lengths = np.concatenate([np.linalg.norm(block, axis=1) for _, block in blocks(rows)])
        self._owner = np.zeros(len(rows), dtype=np.intp)
        self._seeds: list[FloatArray] = []

    def add(self, seeds: FloatArray) -> None:
        """New seeds (n, D)."""
        for start in range(0, len(seeds), SEEDS_AT_ONCE):
            self._add(seeds[start : start + SEEDS_AT_ONCE])

    def _add(self, seeds: FloatArray) -> None:
        wanted = self.squared >= 0
        if self._seeds:
            gaps = np.concatenate(
                [cdist(old, seeds, "sqeuclidean").min(axis=1) for old in self._seeds]
            )
            wanted &= gaps[self._owner] < SHIELD * self.squared
        first = sum(len(old) for old in self._seeds)
        for everywhere, raw in raw_blocks(self.rows, wanted):
            near = self._may_be_near(everywhere, raw, seeds)
            where, block = everywhere[near], np.asarray(raw[near], dtype=float)
            squared = cdist(block, seeds, "sqeuclidean")
            nearest = squared.argmin(axis=1)
            least = squared[np.arange(len(block)), nearest]
            better = least < self.squared[where]
            self.squared[where[better]] = least[better]
            self._owner[where[better]] = first + nearest[better]
        self._seeds.append(seeds)

    def _may_be_near(self, where: IntArray, block: NDArray[Any], seeds: FloatArray) -> BoolArray:
        """(n,) False where a matrix product shows already, for all its rounding, that no seed
        brings a row nearer.

        |x - s|^2 = |x|^2 + |s|^2 - 2 x.s, and a product of D terms is wrong by D eps |x| |s| at
        most (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1; twice that is
        allowed here). What is left is computed without cancellation, so the picks do not hang on
        this.
        """
        lengths, seed_lengths = self._lengths[where, None], np.linalg.norm(seeds, axis=1)
        slack = 4.0 * (block.shape[1] + 4) * np.finfo(block.dtype).eps * lengths * seed_lengths
        cross = block @ seeds.T.astype(block.dtype)
        least = lengths**2 + seed_lengths**2 - 2.0 * cross - slack
        return np.asarray((least < self.squared[where, None]).any(axis=1))


def _owner(starts: IntArray, row: int) -> int:
    return int(np.searchsorted(starts, row, side="right")) - 1


def _take(familiar: _Familiar, starts: IntArray, index: int) -> None:
    """The rows of a structure become seeds. -1: even a duplicate at distance 0 is picked before a
    row twice.
    """
    own = slice(int(starts[index]), int(starts[index + 1]))
    familiar.squared[own] = -1.0
    familiar.add(np.asarray(familiar.rows[own], dtype=float))


def _pick(familiar: _Familiar, starts: IntArray, index: int, limits: Limits) -> None:
    used_up = limits.used_up(index)
    if used_up is not None:
        familiar.squared[np.repeat(used_up, np.diff(starts))] = -1.0
    _take(familiar, starts, index)
