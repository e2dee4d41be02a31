"""Budgets that fit: derived from what the plan expects, and what one will have at a given one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlip_autopipec.config import begun, cost, load
from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.load import PreparedPlan
from mlip_autopipec.config.outlook import outlook
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.yaml import write_plan


def derived(**keys: Any) -> tuple[Plan, dict[str, str]]:
    return derive(UserInput.model_validate(keys), cores=2)


@pytest.mark.parametrize(
    "keys",
    [
        {"material": "Si"},
        {"material": "NaCl"},
        {"material": "SrTiO3"},
        {"composition": {"Al": 0.5, "Cu": 0.5}},
        {"molecule": "ethanol"},
        {"material": "Al", "goal": "liquid", "temperatures_k": 1200},
    ],
    ids=str,
)
def test_the_budget_fits_what_is_expected_and_says_why(keys: dict[str, Any]) -> None:
    plan, reasons = derived(**keys)
    expected = cost.estimate(plan)
    assert 1.2 < plan.budget.dft_calls / expected.dft_calls < 2
    assert 1.5 < plan.budget.wall_minutes / expected.wall_minutes < 3
    assert expected.within_budget and outlook(plan).rounds == cost.ROUNDS
    assert str(expected.dft_calls) in reasons["budget.dft_calls"]
    assert f"{expected.wall_minutes:.0f} minutes" in reasons["budget.wall_minutes"]


def test_expected_calls_are_the_sum_of_what_will_be_labelled() -> None:
    plan, _ = derived(material="Si")
    parts = plan.selection.initial_count + plan.validation.calls + cost.ROUNDS * cost.ROUND_LABELS
    expected = cost.estimate(plan)
    assert parts <= expected.dft_calls <= 1.1 * parts
    assert expected.first_fit_calls < expected.dft_calls
    assert expected.first_fit_minutes < expected.wall_minutes
    fewer, _ = derived(material="Si", budget={"dft_calls": 400, "wall_minutes": 999})
    assert cost.estimate(fewer).dft_calls == expected.dft_calls  # whatever the budget is


def test_one_limit_may_be_given_and_the_other_derived() -> None:
    plan, reasons = derived(material="Si", budget={"dft_calls": 60})
    whole, _ = derived(material="Si", budget={"dft_calls": "auto", "wall_minutes": "auto"})
    assert plan.budget.dft_calls == 60 and reasons["budget.dft_calls"].startswith("given")
    assert plan.budget.wall_minutes == whole.budget.wall_minutes
    assert reasons["budget.wall_minutes"].startswith("auto")


def test_twice_the_cores_need_half_the_minutes() -> None:
    two, four = (derive(UserInput.model_validate({"material": "Cu"}), cores=n)[0] for n in (2, 4))
    assert four.budget.wall_minutes == pytest.approx(two.budget.wall_minutes / 2, abs=10)
    assert four.budget.dft_calls == two.budget.dft_calls


def test_a_small_budget_is_told_what_it_buys_and_what_would_do() -> None:
    full, _ = derived(material="Si")
    better = f"{full.budget.dft_calls} calls and {full.budget.wall_minutes:g} minutes"
    for budget in ({"dft_calls": 20}, {"wall_minutes": 1}):
        poor = outlook(derived(material="Si", budget=budget)[0])
        assert poor.rounds is None and "too small for a good first fit" in poor.text
        assert f"{better} should do" in poor.text
    expected = cost.estimate(full)
    between = expected.first_fit_calls + cost.ROUND_LABELS + 1
    some = outlook(derived(material="Si", budget={"dft_calls": between})[0])
    assert some.rounds == 1 and better in some.text
    rounds = [
        outlook(derived(material="Si", budget={"dft_calls": calls})[0]).rounds or 0
        for calls in (20, 35, 45, 60, 100)
    ]
    assert rounds == sorted(rounds) and rounds[0] == 0 and rounds[-1] == cost.ROUNDS


def prepared(folder: Path, text: str) -> PreparedPlan:
    path = folder / "input.yaml"
    path.write_text(text + "\n")
    return load.load(path, runs_dir=folder / "runs", cores=2)


def test_a_run_that_was_begun_keeps_the_limits_that_nobody_gives(tmp_path: Path) -> None:
    """Also one from before budgets were derived, whose defaults stand in its plan."""
    first = prepared(tmp_path, "material: Si\nbudget: {dft_calls: 80, wall_minutes: 60}")
    write_plan(first.plan, first.reasons, first.root / "plan.yaml")
    (first.root / "plan.json").write_text(first.plan.model_dump_json())
    begun.keep_question(first.root, first.question)
    again = prepared(tmp_path, "material: Si")
    assert again.plan.budget == first.plan.budget
    raised = prepared(tmp_path, "material: Si\nbudget: {dft_calls: 90}")
    assert (raised.plan.budget.dft_calls, raised.plan.budget.wall_minutes) == (90, 60.0)
    load.check_same_plan(raised)
