"""The posterior of the fits of `ace`: linear algebra alone, without jax."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.ace_jax.design import Rows
from mlip_autopipec.engines.train.ace_jax.posterior import calibrated
from mlip_autopipec.engines.train.ace_jax.regression import RESAMPLED_FITS, Fit, cross_validated

COLUMNS = 6
PENALTY = np.array([1.0, 1.0, 2.0, 2.0, 4.0, 4.0])
TRUE = np.array([1.0, -2.0, 0.5, 0.3, -0.2, 0.1])


def blocks(count: int, rows: int, noise: float) -> list[FloatArray]:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        matrix = rng.normal(size=(rows, COLUMNS))
        target = matrix @ TRUE + noise * rng.normal(size=rows)
        found.append(np.c_[matrix, target])
    return found


def inverse(parts: list[FloatArray], fit: Fit, of_all: list[FloatArray]) -> FloatArray:
    """(A^T A + alpha P^2)^-1, alpha relative to the mean squared singular value of all rows."""
    scaled = np.concatenate(of_all)[:, :-1] / PENALTY
    alpha = fit.strength * float(np.mean(np.linalg.svd(scaled, compute_uv=False) ** 2))
    matrix = np.concatenate(parts)[:, :-1]
    return np.asarray(np.linalg.inv(matrix.T @ matrix + alpha * np.diag(PENALTY**2)))


def test_the_factor_is_the_root_of_the_posterior_covariance() -> None:
    parts = blocks(8, 12, 0.3)
    folds = [number % 4 for number in range(8)]
    fit = cross_validated(parts, folds, PENALTY)
    assert fit.factor @ fit.factor.T == pytest.approx(inverse(parts, fit, parts), rel=1e-6)
    for fold, factor in enumerate(fit.factors_without):
        rest = [part for part, own in zip(parts, folds, strict=True) if own != fold]
        assert factor @ factor.T == pytest.approx(inverse(rest, fit, parts), rel=1e-6)


def test_what_no_row_tells_of_is_as_uncertain_as_the_ridge_says() -> None:
    parts = [block[:1] for block in blocks(3, 1, 0.1)]
    fit = cross_validated(parts, [0, 1, 2], PENALTY)
    covariance = fit.factor @ fit.factor.T
    matrix = np.concatenate(parts)[:, :-1]
    unseen = np.linalg.svd(matrix)[2][-1]
    assert unseen @ covariance @ unseen > 10 * (matrix[0] @ covariance @ matrix[0]) / (
        matrix[0] @ matrix[0]
    )


def test_resampled_fits_scatter_as_the_noise_does() -> None:
    folds = list(range(8))
    scatter = []
    for noise in (0.01, 0.5):
        fit = cross_validated(blocks(8, 12, noise), folds, PENALTY)
        assert fit.resampled.shape == (RESAMPLED_FITS, COLUMNS)
        scatter.append(float(fit.resampled.std(axis=0).mean()))
        assert np.abs(fit.resampled.mean(axis=0) - fit.coefficients).max() < 4 * scatter[-1]
    assert 10 < scatter[1] / scatter[0] < 100
    assert cross_validated(blocks(1, 12, 0.1), [0], PENALTY).resampled.shape == (0, COLUMNS)


def test_predicted_errors_are_those_of_the_fits_that_did_not_see_the_label() -> None:
    """As large as the true errors out of fold, which are larger than those in training."""
    rng = np.random.default_rng(2)
    items, rows, parts, left = [], [], [], []
    for number in range(16):
        forces = rng.normal(size=(3, 3, COLUMNS)) * rng.uniform(0.3, 3.0)
        told = forces @ TRUE + 0.3 * rng.normal(size=(3, 3))
        atoms = Atoms("Cu3", positions=rng.uniform(0, 5, (3, 3)), cell=[6.0] * 3, pbc=True)
        label = Label(0.0, told, None, "m", 1, 0.0)
        core = (0, 2) if number == 5 else None
        item = LabelledStructure(f"s{number}", atoms, label, Provenance("t", f"g{number}"), core)
        items.append(item)
        rows.append(Rows(np.zeros(COLUMNS), forces, np.zeros((6, COLUMNS)), np.zeros((3, COLUMNS))))
        left.append(told)
        parts.append(np.c_[forces.reshape(9, -1), told.ravel()][:2])  # few rows: much to get wrong
    folds = [number % 8 for number in range(16)]
    fit = cross_validated(parts, folds, PENALTY)
    (leverage, error), told_errors = calibrated(items, rows, left, folds, fit)
    assert [len(part) for part in told_errors] == [3] * 5 + [2] + [3] * 10
    assert (np.diff(leverage) > 0).all() and (np.diff(error) >= 0).all()
    assert _unseen(rows, left, folds, fit) == pytest.approx(
        float(np.mean(np.concatenate(told_errors) ** 2)), rel=0.6
    )
    # So few atoms are one bin, whose error is theirs.
    few = cross_validated(parts[:3], [0, 1, 2], PENALTY)
    (_, error), _ = calibrated(items[:3], rows[:3], left[:3], [0, 1, 2], few)
    assert error**2 == pytest.approx([_unseen(rows[:3], left[:3], [0, 1, 2], few)])


def _unseen(rows: list[Rows], left: list[FloatArray], folds: list[int], fit: Fit) -> float:
    """Mean squared error ((eV/Å)²) of a force component by the fits without its fold."""
    squares = [
        ((row.forces @ fit.without[fold] - force) ** 2).mean()
        for row, force, fold in zip(rows, left, folds, strict=True)
    ]
    return float(np.mean(squares))
