"""Fingerprints that are read in blocks, and what all selectors ask of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

__all__ = [
    "Limits",
    "Progress",
    "Rows",
    "blocks",
    "mean_row",
    "nearest_distances",
    "raw_blocks",
    "silent",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

#: Told the number of picks made so far.
Progress = Callable[[int], None]

# A block in double precision: large enough for numpy to be fast, small enough to stay near the
# processor.
BLOCK_BYTES = 8 * 2**20


class Rows(Protocol):
    """A matrix (N, D) of numbers: a numpy array, a memory-mapped file, or a view of a table on
    disk.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        """The rows of a slice or of an array of indices, as an array (n, D)."""
        ...


def silent(picks: int) -> None:
    """Nobody watches."""


def blocks(rows: Rows, wanted: BoolArray | None = None) -> Iterator[tuple[IntArray, FloatArray]]:
    """Indices (n,) and rows (n, D), in double precision, block by block; only those ``wanted`` (N,)
    when given.
    """
    for where, block in raw_blocks(rows, wanted):
        yield where, np.asarray(block, dtype=float)


def raw_blocks(
    rows: Rows, wanted: BoolArray | None = None
) -> Iterator[tuple[IntArray, NDArray[Any]]]:
    """As :func:`blocks`, in the precision of the table."""
    size = max(1, BLOCK_BYTES // (8 * max(1, rows.shape[1])))
    for start in range(0, len(rows), size):
        stop = min(start + size, len(rows))
        if wanted is None or wanted[start:stop].all():
            yield np.arange(start, stop), rows[start:stop]
        elif wanted[start:stop].any():
            where = start + np.flatnonzero(wanted[start:stop])
            yield where, rows[where]


def mean_row(rows: Rows) -> FloatArray:
    """(D,) the mean of all rows."""
    total = np.zeros(rows.shape[1])
    for _, block in blocks(rows):
        total += block.sum(axis=0)
    return np.asarray(total / max(1, len(rows)))


def nearest_distances(
    rows: Rows,
    picks: Sequence[int],
    existing: Rows | None = None,
    starts: NDArray[np.integer] | None = None,
) -> list[float]:
    """Distance of each pick to the nearest of ``existing`` and the picks before it; inf for a first
    one of all.

    With ``starts`` (see ``farthest_environments``): that of the pick's most unfamiliar environment.
    """
    bounds = np.arange(len(rows) + 1) if starts is None else np.asarray(starts)
    own = [
        np.asarray(rows[int(bounds[pick]) : int(bounds[pick + 1])], dtype=float) for pick in picks
    ]
    found: list[float] = []
    for number, vectors in enumerate(own):
        nearest = np.full(len(vectors), np.inf)
        for _, block in blocks(existing) if existing is not None else ():
            nearest = np.minimum(nearest, cdist(vectors, block).min(axis=1))
        if number:
            nearest = np.minimum(nearest, cdist(vectors, np.concatenate(own[:number])).min(axis=1))
        found.append(float(nearest.max()))
    return found


class Limits:
    """No more than ``most`` picks of one family; no limit without families."""

    def __init__(self, families: Sequence[str] | None, most: int | None) -> None:
        self._names = np.array(families) if families is not None and most is not None else None
        self._most = most or 0
        self._picks_of: Counter[str] = Counter()

    def used_up(self, pick: int) -> BoolArray | None:
        """Count ``pick``; (N,) the members of its family when that has reached its limit with it,
        else None.
        """
        if self._names is None:
            return None
        name = str(self._names[pick])
        self._picks_of[name] += 1
        return np.asarray(self._names == name) if self._picks_of[name] == self._most else None

    def allows(self, index: int) -> bool:
        """Whether one more of the family of ``index`` may be picked."""
        return self._names is None or self._picks_of[str(self._names[index])] < self._most

    def full(self) -> BoolArray | None:
        """(N,) the members of all families that have reached their limit; None without families."""
        if self._names is None:
            return None
        return np.isin(
            self._names, [name for name, picks in self._picks_of.items() if picks >= self._most]
        )

    @property
    def none(self) -> bool:
        """Whether there is no limit at all."""
        return self._names is None
