"""Rows of predictions and their errors: what is masked neither counts nor is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_dataset import structure

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.science.predictions import (
    Errors,
    Predictions,
    errors,
    errors_of,
    prediction,
)


def test_errors_count_unmasked_atoms_and_whole_cells_only() -> None:
    whole, masked = structure("a", "a"), structure("b", "b", core=(0,))
    off = whole.label.forces + np.array([[0.1, 0, 0], [0, 0, 0]])
    # the second atom is buffer
    far = masked.label.forces + np.array([[0, 0.2, 0], [50.0, 50.0, 50.0]])
    result = errors([prediction(whole, -2.0 + 0.004, off), prediction(masked, 99.0, far)])
    assert result.n_structures == 2
    assert result.energy_rmse_mev_per_atom == pytest.approx(2.0)
    assert result.force_rmse_mev_per_a == pytest.approx(1000 * np.sqrt((0.1**2 + 0.2**2) / 9))


def test_errors_of_nothing_are_none() -> None:
    nothing = {"energy_rmse_mev_per_atom": None, "force_rmse_mev_per_a": None}
    assert errors([]).to_json() == {"n_structures": 0, **nothing}
    masked = structure("b", "b", core=(0,))
    row = prediction(masked, 1.0, masked.label.forces)
    assert errors([row]).energy_rmse_mev_per_atom is None
    assert errors([row]).force_rmse_mev_per_a == 0.0


def test_the_grade_of_a_row_is_the_largest_of_the_atoms_that_count() -> None:
    whole, masked = structure("a", "a"), structure("b", "b", core=(0,))
    gamma = np.array([1.5, 40.0])
    assert prediction(whole, 0.0, whole.label.forces, gamma).gamma_max == 40.0
    assert prediction(masked, 0.0, masked.label.forces, gamma).gamma_max == 1.5
    assert prediction(masked, 0.0, masked.label.forces).gamma_max is None


def test_rows_come_back_from_their_file_also_with_keys_of_another_trainer() -> None:
    whole = structure("a", "a")
    row = prediction(whole, -2.0, whole.label.forces)
    stored = json.loads(json.dumps(Predictions(test=(row,)).to_json()))
    assert list(stored) == ["train", "test"]
    stored["test"][0]["weight"] = 0.5
    assert Predictions.from_json(stored) == Predictions(test=(row,))


def test_errors_of_a_potential_are_those_of_the_split_that_was_asked_for() -> None:
    test = {"n_structures": 5, "force_rmse_mev_per_a": 20.0, "worst": "a trainer's own"}
    metrics = {"train": {"force_rmse_mev_per_a": 10.0}, "test": test, "previous_test": None}
    potential = PotentialRef("000", "potentials/000", "linear", ("Si",), 6, metrics)
    assert errors_of(potential, "train") == Errors(force_rmse_mev_per_a=10.0)
    assert errors_of(potential, "test") == Errors(n_structures=5, force_rmse_mev_per_a=20.0)
    assert errors_of(potential, "previous_test") == errors_of(None, "test") == Errors()
