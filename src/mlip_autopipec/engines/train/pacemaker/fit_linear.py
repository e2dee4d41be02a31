"""Linear ACE: the expansion coefficients by cross-validated ridge regression on energies, forces
and stress, with a prediction of every label by a fit that did not see its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.engines.train.pacemaker.basis import empty_basis
from mlip_autopipec.engines.train.pacemaker.data import counts, is_free_atom, reference_sum
from mlip_autopipec.engines.train.pacemaker.design import (
    ENERGY,
    FORCE,
    Design,
    LinearBasis,
    build_design,
    functions_of,
)
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings
from mlip_autopipec.engines.train.pacemaker.posterior import Posterior
from mlip_autopipec.engines.train.pacemaker.prior import prior_equations
from mlip_autopipec.engines.train.pacemaker.regression import (
    MOST_FOLDS,
    SEARCH_FOLDS,
    CrossValidated,
    Hyperparameters,
    IntArray,
    LinearSolution,
    Regression,
    cross_validate,
    folds_of,
)
from mlip_autopipec.engines.train.pacemaker.weights import heights
from mlip_autopipec.science.baseline import Zbl
from mlip_autopipec.science.dataset import core_mask
from mlip_autopipec.science.leverages import calibrate, cross_calibrated
from mlip_autopipec.science.predictions import Predicted, prediction

__all__ = ["LinearFit", "fit_linear"]

# Above this share of the cross-validated variance that stays in training, more functions help and
# more labels do not.
CAPACITY_SHARE = 0.7


@dataclass(frozen=True)
class LinearFit:
    """``configuration``: a BBasisConfiguration. ``out_of_fold``: every label as predicted without
    its group (empty with a single group). ``folds``: of each of these rows, the few by which
    choices are made. ``set_aside``: name -> reason.
    """

    configuration: Any
    out_of_fold: tuple[Predicted, ...]
    folds: IntArray
    posterior: Posterior
    chosen: Hyperparameters
    limits: Json
    set_aside: dict[str, str]


def fit_linear(
    settings: FitSettings,
    items: Sequence[LabelledStructure],
    references: dict[str, float],
    prior: Sequence[LabelledStructure] = (),
) -> LinearFit:
    """Fit of all ``items`` that python-ace takes. Raises RuntimeError where it takes none.

    ``prior``: labels of a surrogate, whose weight is chosen with the other hyper-parameters.
    """
    from pyace import ACEBBasisSet

    basis = LinearBasis(ACEBBasisSet(empty_basis(settings)), settings.subtracted)
    # A free atom has no neighbour and no row: it is the reference itself.
    learned = [item for item in items if not is_free_atom(item, settings.cutoff_a)]
    design, set_aside = build_design(basis, learned, references)
    regression = _regression(settings, basis, design, references)
    if prior:
        regression.lean_on(prior_equations(basis, prior, references))
    groups = [item.provenance.group for item in design.items]
    strategies = [item.provenance.strategy for item in design.items]
    search = folds_of(groups, strategies, settings.seed, SEARCH_FOLDS)
    chosen, _ = regression.choose(search, settings.kappa)
    folds = folds_of(groups, strategies, settings.seed, MOST_FOLDS)
    solution = cross_validate(regression, chosen, folds, settings.seed)
    basis.basis.basis_coeffs = solution.coefficients
    return LinearFit(
        configuration=basis.basis.to_BBasisConfiguration(),
        out_of_fold=_predictions(basis.baseline, design, solution, references, search),
        folds=search,
        posterior=_posterior(design, solution),
        chosen=chosen,
        limits=_limits(regression, solution),
        set_aside=set_aside,
    )


def _regression(
    settings: FitSettings, basis: LinearBasis, design: Design, references: dict[str, float]
) -> Regression:
    numbers = np.array([counts(item.atoms, settings.elements) for item in design.items])
    bound = [item.label.energy_ev - reference_sum(item.atoms, references) for item in design.items]
    whole = np.array(
        [1.0 if item.core is None else settings.masked_energy_weight for item in design.items]
    )
    if not whole.any():
        raise ValueError(
            "every structure is masked: label at least one whole cell, so that energies can be"
            " learned"
        )
    orders = np.array([len(function.mus) for function in functions_of(basis.basis)], dtype=float)
    return Regression(design, heights(numbers, bound), whole, orders)


def _predictions(
    baseline: Zbl | None,
    design: Design,
    solution: LinearSolution,
    references: dict[str, float],
    folds: IntArray,
) -> tuple[Predicted, ...]:
    """``folds`` (n_structures,): of the calibration of the predicted errors."""
    if solution.out_of_fold is None:
        return ()
    predicted, rows = solution.out_of_fold.predicted, []
    told = np.zeros(len(predicted))
    force = design.kind == FORCE
    told[force] = np.repeat(_told_errors(design, solution.out_of_fold, folds), 3)
    for number, item in enumerate(design.items):
        own = design.structure == number
        energy = float(predicted[own & (design.kind == ENERGY)][0]) * len(item.atoms)
        forces = np.zeros((len(item.atoms), 3))
        forces[core_mask(item)] = predicted[own & (design.kind == FORCE)].reshape(-1, 3)
        if baseline is not None:
            terms = baseline.terms(item.atoms)
            energy += terms.energy_ev
            forces += terms.forces
        row = prediction(item, energy + reference_sum(item.atoms, references), forces)
        errors = np.round(told[own & force][::3], 5).tolist()
        rows.append(replace(row, force_errors_ev_per_a=errors))
    return tuple(rows)


def _told_errors(design: Design, found: CrossValidated, folds: IntArray) -> FloatArray:
    """(atoms with force rows,) eV/Å predicted by fit and calibration without the atom's group."""
    force = design.kind == FORCE
    squares = (found.predicted - design.target)[force] ** 2
    leverage = np.sqrt(_per_atom(found.leverage[force]))
    return cross_calibrated(leverage, _per_atom(squares), folds[design.structure[force][::3]])


