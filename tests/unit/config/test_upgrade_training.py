"""A stored plan of version 1, whose ``training`` held the numbers of ACE, is read as today's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.values import content_hash
from mlip_autopipec.config.label_plan import read_plan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.upgrade import upgraded
from mlip_autopipec.config.yaml import load_plan, load_reasons, write_plan
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings, PacemakerSettings

STORED = Path(__file__).resolve().parents[2] / "fixtures/run_0.1/plan.json"


def of_version_1(**training: object) -> dict[str, object]:
    data = json.loads(STORED.read_text())
    assert data["version"] == 1
    return {**data, "training": {**data["training"], **training}}


def test_each_number_of_a_fit_goes_to_the_trainer_that_used_it() -> None:
    training = read_plan(STORED).training
    assert training.settings == PacemakerSettings(
        cutoff_a=5.1, functions_per_element=300, kappa=0.01, max_iterations=150, warm_iterations=75
    )
    assert training.fast_settings == LinearSettings(
        cutoff_a=5.1, functions_per_element=150, kappa=0.01
    )
    assert training.settings_of("linear") is training.fast_settings
    assert (training.held_out_fraction, training.min_new_labels) == (0.15, 6)


def test_one_trainer_for_both_kept_the_functions_of_the_fast_one() -> None:
    training = Plan.model_validate(upgraded(of_version_1(trainer="linear"), "plan.json")).training
    assert training.fast_settings is None
    assert training.settings == LinearSettings(cutoff_a=5.1, functions_per_element=150, kappa=0.01)
    assert training.settings_of("linear") is training.settings
    assert "fast_settings" not in training.model_dump()


def test_a_plan_survives_its_files(tmp_path: Path) -> None:
    plan = read_plan(STORED)
    reasons = {"training.settings.kappa": "forces in the loss", "training.cutoff_a": "gone"}
    write_plan(plan, reasons, tmp_path / "plan.yaml")
    assert load_plan(tmp_path / "plan.yaml") == plan
    assert load_reasons(tmp_path / "plan.yaml") == {"training.settings.kappa": "forces in the loss"}
    (tmp_path / "plan.json").write_text(plan.model_dump_json())
    assert read_plan(tmp_path / "plan.json") == plan


def test_reasons_of_a_plan_of_version_1_stand_at_the_keys_of_today(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    lines = ("training:", "  cutoff_a: 5.1  # bonds", "  fast_functions_per_element: 9  # fast")
    file.write_text("\n".join(lines))
    assert load_reasons(file) == {
        "training.settings.cutoff_a": "bonds",
        "training.fast_settings.functions_per_element": "fast",
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainer": "pacemakr"}, "did you mean 'pacemaker'"),
        ({"settings": {"cutof_a": 5.0}}, "unknown key 'cutof_a' ; did you mean 'cutoff_a'"),
        ({"settings": {"cutoff_a": 5.0}}, "functions_per_element is missing"),
        ({"fast_settings": None}, "is missing; the settings of the trainer linear"),
    ],
)
def test_wrong_settings_of_a_trainer_are_named(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    plan = read_plan(STORED)
    data = plan.model_dump(mode="json")
    data["training"] |= change
    (tmp_path / "plan.yaml").write_text(json.dumps(data))
    with pytest.raises(InputError) as caught:
        load_plan(tmp_path / "plan.yaml")
    assert said.replace(" ;", ";") in str(caught.value), caught.value


def test_the_hash_of_a_plan_from_before_baselines_stays() -> None:
    stored = json.loads(STORED.read_text())
    plan = Plan.model_validate(upgraded(stored, "plan.json"))
    assert "baseline" not in json.dumps(stored)
    assert plan.training.settings.model_dump()["baseline"] == "none"
    parts = {key: value for key, value in stored.items() if key not in ("budget", "executor")}
    assert plan.hash == content_hash(parts)
    settings = plan.training.settings.model_copy(update={"baseline": "zbl"})
    other = plan.training.model_copy(update={"settings": settings})
    assert plan.model_copy(update={"training": other}).hash != plan.hash
