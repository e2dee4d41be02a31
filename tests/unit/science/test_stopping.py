"""Stop rules: every single condition can hold a campaign back, and missing numbers always do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mlip_autopipec.science import stopping
from mlip_autopipec.science.properties.port import PropertyValue
from mlip_autopipec.science.stopping import (
    ConditionProgress,
    Limits,
    Round,
    Verdict,
    judge,
    relative_change,
)

LIMITS = Limits(
    force_rmse_change=0.05,
    energy_rmse_mev_per_atom=5.0,
    force_rmse_mev_per_a=100.0,
)
CLEAN = [ConditionProgress("nvt-300K", True, "002"), ConditionProgress("nvt-1200K", True, "002")]


def potential(
    name: str, force: float, previous: float | None, a: float = 5.470, b: float = 88.0
) -> Round:
    return Round(name, force, 3.0, previous, (lattice(a, 5.469), modulus(b, 88.5)))


def lattice(potential: float | None, dft: float | None) -> PropertyValue:
    return PropertyValue("lattice_constant_a", "lattice constant", "Å", 0.005, potential, dft)


def modulus(potential: float | None, dft: float | None) -> PropertyValue:
    return PropertyValue("bulk_modulus_gpa", "bulk modulus", "GPa", 0.05, potential, dft)


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
    assert unmet(judge(jumped, CLEAN, LIMITS.model_copy(update={"rounds": 3}))) == {
        ("error_change", "001")
    }


@pytest.mark.parametrize(
    "newest",
    [
        replace(GOOD[1], force_rmse_mev_per_a=None),
        replace(GOOD[1], energy_rmse_mev_per_atom=None),
        replace(GOOD[1], previous_force_rmse_mev_per_a=None),
        replace(GOOD[1], properties=(lattice(None, None), modulus(None, None))),
        replace(GOOD[1], properties=(lattice(5.47, 5.469), modulus(None, 88.5))),
        replace(GOOD[1], properties=(lattice(5.47, 5.469), modulus(88.0, None))),
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


@pytest.mark.parametrize(("error", "met"), [(0.019, True), (0.021, False), (None, False)])
def test_an_error_that_is_a_number_by_itself_has_a_ceiling_and_need_not_stand_still(error, met):
    def rmsd(value: float | None) -> PropertyValue:
        return PropertyValue(
            "geometry_rmsd_a", "geometry", "Å", 0.02, value, kind="alone", measure="RMSD"
        )

    history = [
        replace(GOOD[0], properties=(rmsd(0.001),)),
        replace(GOOD[1], properties=(rmsd(error),)),
    ]
    verdict = judge(history, CLEAN, LIMITS)
    (check,) = (check for check in verdict.checks if check.kind.startswith("property"))
    assert (check.kind, check.met) == ("property_error", met)
    if error is not None:
        assert f"geometry_rmsd_a {error:g} Å against DFT" in check.text


def test_a_difference_is_held_against_its_bound_in_its_unit():
    def above(potential: float) -> PropertyValue:
        return PropertyValue("bcc", "bcc", "eV/atom", 0.01, potential, 0.04, "absolute")

    assert above(0.049).met and not above(0.029).met and above(0.031).met
    history = [replace(item, properties=(above(0.06),)) for item in GOOD]
    (check,) = (check for check in judge(history, CLEAN, LIMITS).checks if not check.met)
    assert check.text == "bcc 0.0600 against DFT 0.0400: 0.02 eV/atom off, outside 0.01 eV/atom"


def test_a_new_criterion_is_a_function_and_a_line(monkeypatch):
    def never(progress: stopping.Progress, limits: Limits) -> list[tuple[str, bool, str]]:
        return [(item.potential, False, "never good enough") for item in progress.newest]

    monkeypatch.setattr(stopping, "CRITERIA", {**stopping.CRITERIA, "never": never})
    assert unmet(judge(GOOD, CLEAN, LIMITS)) == {("never", "002")}
