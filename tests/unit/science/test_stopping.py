"""Stop rules: every single condition can hold a campaign back, and missing numbers always do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mlip_autopipec.science.stopping import (
    ConditionProgress,
    Limits,
    Property,
    Round,
    Verdict,
    judge,
    relative_change,
)

LIMITS = Limits(
    force_rmse_change=0.05,
    energy_rmse_mev_per_atom=5.0,
    force_rmse_mev_per_a=100.0,
    tolerances={"lattice_constant_a": 0.005, "bulk_modulus_gpa": 0.05},
)
CLEAN = [ConditionProgress("nvt-300K", True, "002"), ConditionProgress("nvt-1200K", True, "002")]


def potential(
    name: str, force: float, previous: float | None, a: float = 5.470, b: float = 88.0
) -> Round:
    properties = {"lattice_constant_a": Property(a, 5.469), "bulk_modulus_gpa": Property(b, 88.5)}
    return Round(name, force, 3.0, previous, properties)


GOOD = [potential("001", 83.0, None), potential("002", 80.0, 82.0)]


def unmet(verdict: Verdict) -> set[tuple[str, str]]:
    assert not verdict.converged
    return {(check.kind, check.name) for check in verdict.checks if not check.met}


def test_everything_met_converges_and_says_why():
    verdict = judge(GOOD, CLEAN, LIMITS)
    assert verdict.converged
    assert len(verdict.reasons) == len(verdict.checks)
    assert any("moved by 2.4%" in reason for reason in verdict.reasons)
    json.dumps(verdict.to_json())


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        (potential("002", 80.0, 90.0), ("error_change", "002")),
        # Getting worse is moving too.
        (potential("002", 90.0, 80.0), ("error_change", "002")),
        (potential("002", 101.0, 101.0), ("error_size", "force")),
        (
            replace(potential("002", 80.0, 81.0), energy_rmse_mev_per_atom=5.1),
            ("error_size", "energy"),
        ),
        (potential("002", 80.0, 81.0, b=89.5), ("property_change", "bulk_modulus_gpa")),
    ],
)
def test_one_open_condition_is_enough_to_go_on(newest: Round, expected: tuple[str, str]):
    verdict = judge([GOOD[0], newest], CLEAN, LIMITS)
    assert unmet(verdict) == {expected}
    assert len(verdict.reasons) == 1


@pytest.mark.parametrize(
    ("a", "b", "name"), [(5.50, 88.0, "lattice_constant_a"), (5.47, 80.0, "bulk_modulus_gpa")]
)
def test_a_property_that_stands_still_at_the_wrong_value_is_not_converged(
    a: float, b: float, name: str
):
    history = [potential("001", 80.0, None, a, b), potential("002", 80.0, 80.0, a, b)]
    assert unmet(judge(history, CLEAN, LIMITS)) == {("property_error", name)}


def test_an_unclean_condition_holds_the_campaign_back():
    conditions = [CLEAN[0], ConditionProgress("nvt-1200K", False, "002")]
    verdict = judge(GOOD, conditions, LIMITS)
    assert unmet(verdict) == {("exploration", "nvt-1200K")}
    assert "1200K has not yet run clean" in verdict.reasons[0]


def test_first_potential_never_converges():
    assert ("rounds", "rounds") in unmet(judge(GOOD[:1], CLEAN, LIMITS))
    assert unmet(judge([], [], LIMITS)) == {("rounds", "rounds")}


def test_the_change_is_taken_on_the_same_test_set():
    """The test set became harder: 60 -> 80 between rounds, but the old potential has 81 on the new
    set.
    """
    assert judge(
        [potential("001", 60.0, None), potential("002", 80.0, 81.0)], CLEAN, LIMITS
    ).converged


def test_only_the_last_rounds_count_and_three_rounds_need_two_still_steps():
    jumped = [
        potential("000", 300.0, None),
        potential("001", 83.0, 300.0),
        potential("002", 80.0, 82.0),
    ]
    assert judge(jumped, CLEAN, LIMITS).converged
    assert unmet(judge(jumped, CLEAN, replace(LIMITS, rounds=3))) == {("error_change", "001")}


@pytest.mark.parametrize(
    "newest",
    [
        replace(GOOD[1], force_rmse_mev_per_a=None),
        replace(GOOD[1], energy_rmse_mev_per_atom=None),
        replace(GOOD[1], previous_force_rmse_mev_per_a=None),
        replace(GOOD[1], properties={}),
        replace(
            GOOD[1], properties={**GOOD[1].properties, "bulk_modulus_gpa": Property(None, 88.5)}
        ),
        replace(
            GOOD[1], properties={**GOOD[1].properties, "bulk_modulus_gpa": Property(88.0, None)}
        ),
    ],
)
def test_what_is_not_known_is_not_met(newest: Round):
    assert not judge([GOOD[0], newest], CLEAN, LIMITS).converged


def test_relative_change():
    assert relative_change(100.0, 95.0) == pytest.approx(0.05)
    assert relative_change(100.0, 105.0) == pytest.approx(0.05)
    assert relative_change(-2.0, -1.0) == pytest.approx(0.5)
    assert relative_change(0.0, 0.0) == 0.0
    assert relative_change(0.0, 1.0) == float("inf")
