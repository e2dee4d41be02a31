"""Errors on what was not learned, with the intervals that so few structures leave."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.science.judgement import (
    ON_POLICY,
    Unseen,
    by_condition,
    by_kind,
    judged,
    rms_interval,
    unseen,
)
from mlip_autopipec.science.predictions import prediction


def row(energy: float | None, force: float, *, condition: str | None = "npt-300K") -> Unseen:
    return Unseen(
        name="s",
        kind="md_frame",
        condition=condition,
        energy_error_ev_per_atom=energy,
        force_ms_ev2_per_a2=force**2,
        components=24,
    )


def test_the_interval_holds_the_true_error_in_nine_of_ten_cases() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        squares = rng.normal(scale=0.003, size=6) ** 2
        _, low, high = rms_interval(squares, np.ones(6))
        held += low <= 0.003 <= high
    # Two of three draws of six numbers scatter more than their normal distribution says.
    assert 0.86 < held / 2000 < 0.94


def test_structures_that_differ_in_kind_widen_the_interval_of_forces() -> None:
    alike = rms_interval(np.full(6, 0.01), np.full(6, 24.0))
    unlike = rms_interval(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.06]), np.full(6, 24.0))
    assert alike[0] == pytest.approx(0.1) and unlike[0] == pytest.approx(0.1)
    assert alike[2] < 0.115, "144 components of one kind know their error well"
    assert unlike[2] > 0.17, "six structures, one of which has it all, do not"


def test_larger_structures_count_more_in_forces() -> None:
    small, large = rms_interval(np.array([0.01, 0.04]), np.array([3.0, 297.0])), 0.04
    assert small[0] ** 2 == pytest.approx(0.01 * 0.01 + 0.99 * large)


def test_errors_are_told_in_milli_units_by_condition_and_by_kind() -> None:
    rows = [row(0.001, 0.05), row(-0.003, 0.05), row(0.1, 1.0, condition=None)]
    (found,) = by_condition(rows)
    assert (found.name, found.n) == ("npt-300K", 2)
    assert found.energy_rmse_mev_per_atom == pytest.approx(np.sqrt(5))
    assert found.force_rmse_mev_per_a == pytest.approx(50.0)
    assert found.force_rmse_mev_per_a_low < 50.0 < found.force_rmse_mev_per_a_high
    (kind,) = by_kind(rows)
    assert (kind.name, kind.n) == ("md_frame", 3)


def test_a_masked_cell_has_no_energy_to_be_judged() -> None:
    found = judged("cutout", [row(None, 0.1)])
    assert found.energy_rmse_mev_per_atom is None
    assert found.force_rmse_mev_per_a == pytest.approx(100.0)


@pytest.mark.parametrize(("picked", "condition"), [(ON_POLICY, "npt-300K"), ("unknown", None)])
def test_only_what_was_drawn_by_chance_tells_of_a_condition(picked, condition) -> None:
    atoms = bulk("Si", cubic=True)
    label = Label(-40.0, np.zeros((8, 3)), None, "h", 1, 1.0)
    provenance = Provenance(
        "md_frame", "t", parameters={"picked": picked, "condition": "npt-300K"}, potential="000"
    )
    item = LabelledStructure("label-1", atoms, label, provenance)
    found = unseen(item, prediction(item, -40.08, np.full((8, 3), 0.2)))
    assert found.condition == condition
    assert found.energy_error_ev_per_atom == pytest.approx(-0.01), "the sign is the potential's"
    assert found.force_ms_ev2_per_a2 == pytest.approx(0.04)
    assert found.components == 24
    assert Unseen.from_json(found.to_json()) == found
