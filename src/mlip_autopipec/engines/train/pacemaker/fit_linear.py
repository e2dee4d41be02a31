"""Linear ACE: the expansion coefficients by ridge regression on energies and forces (seconds
instead of minutes).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.engines.train.pacemaker.basis import empty_basis
from mlip_autopipec.engines.train.pacemaker.data import FitRows, to_dataframe
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings

__all__ = ["fit_linear", "ridge"]

FloatArray = NDArray[np.float64]

# Relative to the largest squared singular value of the scaled, weighted design matrix. On 17 cells
# (989 atoms) of a silicon set 1e-7 to 1e-6 had the lowest held-out errors; 1e-9 overfits large
# bases, 1e-5 costs accuracy.
RIDGE = 3e-7


def ridge(
    design: FloatArray, target: FloatArray, weights: FloatArray, strength: float = RIDGE
) -> FloatArray:
    """Coefficients (n_functions,) minimising sum w (A c - y)^2 + strength * s_max^2 * |c /
    scale|^2.

    design (n_rows, n_functions), target and weights (n_rows,). Columns are scaled to unit norm
    first, so that the penalty treats functions alike whatever their magnitude.
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
    """A BBasisConfiguration fitted to ``rows`` with the loss (1 - kappa) L_E + kappa L_F of
    pacemaker.
    """
    from pyace import ACEBBasisSet
    from pyace.linearacefit import LinearACEDataset

    # Where an element has more functions than the alphabetically first one, python-ace 0.4.0rc1
    # writes gradients of projections out of bounds (a segmentation fault in its worker processes,
    # which it does not notice). The design matrix is therefore that of a basis with equally many
    # for all, of which the columns in use are kept.
    most = dict.fromkeys(settings.elements, max(settings.functions_per_element.values()))
    dataset = LinearACEDataset(
        empty_basis(replace(settings, functions_per_element=most)), to_dataframe(rows)
    )
    dataset.construct_design_matrix(max_workers=settings.threads)
    basis, design = dataset.basis, dataset.get_design_matrix()
    if not design.any():
        raise RuntimeError("python-ace left the design matrix empty: its worker processes died")
    if settings.equal_functions is None:
        basis = ACEBBasisSet(empty_basis(settings))
        places = {function: column for column, function in enumerate(_functions(dataset.basis))}
        design = design[:, [places[function] for function in _functions(basis)]]
    weights = np.concatenate(
        [
            (1.0 - settings.kappa) * rows.energy_weights,
            settings.kappa * np.repeat(np.concatenate(rows.force_weights), 3),
        ]
    )
    basis.basis_coeffs = ridge(design, dataset.get_target_vector(), weights)
    return basis.to_BBasisConfiguration()


def _functions(basis: Any) -> list[tuple[Any, ...]]:
    """What tells the functions of a basis apart, in the order of its coefficients: species by
    species, pairs first.
    """
    ordered = [
        function
        for pairs, others in zip(basis.basis_rank1, basis.basis, strict=True)
        for function in (*pairs, *others)
    ]
    return [(f.mu0, tuple(f.mus), tuple(f.ns), tuple(f.ls), tuple(f.LS)) for f in ordered]
