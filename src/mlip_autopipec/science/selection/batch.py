"""What a batch of DFT calculations is made of.

Pure farthest point sampling is worse than chance near equilibrium when labels are few (it takes
outliers only), so a share of each batch is drawn at random and forced candidates (prototypes,
equation of state) are always kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.science.selection.d_optimal import d_optimal_points
from mlip_autopipec.science.selection.fps import farthest_environments, farthest_points
from mlip_autopipec.science.selection.k_means import cluster_points
from mlip_autopipec.science.selection.rows import Progress, Rows, silent

__all__ = ["METHODS", "MOST_OF_ONE_FAMILY", "Method", "Picked", "numbers_per_second", "select"]

Method = Literal["fps", "environments", "clusters", "d_optimal", "random"]
METHODS: tuple[Method, ...] = get_args(Method)
#: Why a candidate was picked, by the method that picked it.
REASONS: dict[Method, str] = {
    "fps": "farthest",
    "environments": "farthest",
    "clusters": "cluster",
    "d_optimal": "d_optimal",
    "random": "random",
}

# Share of a pick: farthest points crowd in the disordered families.
MOST_OF_ONE_FAMILY = 0.2


@dataclass(frozen=True, slots=True)
class Picked:
    """Indices into the candidates, by the reason why they were picked. ``directed``: those that
    ``method`` chose.
    """

    forced: tuple[int, ...]
    directed: tuple[int, ...]
    random: tuple[int, ...]
    method: Method = "fps"

    @property
    def farthest(self) -> tuple[int, ...]:
        """The picks of farthest point sampling; empty for another method."""
        return self.directed if REASONS[self.method] == "farthest" else ()

    @property
    def all(self) -> tuple[int, ...]:
        """Forced first, then those of the method in the order of picking, then the random ones."""
        return self.forced + self.directed + self.random

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why each of :attr:`all` was picked: forced, farthest, cluster, d_optimal or random."""
        of_method = [REASONS[self.method]] * len(self.directed)
        return ("forced",) * len(self.forced) + (*of_method, *["random"] * len(self.random))


def select(
    fingerprints: Rows,
    count: int,
    rng: np.random.Generator,
    *,
    forced: Sequence[int] = (),
    method: Method = "fps",
    random_fraction: float = 0.33,
    existing: Rows | None = None,
    families: Sequence[str] | None = None,
    starts: NDArray[np.integer] | None = None,
    worth: NDArray[np.floating] | None = None,
    progress: Progress = silent,
) -> Picked:
    """Pick ``count`` rows (all of them when there are fewer; all forced ones even when they are
    more).

    Of what is left after the forced ones, ``random_fraction`` is drawn at random and the rest by
    ``method`` (which knows the forced ones and ``existing``). ``families`` (one name per row):
    farthest points crowd in the disordered families, so at most MOST_OF_ONE_FAMILY of ``count`` are
    taken from one, and the random share goes to the family with the fewest picks so far, each time.
    Method ``random`` draws all but the forced ones, evenly from all rows.
    ``d_optimal`` wants the rows of a linear model for ``fingerprints``, ``environments`` those of
    all atoms, with ``starts`` to tell which are whose (:func:`farthest_environments`).
    ``worth`` (one per row, see :func:`numbers_per_second`) counts for ``fps`` alone.
    """
    total = len(fingerprints) if starts is None else len(starts) - 1
    forced = tuple(dict.fromkeys(int(index) for index in forced))
    free = max(0, min(count, total) - len(forced))
    n_random = free if method == "random" else round(random_fraction * free)
    most = max(1, math.ceil(MOST_OF_ONE_FAMILY * count)) if families is not None else None
    wanted = free - n_random
    directed: list[int] = []
    if method == "fps":
        directed = farthest_points(
            fingerprints,
            wanted,
            existing,
            forced,
            families=families,
            most_per_family=most,
            worth=worth,
            progress=progress,
        )
    elif method == "environments":
        bounds = np.arange(total + 1) if starts is None else starts
        directed = farthest_environments(
            fingerprints,
            bounds,
            wanted,
            existing,
            forced,
            families=families,
            most_per_family=most,
            progress=progress,
        )
    elif method == "clusters":
        directed = cluster_points(
            fingerprints, wanted, rng, existing, forced, families=families, most_per_family=most
        )
    elif method == "d_optimal":
        directed = d_optimal_points(
            fingerprints,
            wanted,
            existing,
            forced,
            families=families,
            most_per_family=most,
            progress=progress,
        )
    n_random = free - len(directed)
    shuffled = [int(index) for index in rng.permutation(total)]
    taken = {*forced, *directed}
    rest = [index for index in shuffled if index not in taken]
    if families is None or method == "random":
        return Picked(forced, tuple(directed), tuple(rest[:n_random]), method)
    return Picked(forced, tuple(directed), tuple(_evened(rest, n_random, families, taken)), method)


def numbers_per_second(atoms: Sequence[int], cpu_s: Sequence[float]) -> NDArray[np.float64]:
    """What labels are worth at equal novelty: the numbers that they give (energy, stress, three
    forces of each atom) for a second of CPU.

    So farthest point sampling weighs information by its price: silicon's cells of 4 atoms give two
    numbers in a second, those of 16 one.
    """
    numbers = 7.0 + 3.0 * np.asarray(atoms)
    return np.asarray(numbers / np.maximum(np.asarray(cpu_s, dtype=float), 1e-3))


def _evened(
    rest: Sequence[int], count: int, families: Sequence[str], taken: Iterable[int]
) -> list[int]:
    """``count`` of ``rest`` (shuffled rows), each from the family with the fewest picks; ties in
    the order of rows.
    """
    picks_of = Counter(families[index] for index in taken)
    waiting: dict[str, list[int]] = {name: [] for name in dict.fromkeys(families)}
    for index in rest:
        waiting[families[index]].append(index)
    drawn: list[int] = []
    while len(drawn) < count:
        name = min(
            (name for name, rows in waiting.items() if rows), key=lambda name: picks_of[name]
        )
        picks_of[name] += 1
        drawn.append(waiting[name].pop(0))
    return drawn
