"""D-optimal design: the rows that determine the coefficients of a linear model best.

Picks S maximise det(X_S^T X_S + ridge), the inverse volume of the coefficients' uncertainty in a
ridge regression (Chaloner and Verdinelli, Statist. Sci. 10, 273, 1995). Greedily first, row by row;
then single exchanges while they help (Fedorov, Theory of Optimal Experiments, 1972). With as many
picks as columns and no ridge an exchange is a step of MaxVol (Goreinov et al., Matrix Methods, 247,
2010), which Pacemaker selects environments by.

For energies X holds the mean B-projections of an ACE basis in each structure: its energy per atom
is linear in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlip_autopipec.science.selection.rows import FloatArray, Limits, Progress, Rows, blocks, silent

__all__ = ["d_optimal_points"]

# That of the linear fit itself, in units of the columns' mean square: weaker directions teach it
# nothing.
RIDGE = 3e-7
# Rows of highest leverage among which picks are exchanged: an exchange costs rows times picks.
MAX_EXCHANGE_ROWS = 4000


def d_optimal_points(
    rows: Rows,
    count: int,
    existing: Rows | None = None,
    taken: Sequence[int] = (),
    *,
    families: Sequence[str] | None = None,
    most_per_family: int | None = None,
    ridge: float = RIDGE,
    gain: float = 1.02,
    progress: Progress = silent,
) -> list[int]:
    """At most ``count`` rows of X = ``rows`` (N, D); any ``count``, smaller or larger than D.

    ``existing`` (M, D) and the rows ``taken`` are information that is there already. Columns are
    scaled to a mean square of 1 first; ``ridge`` is relative to that and to ``count``. Exchanges go
    on while one multiplies the determinant by more than ``gain``; there are none when families are
    limited (see :func:`farthest_points`). Ties go to the lower index.
    """
    count = min(count, len(rows) - len(set(taken)))
    if count <= 0:
        return []
    scale = _column_scale(rows)
    base = ridge * count * rows.shape[1] * np.eye(rows.shape[1])
    for source in (existing, np.asarray(rows[list(taken)], dtype=float) if taken else None):
        for _, block in blocks(source) if source is not None else ():
            base += (block / scale).T @ (block / scale)
    limits = Limits(families, most_per_family)
    picks = _greedy(rows, count, base, scale, taken, limits, progress)
    return _exchanged(rows, picks, base, scale, taken, gain) if limits.none else picks


def _column_scale(rows: Rows) -> FloatArray:
    squares = np.zeros(rows.shape[1])
    for _, block in blocks(rows):
        squares += np.square(block).sum(axis=0)
    scale = np.sqrt(squares / len(rows))
    # A column that is nothing but rounding noise must not become a direction of its own.
    scale[scale <= 1e-10 * scale.max()] = np.inf
    return np.asarray(scale)


def _leverages(rows: Rows, inverse: FloatArray, scale: FloatArray) -> FloatArray:
    """(N,) x^T M^-1 x: a pick multiplies the determinant by one more than this."""
    return np.concatenate(
        [np.einsum("ij,ij->i", (z := block / scale) @ inverse, z) for _, block in blocks(rows)]
    )


def _greedy(
    rows: Rows,
    count: int,
    base: FloatArray,
    scale: FloatArray,
    taken: Sequence[int],
    limits: Limits,
    progress: Progress,
) -> list[int]:
    inverse = np.asarray(np.linalg.inv(base), dtype=float)
    leverage = _leverages(rows, inverse, scale)
    barred = np.zeros(len(rows), dtype=bool)
    barred[list(taken)] = True
    picks: list[int] = []
    while len(picks) < count and not barred.all():
        best = int(np.argmax(np.where(barred, -np.inf, leverage)))
        picks.append(best)
        barred[best] = True
        used_up = limits.used_up(best)
        barred |= used_up if used_up is not None else False
        row = np.asarray(rows[best : best + 1], dtype=float)[0] / scale
        towards = inverse @ row
        growth = 1.0 + float(row @ towards)
        inverse -= np.outer(towards, towards) / growth
        inverse = 0.5 * (inverse + inverse.T)
        for where, block in blocks(rows):
            leverage[where] -= np.square(block @ (towards / scale)) / growth
        progress(len(picks))
    return picks


def _exchanged(
    rows: Rows,
    picks: list[int],
    base: FloatArray,
    scale: FloatArray,
    taken: Sequence[int],
    gain: float,
) -> list[int]:
    """``picks`` after single exchanges, the best first, each in the place of the one it replaces.

    Exchanging i for j multiplies the determinant by (1 + h_jj)(1 - h_ii) + h_ij^2 with h = X M^-1
    X^T, at most 1 + h_jj - h_ii: only rows of large leverage can come in, so only the largest are
    looked at.
    """
    picks = list(picks)
    chosen = np.asarray(rows[picks], dtype=float) / scale
    leverage = _leverages(
        rows, np.asarray(np.linalg.inv(base + chosen.T @ chosen), dtype=float), scale
    )
    leverage[[*picks, *taken]] = -np.inf
    pool = np.argsort(-leverage, kind="stable")[
        : min(MAX_EXCHANGE_ROWS, len(rows) - len({*picks, *taken}))
    ]
    pool = np.sort(pool)
    outside = np.asarray(rows[pool], dtype=float) / scale
    for _ in range(len(picks) if len(pool) else 0):
        inverse = np.linalg.inv(base + chosen.T @ chosen)
        inside_h = np.einsum("ij,ij->i", chosen @ inverse, chosen)
        cross = outside @ inverse
        outside_h = np.einsum("ij,ij->i", cross, outside)
        factor = (1.0 + outside_h)[:, None] * (1.0 - inside_h) + np.square(cross @ chosen.T)
        come, leave = np.unravel_index(int(np.argmax(factor)), factor.shape)
        if not factor[come, leave] > gain:
            break
        picks[leave], pool[come] = int(pool[come]), picks[leave]
        chosen[leave], outside[come] = outside[come].copy(), chosen[leave].copy()
    return picks
