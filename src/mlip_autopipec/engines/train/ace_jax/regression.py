"""Weighted rows of the labels, and the coefficients by ridge regression with a smoothness prior.

c minimises |A c - y|^2 + alpha |P c|^2, P the penalty of each function. The rows of each fold are
compressed to a triangle (QR), so that every fit of a cross-validation costs one small singular
value decomposition. ``alpha`` is the one with the smallest error on left-out folds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.ace_jax.design import Rows
from mlip_autopipec.science.dataset import core_mask

__all__ = ["Fit", "Weights", "cross_validated", "folds_of", "weighted_rows"]

FOLDS = 8
DEFAULT_STRENGTH = 1e-10
# As many as the folds: their scatter is the uncertainty of a property.
RESAMPLED_FITS = 8
STRENGTHS = 10.0 ** np.arange(-16.0, -1.9, 0.5)
"""Candidates for alpha, relative to the mean squared singular value."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Of energy and stress beside a force component; see the settings."""

    energy: float
    stress: float
    half_ev: float
    masked_energy: float


@dataclass(frozen=True)
class Fit:
    """``coefficients`` (m,) of the fit of all groups, ``without`` (folds, m) of those that leave
    one fold out, ``resampled`` (fits, m) of folds drawn with repetition. ``strength``: the relative
    alpha. ``factor`` and ``factors_without`` (m, m): R of each posterior, whose covariance is R R^T
    in units of the weighted noise.
    """

    coefficients: FloatArray
    without: FloatArray
    strength: float
    factor: FloatArray
    factors_without: tuple[FloatArray, ...]
    resampled: FloatArray


def weighted_rows(
    items: Sequence[LabelledStructure],
    rows: Sequence[Rows],
    energies_ev: Sequence[float],
    forces: Sequence[FloatArray],
    virials: Sequence[FloatArray | None],
    weights: Weights,
) -> list[FloatArray]:
    """One array (rows, m + 1) for each structure, the target last, all times the root of the
    weight.

    ``energies_ev``, ``forces``, ``virials``: what the expansion has to give (no references, no
    core). A structure at dE per atom above the lowest weighs 1 / (1 + (dE / half)^2); a masked one
    gives its core forces alone (and its energy, times ``masked_energy``).
    """
    sizes = np.array([len(item.atoms) for item in items])
    known = np.array([1.0 if item.core is None else weights.masked_energy for item in items])
    height = np.array(energies_ev) / sizes
    lowest = height[known > 0].min()
    # What is not known of a masked cell does not weigh its forces either.
    height = np.where(known > 0, height, lowest)
    scale = 1.0 / (1.0 + ((height - lowest) / weights.half_ev) ** 2)
    found = []
    for item, row, energy, force, virial, n, share, sure in zip(
        items, rows, energies_ev, forces, virials, sizes, scale, known, strict=True
    ):
        mask = core_mask(item)
        parts = [np.c_[row.forces[mask].reshape(-1, len(row.energy)), force[mask].ravel()]]
        if sure > 0:
            line = np.append(row.energy, energy)[None]
            parts.append(weights.energy * np.sqrt(sure / n) * line)
        if item.core is None and virial is not None:
            parts.append(weights.stress / np.sqrt(n) * np.c_[row.virial, virial])
        found.append(np.sqrt(share) * np.concatenate(parts))
    return found


def folds_of(groups: Sequence[str]) -> list[int]:
    """The fold of each structure: whole groups, dealt out by size, the same in every process."""
    sizes = {group: groups.count(group) for group in groups}
    count = [0] * min(FOLDS, len(sizes))
    fold: dict[str, int] = {}
    for group in sorted(sizes, key=lambda name: (-sizes[name], name)):
        fold[group] = int(np.argmin(count))
        count[fold[group]] += sizes[group]
    return [fold[group] for group in groups]


def cross_validated(
    blocks: Sequence[FloatArray], folds: Sequence[int], penalty: FloatArray, seed: int = 0
) -> Fit:
    """The fit of all ``blocks`` (of :func:`weighted_rows`), one without each fold, and those of
    folds drawn by ``seed``.
    """
    scaled = [np.c_[block[:, :-1] / penalty, block[:, -1]] for block in blocks]
    number = max(folds) + 1
    triangles = [
        _triangle(block for block, fold in zip(scaled, folds, strict=True) if fold == wanted)
        for wanted in range(number)
    ]
    whole = _Decomposed(np.concatenate(triangles))
    size = float(np.mean(whole.values**2))
    if number < 2:
        strength = DEFAULT_STRENGTH
        coefficients = whole.solve(strength * size) / penalty
        factor = whole.factor(strength * size) / penalty[:, None]
        same = np.array([coefficients])
        return Fit(coefficients, same, strength, factor, (factor,), same[:0])
    left_out = [
        _Decomposed(np.concatenate([t for k, t in enumerate(triangles) if k != fold]))
        for fold in range(number)
    ]
    losses = [
        sum(
            float(np.sum((t[:, :-1] @ fit.solve(strength * size) - t[:, -1]) ** 2))
            for t, fit in zip(triangles, left_out, strict=True)
        )
        for strength in STRENGTHS
    ]
    strength = float(STRENGTHS[int(np.argmin(losses))])
    alpha, scale = strength * size, penalty[:, None]
    rng, resampled = np.random.default_rng(seed), []
    for _ in range(RESAMPLED_FITS):
        times = np.bincount(rng.integers(number, size=number), minlength=number)
        drawn = [np.sqrt(n) * t for n, t in zip(times, triangles, strict=True) if n]
        resampled.append(_Decomposed(np.concatenate(drawn)).solve(alpha) / penalty)
    return Fit(
        coefficients=whole.solve(alpha) / penalty,
        without=np.array([fit.solve(alpha) / penalty for fit in left_out]),
        strength=strength,
        factor=whole.factor(alpha) / scale,
        factors_without=tuple(fit.factor(alpha) / scale for fit in left_out),
        resampled=np.array(resampled),
    )


class _Decomposed:
    """Rows (n, m + 1) by their singular values, ready for any alpha."""

    def __init__(self, rows: FloatArray) -> None:
        # At least as many rows as columns: what no row tells of has a direction of its own.
        few = max(0, rows.shape[1] - 1 - len(rows))
        rows = np.pad(rows, ((0, few), (0, 0)))
        u, self.values, self._v = np.linalg.svd(rows[:, :-1], full_matrices=False)
        self._target = u.T @ rows[:, -1]

    def solve(self, alpha: float) -> FloatArray:
        damped = self.values / (self.values**2 + alpha)
        return np.asarray(self._v.T @ (damped * self._target))

    def factor(self, alpha: float) -> FloatArray:
        """R (m, m) with R R^T = (A^T A + alpha)^-1."""
        return np.asarray(self._v.T / np.sqrt(self.values**2 + alpha))


def _triangle(blocks: Iterable[FloatArray]) -> FloatArray:
    """The blocks under one another, compressed to as many rows as columns: same normal equations,
    same residual.
    """
    rows = np.concatenate(list(blocks))
    return np.asarray(np.linalg.qr(rows, mode="r")) if len(rows) > rows.shape[1] else rows
