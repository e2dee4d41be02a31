"""A run that was begun keeps its plan; earlier versions are read, later ones refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlip_autopipec.base.errors import CampaignStateError, InputError
from mlip_autopipec.base.values import content_hash
from mlip_autopipec.config import begun, load, upgrade
from mlip_autopipec.config.label_plan import read_plan
from mlip_autopipec.config.load import PreparedPlan
from mlip_autopipec.config.plan import Condition, Plan
from mlip_autopipec.config.yaml import is_untouched, load_plan, write_plan
from mlip_autopipec.testing import simulated_plan


def prepared(folder: Path, text: str) -> PreparedPlan:
    path = folder / "input.yaml"
    path.write_text(text + "\n")
    return load.load(path, runs_dir=folder / "runs", cores=2)


def other_rules(plan: Plan) -> Plan:
    """The plan as rules of another version would have derived it."""
    settings = plan.training.settings.model_copy(update={"kappa": 0.02, "cutoff_a": 4.4})
    training = plan.training.model_copy(update={"settings": settings})
    return plan.model_copy(update={"training": training})


def begin(found: PreparedPlan, *, keeps_question: bool = True) -> PreparedPlan:
    """What a driver leaves in the run folder, with a plan that today's rules would not derive."""
    earlier = replace(found, plan=other_rules(found.plan))
    write_plan(earlier.plan, earlier.reasons, earlier.root / "plan.yaml")
    (earlier.root / "plan.json").write_text(earlier.plan.model_dump_json())
    if keeps_question:
        begun.keep_question(earlier.root, earlier.question)
    return earlier


@pytest.mark.parametrize("keeps_question", [True, False])
def test_the_same_input_goes_on_with_the_plan_that_was_begun(
    tmp_path: Path, keeps_question: bool
) -> None:
    first = begin(prepared(tmp_path, "material: Si\nseed: 3"), keeps_question=keeps_question)
    again = prepared(tmp_path, "material: Si\nseed: 3\ngoal: general\nbudget: {dft_calls: 300}")
    load.check_same_plan(again)
    assert again.plan.hash == first.plan.hash
    assert again.plan.training.settings.cutoff_a == 4.4
    assert again.plan.budget.dft_calls == 300, "limits are those of today's input"
    assert again.reasons["budget.dft_calls"].startswith("given")
    assert (
        again.reasons["training.settings.cutoff_a"] == first.reasons["training.settings.cutoff_a"]
    )


@pytest.mark.parametrize("keeps_question", [True, False])
@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ("material: Si\nseed: 4", "seed"),
        ("material: Si\nseed: 3\ndft: {cutoff_ry: 36}", "dft.cutoff_ry"),
        ("material: Si\nseed: 3\ntemperatures_k: 500", "temperatures_k"),
        ("material: Si\nseed: 3\ngoal: crystal", "goal"),
    ],
)
def test_another_question_is_refused_by_its_name(
    tmp_path: Path, changed: str, key: str, keeps_question: bool
) -> None:
    begin(prepared(tmp_path, "material: Si\nseed: 3"), keeps_question=keeps_question)
    again = prepared(tmp_path, changed)
    with pytest.raises(InputError) as caught:
        load.check_same_plan(again)
    assert "belongs to another plan" in str(caught.value)
    if keeps_question:
        assert f"another plan: {key} differ" in str(caught.value)


def test_what_was_given_once_and_is_given_no_more_is_another_question(tmp_path: Path) -> None:
    begin(prepared(tmp_path, "material: Si\ndft: {cutoff_ry: 36}"), keeps_question=False)
    with pytest.raises(InputError, match="belongs to another plan"):
        load.check_same_plan(prepared(tmp_path, "material: Si"))


def test_a_run_begun_from_a_plan_is_not_taken_for_one_of_the_input(tmp_path: Path) -> None:
    found = prepared(tmp_path, "material: Si")
    begin(replace(found, question=None))
    with pytest.raises(InputError, match=r"training\.settings\.cutoff_a"):
        load.check_same_plan(prepared(tmp_path, "material: Si"))


def test_a_plan_that_was_written_but_never_begun_is_derived_anew(tmp_path: Path) -> None:
    found = prepared(tmp_path, "material: Si")
    write_plan(other_rules(found.plan), found.reasons, found.root / "plan.yaml")
    again = prepared(tmp_path, "material: Si")
    load.check_same_plan(again)
    assert again.plan == found.plan


