"""Which candidates are worth a DFT calculation.

Farthest point sampling is greedy max-min: each pick is the candidate farthest from everything picked or labelled so
far. Pure farthest point sampling is worse than chance near equilibrium when labels are few (it takes outliers only),
so a share of each batch is drawn at random and forced candidates (prototypes, equation of state) are always kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Picked", "farthest_points", "select"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Picked:
    """Indices into the candidates, by the reason why they were picked."""

    forced: tuple[int, ...]
    farthest: tuple[int, ...]
    random: tuple[int, ...]

    @property
    def all(self) -> tuple[int, ...]:
        """Forced first, then farthest points in the order of picking, then the random ones."""
        return self.forced + self.farthest + self.random


MOST_OF_ONE_FAMILY = 0.2


def farthest_points(
    fingerprints: FloatArray,
    count: int,
    existing: FloatArray | None = None,
    taken: Sequence[int] = (),
    *,
    families: Sequence[str] | None = None,
    most_per_family: int | None = None,
) -> list[int]:
    """Greedy max-min picks among the rows of ``fingerprints`` (N, D); O(N·count).

    ``existing`` (M, D): fingerprints of what is labelled already. ``taken``: rows picked before; they are seeds and
    are not picked again. With no seed at all the row nearest to the mean comes first. Ties go to the lower index.
    No more than ``most_per_family`` picks carry one name of ``families`` (one per row).
    Returns at most ``count`` rows (fewer when there are no more).
    """
    total = len(fingerprints)
    count = min(count, total - len(set(taken)))
    if count <= 0:
        return []
    distance = np.full(total, np.inf)
    for seed in [*(existing if existing is not None else []), *fingerprints[list(taken)]]:
        distance = np.minimum(distance, np.linalg.norm(fingerprints - seed, axis=1))
    picks: list[int] = []
    if np.isinf(distance).all():
        picks.append(int(np.argmin(np.linalg.norm(fingerprints - fingerprints.mean(axis=0), axis=1))))
        distance = np.linalg.norm(fingerprints - fingerprints[picks[0]], axis=1)
    # -1 marks what is taken: even a duplicate at distance 0 is picked before a row twice.
    distance[[*taken, *picks]] = -1.0
    names = np.array(families) if families is not None and most_per_family is not None else None
    picks_of: Counter[str] = Counter(families[index] for index in picks) if families is not None else Counter()
    while len(picks) < count:
        best = int(np.argmax(distance))
        if distance[best] < 0:
            break
        picks.append(best)
        if names is not None and most_per_family is not None:
            picks_of[str(names[best])] += 1
            if picks_of[str(names[best])] >= most_per_family:
                distance[names == names[best]] = -1.0
        distance = np.minimum(distance, np.linalg.norm(fingerprints - fingerprints[best], axis=1))
        distance[best] = -1.0  # the minimum keeps earlier -1
    return picks


def select(
    fingerprints: FloatArray,
    count: int,
    rng: np.random.Generator,
    *,
    forced: Sequence[int] = (),
    method: Literal["fps", "random"] = "fps",
    random_fraction: float = 0.33,
    existing: FloatArray | None = None,
    families: Sequence[str] | None = None,
) -> Picked:
    """Pick ``count`` rows (all of them when there are fewer; all forced ones even when they are more).

    Of what is left after the forced ones, ``random_fraction`` is drawn at random and the rest are farthest points
    (seeded with forced ones and ``existing``). ``families`` (one name per row): farthest points crowd in the disordered
    families, so at most MOST_OF_ONE_FAMILY of ``count`` are taken from one, and the random share goes to the family
    with the fewest picks so far, each time. Method ``random`` draws all but the forced ones, evenly from all rows.
    """
    forced = tuple(dict.fromkeys(int(index) for index in forced))
    free = max(0, min(count, len(fingerprints)) - len(forced))
    n_random = free if method == "random" else round(random_fraction * free)
    most = max(1, math.ceil(MOST_OF_ONE_FAMILY * count))
    farthest = farthest_points(fingerprints, free - n_random, existing, forced, families=families, most_per_family=most)
    n_random = free - len(farthest)
    shuffled = [int(index) for index in rng.permutation(len(fingerprints))]
    taken = {*forced, *farthest}
    rest = [index for index in shuffled if index not in taken]
    if families is None or method == "random":
        return Picked(forced, tuple(farthest), tuple(rest[:n_random]))
    return Picked(forced, tuple(farthest), tuple(_evened(rest, n_random, families, taken)))


def _evened(rest: Sequence[int], count: int, families: Sequence[str], taken: Iterable[int]) -> list[int]:
    """``count`` of ``rest`` (shuffled rows), each from the family with the fewest picks; ties in the order of rows."""
    picks_of = Counter(families[index] for index in taken)
    waiting: dict[str, list[int]] = {name: [] for name in dict.fromkeys(families)}
    for index in rest:
        waiting[families[index]].append(index)
    drawn: list[int] = []
    while len(drawn) < count:
        name = min((name for name, rows in waiting.items() if rows), key=lambda name: picks_of[name])
        picks_of[name] += 1
        drawn.append(waiting[name].pop(0))
    return drawn
