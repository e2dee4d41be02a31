"""When a campaign may stop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlip_autopipec.science.judgement import JudgedErrors
from mlip_autopipec.science.properties.port import PropertyValue
from mlip_autopipec.science.stopping import (
    CRITERIA,
    ConditionProgress,
    Limits,
    Progress,
    Verdict,
    judge,
)

LIMITS = Limits()
SMALL = JudgedErrors(
    name="npt-300K",
    n=6,
    energy_rmse_mev_per_atom=2.0,
    energy_rmse_mev_per_atom_low=1.4,
    energy_rmse_mev_per_atom_high=3.8,
    force_rmse_mev_per_a=60.0,
    force_rmse_mev_per_a_low=55.0,
    force_rmse_mev_per_a_high=66.0,
)


def lattice(
    potential: float | None = 5.47, dft: float | None = 5.4695, spread: float | None = 0.001
) -> PropertyValue:
    return PropertyValue(
        key="lattice_constant_a",
        label="lattice constant",
        potential=potential,
        dft=dft,
        unit="Å",
        tolerance=0.002,
        spread=spread,
    )


GOOD = Progress(
    "003",
    (
        ConditionProgress("npt-300K", True, errors=SMALL),
        ConditionProgress("npt-360K", True, asked=False),
    ),
    (lattice(),),
    (True, "passed the release gate"),
)


def unmet(verdict: Verdict) -> set[str]:
    return {f"{check.kind} {check.name}" for check in verdict.checks if not check.met}


def with_errors(**changes: object) -> Progress:
    first, *rest = GOOD.conditions
    return replace(GOOD, conditions=(replace(first, errors=replace(SMALL, **changes)), *rest))


def test_all_of_it_met_is_converged() -> None:
    verdict = judge(GOOD, LIMITS)
    assert verdict.converged and unmet(verdict) == set()
    assert {check.kind for check in verdict.checks} == set(CRITERIA)


def test_without_a_potential_nothing_is_met() -> None:
    assert not judge(Progress(None, ()), LIMITS).converged


@pytest.mark.parametrize(
    ("progress", "red"),
    [
        (
            replace(GOOD, conditions=(replace(GOOD.conditions[0], explored=False),)),
            {"exploration npt-300K"},
        ),
        (
            replace(
                GOOD, conditions=(GOOD.conditions[0], replace(GOOD.conditions[1], explored=False))
            ),
            {"exploration npt-360K"},
        ),
        (with_errors(force_rmse_mev_per_a_high=90.1), {"error_size npt-300K force"}),
        (with_errors(energy_rmse_mev_per_atom_high=5.1), {"error_size npt-300K energy"}),
        (with_errors(n=5), {"error_size npt-300K labels"}),
        (
            replace(GOOD, conditions=(replace(GOOD.conditions[0], errors=None),)),
            {"error_size npt-300K labels"},
        ),
        (
            with_errors(force_rmse_mev_per_a=None, force_rmse_mev_per_a_high=None),
            {"error_size npt-300K force"},
        ),
        (replace(GOOD, properties=(lattice(5.49),)), {"property_error lattice_constant_a"}),
        (replace(GOOD, properties=(lattice(None),)), {"property_error lattice_constant_a"}),
        (replace(GOOD, properties=(lattice(dft=None),)), {"property_error lattice_constant_a"}),
        (replace(GOOD, properties=(lattice(spread=0.1),)), {"property_spread lattice_constant_a"}),
        (replace(GOOD, gate=None), {"release_gate release"}),
        (replace(GOOD, gate=(False, "exploded at 1350 K")), {"release_gate release"}),
    ],
)
def test_each_condition_alone_keeps_it_going(progress: Progress, red: set[str]) -> None:
    verdict = judge(progress, LIMITS)
    assert not verdict.converged
    assert unmet(verdict) == red


def test_a_property_whose_trainer_resamples_nothing_has_no_spread_to_be_judged() -> None:
    verdict = judge(replace(GOOD, properties=(lattice(spread=None),)), LIMITS)
    assert verdict.converged
    assert not [check for check in verdict.checks if check.kind == "property_spread"]


def test_the_size_of_the_error_alone_is_not_enough_where_its_interval_is_wide() -> None:
    verdict = judge(with_errors(energy_rmse_mev_per_atom_high=6.0), LIMITS)
    text = next(check.text for check in verdict.checks if not check.met)
    assert "2.00 (up to 6.00) meV/atom, not within 5 meV/atom" in text


def test_the_gate_is_tried_when_nothing_else_is_missing() -> None:
    assert judge(replace(GOOD, gate=None), LIMITS).gate_alone_is_missing
    assert not judge(GOOD, LIMITS).gate_alone_is_missing
    both = replace(with_errors(n=2), gate=None)
    assert not judge(both, LIMITS).gate_alone_is_missing


def test_the_reasons_are_those_of_the_answer() -> None:
    verdict = judge(replace(GOOD, gate=(False, "exploded at 1350 K")), LIMITS)
    assert verdict.reasons == ("exploded at 1350 K",)
    assert len(judge(GOOD, LIMITS).reasons) == len(judge(GOOD, LIMITS).checks)
