"""What a surrogate says, as normal equations that a fit adds to its own at low weight.

The surrogate's energies are on a scale of its own: what each element contributes to them is left
free, so that only differences of energies count, forces and stress.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.pacemaker.data import counts
from mlip_autopipec.engines.train.pacemaker.design import (
    ENERGY,
    FORCE,
    STRESS,
    LinearBasis,
    build_design,
)
from mlip_autopipec.engines.train.pacemaker.weights import heights, structure_weights

__all__ = ["prior_equations"]

# The surrogate's labels are high by design: a structure counts half so far above their lowest.
HALF_WEIGHT_EV_PER_ATOM = 1.0
# Forces tell more of a liquid than energies. Silicon, four fits, melts of others, all labels of the
# surrogate at a weight of 1e-2: with a share of 0.03 for forces 322 meV/Å, of 0.3 279, of 0.7 275.
SHARES = {ENERGY: 0.3, FORCE: 0.7, STRESS: 0.03}


def prior_equations(
    basis: LinearBasis, items: Sequence[LabelledStructure], references: dict[str, float]
) -> tuple[FloatArray, FloatArray]:
    """A^T W A (columns, columns) and A^T W y (columns,) of the labels of a surrogate, of weight one
    in all, with the best energy of each element eliminated.
    """
    design, _ = build_design(basis, items, references)
    elements = sorted(references)
    numbers = np.array([counts(item.atoms, elements) for item in design.items])
    above = heights(numbers, [item.label.energy_ev for item in design.items])
    scale = structure_weights(above, HALF_WEIGHT_EV_PER_ATOM)[design.structure]
    weights = np.zeros(len(scale))
    for kind, share in SHARES.items():
        rows = design.kind == kind
        if rows.any():
            weights[rows] = share * scale[rows] / scale[rows].sum()
    root = np.sqrt(weights)
    matrix, target = design.matrix * root[:, None], design.target * root
    fractions = (numbers / numbers.sum(axis=1, keepdims=True))[design.structure]
    free = fractions * (root * (design.kind == ENERGY))[:, None]
    # Orthonormal, and without a direction that no structure tells from another.
    vectors, sizes, _ = np.linalg.svd(free, full_matrices=False)
    free = vectors[:, sizes > 1e-9 * sizes[0]]
    onto, off = free.T @ matrix, free.T @ target
    return matrix.T @ matrix - onto.T @ onto, matrix.T @ target - onto.T @ off
