"""Linear ACE: the expansion coefficients by ridge regression on energies and forces (seconds instead of minutes)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.engines.train.pacemaker.basis import empty_basis
from mlip_autopipec.engines.train.pacemaker.data import FitRows, to_dataframe
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings

__all__ = ["fit_linear", "ridge"]

FloatArray = NDArray[np.float64]

# Relative to the largest squared singular value of the scaled, weighted design matrix. On 17 cells (989 atoms) of a
# silicon set 1e-7 to 1e-6 had the lowest held-out errors; 1e-9 overfits large bases, 1e-5 costs accuracy.
RIDGE = 3e-7


def ridge(design: FloatArray, target: FloatArray, weights: FloatArray, strength: float = RIDGE) -> FloatArray:
    """Coefficients (n_functions,) minimising sum w (A c - y)^2 + strength * s_max^2 * |c / scale|^2.

    design (n_rows, n_functions), target and weights (n_rows,). Columns are scaled to unit norm first, so that the
    penalty treats functions alike whatever their magnitude.
    """
    root = np.sqrt(weights)
    rows = weights > 0
    a = design[rows] * root[rows, None]
    scale = np.linalg.norm(a, axis=0)
    scale[scale == 0] = 1.0
    u, s, vt = np.linalg.svd(a / scale, full_matrices=False)
    damped = s / (s**2 + strength * s[0] ** 2)
    return np.asarray((vt.T @ (damped * (u.T @ (target[rows] * root[rows])))) / scale)


def fit_linear(settings: FitSettings, rows: FitRows) -> Any:
    """A BBasisConfiguration fitted to ``rows`` with the loss (1 - kappa) L_E + kappa L_F of pacemaker."""
    from pyace.linearacefit import LinearACEDataset

    dataset = LinearACEDataset(empty_basis(settings, linear=True), to_dataframe(rows))
    dataset.construct_design_matrix(max_workers=settings.threads)
    design = dataset.get_design_matrix()
    if not (np.isfinite(design).all() and design.any()):
        raise RuntimeError("python-ace left no design matrix: a process of it has crashed")
    weights = np.concatenate(
        [
            (1.0 - settings.kappa) * rows.energy_weights,
            settings.kappa * np.repeat(np.concatenate(rows.force_weights), 3),
        ]
    )
    dataset.basis.basis_coeffs = ridge(design, dataset.get_target_vector(), weights)
    return dataset.basis.to_BBasisConfiguration()