def test_a_plan_of_a_later_version_is_refused_in_one_line(tmp_path: Path) -> None:
    found = begin(prepared(tmp_path, "material: Si"))
    later = {**found.plan.model_dump(mode="json"), "version": upgrade.PLAN_VERSION + 1}
    for name in ("plan.json", "plan.yaml"):
        (found.root / name).write_text(json.dumps({**later, "unheard_of": 1}))
    for read in (
        lambda: read_plan(found.root / "plan.json"),
        lambda: load_plan(found.root / "plan.yaml"),
        lambda: prepared(tmp_path, "material: Si"),
    ):
        with pytest.raises(CampaignStateError, match=r"plan\.\w+: a plan of version \d") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_damaged_plan_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"version": 1, "name": "Si"}')
    with pytest.raises(CampaignStateError, match="not a plan that can be gone on with") as caught:
        read_plan(tmp_path / "plan.json")
    assert "\n" not in str(caught.value)


def test_steps_are_taken_one_after_the_other_from_the_stored_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rename(old: str, new: str) -> Any:
        return lambda data: {new if key == old else key: value for key, value in data.items()}

    monkeypatch.setattr(upgrade, "PLAN_VERSION", 3)
    monkeypatch.setattr(upgrade, "_STEPS", {1: rename("a", "b"), 2: rename("b", "c")})
    assert upgrade.upgraded({"a": 7}, "plan.json") == {"c": 7, "version": 3}
    assert upgrade.upgraded({"a": 7, "version": 1}, "plan.json") == {"c": 7, "version": 3}
    assert upgrade.upgraded({"b": 7, "version": 2}, "plan.json") == {"c": 7, "version": 3}
    assert upgrade.upgraded({"c": 7, "version": 3}, "plan.json") == {"c": 7, "version": 3}


def test_a_plan_is_written_in_the_version_that_is_upgraded_to(tmp_path: Path) -> None:
    plan = simulated_plan()
    assert plan.version == upgrade.PLAN_VERSION
    assert set(upgrade._STEPS) == set(range(1, upgrade.PLAN_VERSION)), "a step from each version"
    write_plan(plan, {}, tmp_path / "plan.yaml")
    assert is_untouched(tmp_path / "plan.yaml")


def test_a_plan_from_before_md_ran_for_a_fixed_time_is_read_and_keeps_its_hash() -> None:
    today = simulated_plan().model_dump(mode="json")
    exploration = {
        key: value
        for key, value in today["exploration"].items()
        if key not in ("run_ps", "equilibration_ps", "sample_every_ps")
    }
    before = {"clean_ps": 8.0, "max_ps": 40.0, "gamma_select": 4.0}
    convergence = {"energy_rmse_mev_per_atom": 5.0, "force_rmse_mev_per_a": 100.0}
    convergence |= {"force_rmse_change": 0.15, "property_change": 0.01, "rounds": 2}
    rules = {**today["rules"], "exploration_share": 0.75}
    del rules["on_policy_per_visit"]
    old = {
        **today,
        "version": 3,
        "exploration": {**exploration, **before},
        "convergence": convergence,
        "rules": rules,
    }
    plan = Plan.model_validate(upgrade.upgraded(old, "plan.json"))
    assert plan.exploration.run_ps == 8.0, "what was to be clean in a row"
    again = Plan.model_validate(upgrade.upgraded(plan.model_dump(mode="json"), "plan.json"))
    assert again == plan
    stored = {**old["exploration"], "max_candidates_per_potential": 12}
    left_out = ("budget", "executor", "rules")
    identity = {key: value for key, value in old.items() if key not in left_out}
    assert plan.convergence.force_rmse_mev_per_a == 100.0
    assert plan.hash == content_hash({**identity, "exploration": stored})
    assert plan.hash != simulated_plan().hash


def test_a_condition_of_an_earlier_plan_is_written_as_it_was() -> None:
    old = {"name": "npt-300K", "ensemble": "npt", "temperature_k": 300.0, "pressure_gpa": 0.0}
    assert Condition.model_validate(old).model_dump(mode="json") == old
    new = {**old, "role": "margin", "start": "vacancy", "strain": 0.03, "atoms": 16}
    assert Condition.model_validate(new).model_dump(mode="json") == new


def test_margins_do_not_make_another_question_of_an_earlier_plan() -> None:
    plan = simulated_plan()
    hotter = Condition(name="hot", ensemble="npt", temperature_k=1300, role="margin")
    with_margin = [*plan.exploration.conditions, hotter]
    asked = plan.exploration.model_copy(update={"conditions": with_margin})
    assert begun.same_choices(plan, {}, plan.model_copy(update={"exploration": asked}), {})
    hotter = hotter.model_copy(update={"role": "asked"})
    asked = plan.exploration.model_copy(
        update={"conditions": [*plan.exploration.conditions, hotter]}
    )
    assert not begun.same_choices(plan, {}, plan.model_copy(update={"exploration": asked}), {})
