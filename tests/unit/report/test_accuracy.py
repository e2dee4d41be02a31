"""Errors by kind of structure, from what a potential predicted."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.report.accuracy import errors_by_strategy
from mlip_autopipec.science.predictions import Predicted, Predictions

ROWS = [("a", "strain", 2.0, 30.0), ("b", "strain", -4.0, 50.0), ("c", "melt_quench", 20.0, 200.0)]


def item(name: str, strategy: str) -> LabelledStructure:
    atoms = bulk("Si")
    return LabelledStructure(
        name, atoms, Label(0.0, np.zeros((2, 3)), None, "m", 1, 1.0), Provenance(strategy, name)
    )


def prediction(
    name: str, energy_mev: float, force_mev: float, *, masked: bool = False
) -> Predicted:
    count = 3 if masked else 6  # of a cutout only the core's forces are there
    return Predicted(
        name=name,
        n_atoms=2,
        masked=masked,
        energy_dft_ev_per_atom=-100.0,
        energy_potential_ev_per_atom=-100.0 + energy_mev / 1000.0,
        forces_dft_ev_per_a=[1.0] * count,
        forces_potential_ev_per_a=[1.0 + force_mev / 1000.0] * count,
    )


def test_each_kind_and_split_has_its_own_errors() -> None:
    items = [item(name, strategy) for name, strategy, *_ in ROWS] + [
        item("d", "strain"),
        item("e", "cutout"),
    ]
    train = [prediction(name, energy, force) for name, _, energy, force in ROWS]
    predictions = Predictions(
        train=(*train, prediction("e", 7e3, 60.0, masked=True)),
        test=(prediction("d", 3.0, 80.0),),
    )
    found = {(row.strategy, row.split): row for row in errors_by_strategy(items, predictions)}
    assert list(found) == [
        ("cutout", "train"),
        ("melt_quench", "train"),
        ("strain", "test"),
        ("strain", "train"),
    ]
    strain = found["strain", "train"]
    assert strain.n_structures == 2
    assert strain.energy_rmse_mev_per_atom == pytest.approx(
        np.sqrt((2.0**2 + 4.0**2) / 2), rel=1e-6
    )
    assert strain.force_rmse_mev_per_a == pytest.approx(np.sqrt((30.0**2 + 50.0**2) / 2), rel=1e-6)
    assert found["melt_quench", "train"].energy_rmse_mev_per_atom == pytest.approx(20.0)
    assert found["strain", "test"].force_rmse_mev_per_a == pytest.approx(80.0)
    cutout = found["cutout", "train"]
    assert cutout.energy_rmse_mev_per_atom is None, "the energy of a masked cell is not learned"
    assert cutout.force_rmse_mev_per_a == pytest.approx(60.0)


def test_without_predictions_there_are_no_rows() -> None:
    assert errors_by_strategy([], None) == ()
