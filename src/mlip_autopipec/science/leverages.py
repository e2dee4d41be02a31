"""Errors of forces from leverages of a linear fit, scaled by what cross-validation found."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlip_autopipec.base.values import FloatArray

__all__ = ["IntArray", "calibrate", "cross_calibrated", "errors_at"]

# More would follow the noise of the bins.
MOST_KNOTS = 24
# A mean square of fewer atoms (24 components) is not known to a third.
FEWEST_ATOMS_PER_KNOT = 8

IntArray = np.ndarray[Any, np.dtype[np.int64]]


def errors_at(leverage: FloatArray, knots: tuple[FloatArray, FloatArray]) -> FloatArray:
    """(n_atoms,) eV/Å standard error of a force component by the knots of :func:`calibrate`; beyond
    the largest leverage that was seen in proportion to it.
    """
    inside = np.interp(leverage, *knots)
    return np.asarray(inside * np.maximum(1.0, leverage / knots[0][-1]))


def calibrate(leverage: FloatArray, squared_error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Knots (leverage, eV/Å) of the root mean square error that grows with the leverage.

    ``leverage`` and ``squared_error`` (n_atoms,): root of the mean over the three components of
    x C x^T, and mean squared error of a component ((eV/Å)²), both out of fold. Isotonic regression
    of bins with equally many atoms.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(leverage, kind="stable")
    bins = int(np.clip(len(order) // FEWEST_ATOMS_PER_KNOT, 1, MOST_KNOTS))
    parts = np.array_split(order, bins)
    level = np.array([leverage[part].mean() for part in parts])
    error = np.array([squared_error[part].mean() for part in parts])
    rising = isotonic_regression(error, weights=[len(part) for part in parts]).x
    level, first = np.unique(np.maximum(level, 1e-12), return_index=True)
    return level, np.sqrt(np.asarray(rising)[first])


def cross_calibrated(leverage: FloatArray, squared_error: FloatArray, fold: IntArray) -> FloatArray:
    """(n_atoms,) eV/Å: the error of each atom as predicted by a calibration on the other folds.

    All (n_atoms,): the first two as for :func:`calibrate`. What comes back can be judged by
    ``squared_error``.
    """
    found = np.zeros(len(leverage))
    for own in np.unique(fold):
        held = fold == own
        if held.all():
            return errors_at(leverage, calibrate(leverage, squared_error))
        found[held] = errors_at(leverage[held], calibrate(leverage[~held], squared_error[~held]))
    return found
