"""The extrapolation grade: how far an atom lies outside the environments that were taught.

D-optimal selection by MaxVol (Podryabinkin and Shapeev, Comput. Mater. Sci. 140, 171, 2017): of
each element as many environments are kept as there are functions, those that span the largest
volume; gamma is the largest coefficient in magnitude when an environment is written in them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lu

from mlip_autopipec.base.values import FloatArray

__all__ = ["ENVIRONMENTS_PER_FUNCTION", "active_set", "grades", "guard_columns"]

ENVIRONMENTS_PER_FUNCTION = 3
MOST_FUNCTIONS = 100
TOLERANCE, MOST_SWAPS = 1.01, 2000


def guard_columns(penalty: FloatArray, environments: int) -> NDArray[np.int64]:
    """The smoothest functions, at most one for every three environments."""
    number = max(1, min(MOST_FUNCTIONS, environments // ENVIRONMENTS_PER_FUNCTION, len(penalty)))
    return np.sort(np.argsort(penalty, kind="stable")[:number])


def active_set(descriptors: FloatArray) -> FloatArray:
    """The inverse (m, m) of the D-optimal rows of ``descriptors`` (n, m)."""
    n, m = descriptors.shape
    permutation = lu(descriptors, p_indices=True)[0]
    chosen = np.argsort(permutation)[:m] if len(permutation) == n else np.arange(m)
    coefficients = descriptors @ np.linalg.pinv(descriptors[chosen])
    for _ in range(MOST_SWAPS):
        row, column = np.unravel_index(np.abs(coefficients).argmax(), coefficients.shape)
        pivot = coefficients[row, column]
        if abs(pivot) <= TOLERANCE:
            break
        chosen[column] = row
        change = coefficients[row].copy()
        change[column] -= 1.0
        coefficients -= np.outer(coefficients[:, column] / pivot, change)
    return np.asarray(np.linalg.pinv(descriptors[chosen]))


def grades(descriptors: FloatArray, inverse: FloatArray) -> FloatArray:
    """(n,) gamma of each environment (n, m)."""
    return np.asarray(np.abs(descriptors @ inverse).max(axis=1, initial=0.0))
