"""Whether a potential knows how wrong it is: predicted against true errors of forces.

Both of structures that the fit had not learned. A predicted error is worth something where atoms of
a large one are wrong by much (rank correlation), and where it is as large as the true one (bins).
The extrapolation grade is judged beside it; it has no unit, so that only its order can be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.science.predictions import Predicted

__all__ = ["Calibration", "ErrorBin", "GradeBin", "calibration"]

# Below, a correlation is that of chance.
FEWEST_ATOMS = 20
MOST_BINS = 10  # as many atoms in each
# A root mean square of thirty components is known to some 13 %.
FEWEST_ATOMS_PER_BIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBin:
    """Atoms of like predicted error; root mean squares of force components."""

    n_atoms: int
    """Atoms in the bin."""
    predicted_mev_per_a: float
    """The error as predicted."""
    true_mev_per_a: float
    """The error as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeBin:
    """Atoms of like extrapolation grade."""

    n_atoms: int
    """Atoms in the bin."""
    gamma: float
    """Their median grade (no unit)."""
    true_mev_per_a: float
    """Root mean square error of their force components."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Predicted against true errors of forces on atoms that were not learned."""

    n_atoms: int
    """Atoms that were compared."""
    predicted_mev_per_a: float
    """Root mean square of the predicted errors."""
    true_mev_per_a: float
    """Root mean square error; the prediction is right where both are alike."""
    rank_correlation: float
    """Of predicted and true error over atoms (Spearman): 1 for the same order, 0 for none."""
    bins: tuple[ErrorBin, ...]
    """The same by predicted error, as many atoms in each."""
    rank_correlation_of_gamma: float | None = None
    """Of the extrapolation grade and the true error; null where grades are not known."""
    bins_of_gamma: tuple[GradeBin, ...] = ()
    """The true error by extrapolation grade."""


def calibration(rows: Sequence[Predicted]) -> Calibration | None:
    """Of all unmasked atoms of structures whose errors were predicted; None below FEWEST_ATOMS."""
    told_rows = [row for row in rows if row.force_errors_ev_per_a is not None]
    told = _joined([row.force_errors_ev_per_a or () for row in told_rows])
    if len(told) < FEWEST_ATOMS:
        return None
    true = _joined([_true_errors(row) for row in told_rows])
    graded = all(row.gamma is not None for row in told_rows)
    gamma = _joined([row.gamma or () for row in told_rows]) if graded else None
    return Calibration(
        n_atoms=len(told),
        predicted_mev_per_a=_rms_milli(told),
        true_mev_per_a=_rms_milli(true),
        rank_correlation=_rank_correlation(told, true),
        bins=tuple(
            ErrorBin(
                n_atoms=len(part),
                predicted_mev_per_a=_rms_milli(told[part]),
                true_mev_per_a=_rms_milli(true[part]),
            )
            for part in _bins(told)
        ),
        rank_correlation_of_gamma=None if gamma is None else _rank_correlation(gamma, true),
        bins_of_gamma=()
        if gamma is None
        else tuple(
            GradeBin(
                n_atoms=len(part),
                gamma=float(np.median(gamma[part])),
                true_mev_per_a=_rms_milli(true[part]),
            )
            for part in _bins(gamma)
        ),
    )


def _joined(parts: Sequence[Sequence[float] | FloatArray]) -> FloatArray:
    return np.concatenate([np.empty(0), *(np.asarray(part, dtype=float) for part in parts)])


def _true_errors(row: Predicted) -> FloatArray:
    """(unmasked atoms,) eV/Å root mean square over the three components."""
    off = np.subtract(row.forces_potential_ev_per_a, row.forces_dft_ev_per_a).reshape(-1, 3)
    return np.asarray(np.sqrt((off**2).mean(axis=1)))


def _bins(values: FloatArray) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Indices of atoms of like value, smallest first."""
    count = int(np.clip(len(values) // FEWEST_ATOMS_PER_BIN, 1, MOST_BINS))
    return np.array_split(np.argsort(values, kind="stable"), count)


def _rms_milli(values: FloatArray) -> float:
    return 1000.0 * float(np.sqrt(np.mean(values**2)))


def _rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """0 where one of them is the same everywhere."""
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)