def _posterior(design: Design, solution: LinearSolution) -> Posterior:
    """Without folds to learn from, the error is in proportion to the leverage, by the misfit."""
    force = design.kind == FORCE
    if solution.out_of_fold is None:
        reach = ((design.matrix[force] @ solution.covariance_factor) ** 2).sum(axis=1)
        found = design.matrix @ solution.coefficients
    else:
        reach, found = solution.out_of_fold.leverage[force], solution.out_of_fold.predicted
    squares = (found - design.target)[force] ** 2
    knots = calibrate(np.sqrt(_per_atom(reach)), _per_atom(squares))
    return Posterior(
        factor=solution.covariance_factor,
        knots_leverage=knots[0],
        knots_error=knots[1],
        coefficients=solution.coefficients,
        resampled=solution.resampled,
    )


def _per_atom(rows: FloatArray) -> FloatArray:
    return np.asarray(rows.reshape(-1, 3).mean(axis=1))


def _limits(regression: Regression, solution: LinearSolution) -> Json:
    """What limits the forces of structures near the hull: ``data`` (they are off only where they
    were not seen) or ``capacity`` (the misfit stays in training).
    """
    if solution.out_of_fold is None:
        return {}
    design = regression.design
    rows = (design.kind == FORCE) & regression.near()[design.structure]
    misfits = (design.matrix @ solution.coefficients, solution.out_of_fold.predicted)
    training, unseen = (
        1000.0 * float(np.sqrt(np.mean((found - design.target)[rows] ** 2))) for found in misfits
    )
    share = (training / unseen) ** 2 if unseen > 0 else 1.0
    return {
        "limited_by": "capacity" if share > CAPACITY_SHARE else "data",
        "force_rmse_training_mev_per_a": training,
        "force_rmse_out_of_fold_mev_per_a": unseen,
        "share_that_stays_in_training": share,
    }
