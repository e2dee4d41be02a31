"""One candidate of each k-means cluster in the leading principal components: representative, not
extreme.

k-means with the seeding of Arthur and Vassilvitskii (k-means++, SODA 2007) and Lloyd's iterations;
distances by scipy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.cluster.vq import vq
from scipy.spatial.distance import cdist

from mlip_autopipec.science.selection.fps import max_min_picks
from mlip_autopipec.science.selection.rows import (
    FloatArray,
    IntArray,
    Limits,
    Rows,
    blocks,
    mean_row,
)

__all__ = ["cluster_points", "principal_components"]

# Principal components that are clustered, where fewer do not hold the variance below.
COMPONENTS = 32
# Share of the variance that the components have to hold.
VARIANCE_KEPT = 0.999
# Of Lloyd's algorithm.
MAX_ITERATIONS = 30


def principal_components(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Mean (D,) and directions (D, d) that hold 99.9 % of the variance of ``rows`` (N, D), at most
    32 of them.
    """
    mean = mean_row(rows)
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for _, block in blocks(rows):
        centred = block - mean
        covariance += centred.T @ centred
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = np.maximum(variances[::-1], 0.0), directions[:, ::-1]
    held = np.cumsum(variances) / max(float(variances.sum()), 1e-300)
    wanted = min(COMPONENTS, int(np.searchsorted(held, VARIANCE_KEPT)) + 1)
    return mean, np.asarray(directions[:, :wanted])


def cluster_points(
    fingerprints: Rows,
    count: int,
    rng: np.random.Generator,
    existing: Rows | None = None,
    taken: Sequence[int] = (),
    *,
    families: Sequence[str] | None = None,
    most_per_family: int | None = None,
) -> list[int]:
    """The row nearest to the centre of each of ``count`` clusters, largest cluster first.

    ``existing`` (M, D) and the rows ``taken`` are clustered with the others into as many more
    clusters as there are such rows (at most ``count``), and a cluster with one of them in it needs
    no pick. Where that, or families at their limit (see :func:`farthest_points`), leaves too few,
    farthest points among the components fill up.
    """
    count = min(count, len(fingerprints) - len(set(taken)))
    if count <= 0:
        return []
    mean, directions = principal_components(fingerprints)
    points = _projected(fingerprints, mean, directions)
    known = points[sorted(set(taken))]
    if existing is not None and len(existing):
        known = np.concatenate([_projected(existing, mean, directions), known])
    everything = np.concatenate([points, known])
    labels, centres = _k_means(everything, count + min(count, len(known)), rng)
    familiar = set(labels[len(points) :].tolist())
    limits = Limits(families, most_per_family)
    picks: list[int] = []
    for cluster in _by_size(labels[: len(points)]):
        members = np.flatnonzero(labels[: len(points)] == cluster)
        away = cdist(points[members], centres[cluster : cluster + 1])[:, 0]
        allowed = [
            index for index in members[np.argsort(away, kind="stable")] if limits.allows(int(index))
        ]
        if cluster not in familiar and allowed and len(picks) < count:
            picks.append(int(allowed[0]))
            limits.used_up(picks[-1])
    every = np.arange(len(points) + 1)
    return picks + max_min_picks(points, every, count - len(picks), known, [*taken, *picks], limits)


def _projected(rows: Rows, mean: FloatArray, directions: FloatArray) -> FloatArray:
    return np.concatenate([(block - mean) @ directions for _, block in blocks(rows)])


def _by_size(labels: IntArray) -> list[int]:
    """Clusters that have a member, the largest first, ties by number."""
    sizes = np.bincount(labels)
    return [int(cluster) for cluster in np.argsort(-sizes, kind="stable") if sizes[cluster]]


def _k_means(
    points: FloatArray, count: int, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Labels (N,) and centres (k, d); k is smaller than ``count`` when there are fewer different
    points.
    """
    centres = points[_plus_plus(points, count, rng)]
    labels = _assigned(points, centres)
    for _ in range(MAX_ITERATIONS):
        sizes = np.bincount(labels, minlength=len(centres))
        sums = np.stack([np.bincount(labels, column, len(centres)) for column in points.T], axis=1)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
        before, labels = labels, _assigned(points, centres)
        if np.array_equal(before, labels):
            break
    return labels, centres


def _assigned(points: FloatArray, centres: FloatArray) -> IntArray:
    # scipy's vq holds a number for each pair of a point and a centre.
    step = max(1, 4 * 2**20 // len(centres))
    parts = [vq(points[start : start + step], centres)[0] for start in range(0, len(points), step)]
    return np.asarray(np.concatenate(parts), dtype=np.intp)


def _plus_plus(points: FloatArray, count: int, rng: np.random.Generator) -> list[int]:
    """Rows drawn with a probability in proportion to their squared distance from those drawn
    before.
    """
    drawn = [int(rng.integers(len(points)))]
    squared = cdist(points, points[drawn], "sqeuclidean")[:, 0]
    while len(drawn) < count:
        total = np.cumsum(squared)
        if not total[-1] > 0:
            break
        drawn.append(int(np.searchsorted(total, rng.uniform(0.0, total[-1]), side="right")))
        squared = np.minimum(squared, cdist(points, points[drawn[-1:]], "sqeuclidean")[:, 0])
    return drawn
