"""Properties that the user names: into the plan, into the decisions, and through a whole campaign
with one of the user's own.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ase.calculators.emt import EMT
from ase.data import reference_states
from test_molecule_campaign import Threads
from threadpoolctl import threadpool_limits
from world import World

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.structures import atoms_from_json
from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.payloads import ExplorePayload, LabelPayload
from mlip_autopipec.campaign.properties import labels_of, owed, volume_ratio
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.commands.active_learning import run_campaign
from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.input import load_user_input
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.show import value_at
from mlip_autopipec.config.yaml import load_plan, load_reasons, write_plan
from mlip_autopipec.science.properties.port import Comparison, Found
from mlip_autopipec.testing import simulated_plan

PAGE = Path(__file__).parents[3] / "docs" / "developing" / "add-a-property.md"
OWN = "energy_of_bcc:EnergyOfBcc"
EOS = {"eos_strains": [-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06]}


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL
    )


@pytest.fixture(autouse=True)
def _own_property(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worked example of the page can be imported by the name that the page gives it."""
    module = ModuleType("energy_of_bcc")
    monkeypatch.setitem(sys.modules, "energy_of_bcc", module)
    exec(blocks("python")[0], module.__dict__)


def planned(folder: Path, text: str) -> tuple[Plan, dict[str, str]]:
    path = folder / "input.yaml"
    path.write_text(text)
    return derive(load_user_input(path), cores=2)


# --- the plan
# --------------------------------------------------------------------------------------------------


def test_the_input_of_the_page_becomes_a_plan_that_is_read_again(tmp_path: Path) -> None:
    plan, reasons = planned(tmp_path, blocks("yaml")[0])
    assert list(plan.validation.each) == ["equation_of_state", OWN]
    assert plan.validation.calls == 9 + 2
    write_plan(plan, reasons, tmp_path / "plan.yaml")
    assert load_plan(tmp_path / "plan.yaml") == plan
    assert load_plan(tmp_path / "plan.yaml").hash == plan.hash
    key = f"validation.properties.{OWN}.tolerance_ev_per_atom"
    assert reasons[key] == load_reasons(tmp_path / "plan.yaml")[key]
    assert value_at(plan.model_dump(mode="json"), key) == 0.01
    for dotted in reasons:
        value_at(plan.model_dump(mode="json"), dotted)


def test_naming_the_usual_property_changes_nothing(tmp_path: Path) -> None:
    usual, reasons = planned(tmp_path, "material: Cu\n")
    named, same = planned(tmp_path, "material: Cu\nproperties: [equation_of_state]\n")
    assert named.hash == usual.hash and same == reasons
    assert set(usual.model_dump(mode="json")["validation"]) == {
        "eos_strains",
        "lattice_tolerance",
        "bulk_modulus_tolerance",
    }


def test_elastic_constants_are_counted_in_what_the_budget_leaves(tmp_path: Path) -> None:
    text = "material: Cu\nbudget: {dft_calls: 40}\n"
    usual, _ = planned(tmp_path, text)
    more, _ = planned(tmp_path, text + "properties: [equation_of_state, elastic]\n")
    assert more.validation.calls == usual.validation.calls + 14
    assert more.selection.initial_count == (40 - 9 - 14) * 2 // 3 < usual.selection.initial_count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("material: Cu\nproperties: [elastc]\n", "did you mean 'elastic'"),
        ("material: Cu\nproperties: []\n", "no property is named"),
        ("material: Cu\nproperties: [elastic, elastic]\n", "named twice"),
        ("material: Cu\nproperties: [molecule]\n", "no molecule"),
        ("molecule: H2O\nproperties: [elastic]\n", "no elastic constants"),
        ("material: Cu\nproperties: [nowhere:Thing]\n", "nowhere:Thing"),
        (
            "material: Cu\nproperties: [equation_of_state, elastic]\nbudget: {dft_calls: 20}\n",
            "at least 31",
        ),
    ],
)
def test_what_cannot_be_is_said_in_a_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        planned(tmp_path, text)
    assert words in str(refused.value) and "\n" not in str(refused.value)
    assert "properties" in str(refused.value)


def test_a_wrong_setting_of_a_plan_is_named(tmp_path: Path) -> None:
    plan, reasons = planned(tmp_path, "material: Cu\nproperties: [equation_of_state, elastic]\n")
    path = tmp_path / "plan.yaml"
    write_plan(plan, reasons, path)
    path.write_text(path.read_text().replace("strain: 0.01", "strain: -1"))
    with pytest.raises(InputError, match=r"elastic\.strain"):
        load_plan(path)


# --- decisions
# --------------------------------------------------------------------------------------------------


def plan_of(*names: str, **changes: Any) -> Plan:
    settings: Json = {name: EOS if name == "equation_of_state" else {} for name in names}
    return simulated_plan(**{"validation": {"properties": settings}, **changes})


KEYS = {
    "equation_of_state": ["lattice_constant_a", "bulk_modulus_gpa"],
    "elastic": ["c11_gpa", "c12_gpa", "c44_gpa"],
    OWN: ["bcc_ev_per_atom"],
}


class CopperWorld(World):
    """Every potential agrees with DFT in all that it is asked."""

    def answer(self, record: TaskRecord) -> Json:
        if record.task.kind != "validate":
            return super().answer(record)
        found = {}
        for name in record.task.payload["labels"]:
            values = Found(dict.fromkeys(KEYS[name], 100.0))
            found[name] = Comparison(values, values).to_json()
        return {"properties": found, **self.gate(record)}


def test_each_property_is_asked_for_what_it_needs_and_no_more() -> None:
    plan = plan_of("equation_of_state", "elastic", OWN)
    state = CopperWorld(plan).run()
    assert state.end is not None and state.end.end_state == "converged", state.end
    asked = {name: len(records) for name, records in labels_of(plan, state).items()}
    assert asked == {"equation_of_state": 7, "elastic": 4, OWN: 2}
    for name, records in labels_of(plan, state).items():
        meshes = {json.dumps(record.task.payload["job"]["kmesh"]) for record in records}
        assert meshes == {"null"} if name == OWN else len(meshes) == 1
    for record in state.of_kind("validate"):
        assert {name: len(ids) for name, ids in record.task.payload["labels"].items()} == asked
    trained = {name for record in state.of_kind("train") for name in record.task.payload["labels"]}
    assert not trained & {record.task.id for record in state.labels("validate")}


class CopperOfEmt(CopperWorld):
    """Labels are those of effective-medium theory, whose copper is 1.7 % smaller than the start."""

    def answer(self, record: TaskRecord) -> Json:
        answered = super().answer(record)
        if record.task.kind == "label":
            atoms = record.asked(LabelPayload).candidate.atoms
            atoms.calc = EMT()
            answered["energy_ev"] = float(atoms.get_potential_energy())
            answered["stress"] = atoms.get_stress().tolist()
        return answered


def test_md_starts_at_dfts_volume_once_it_is_known() -> None:
    plan = plan_of("equation_of_state")
    state = CopperOfEmt(plan).run()
    ratios = [item.asked(ExplorePayload).volume_ratio for item in state.of_kind("explore")]
    expected = (3.5898 / reference_states[29]["a"]) ** 3  # EMT's lattice constant over the start's
    assert ratios[-1] == volume_ratio(plan, state) == pytest.approx(expected, abs=2e-3)
    later = ratios[ratios.index(ratios[-1]) :]
    assert set(later) == {ratios[-1]}, "the same start cell for every visit from then on"


def test_one_property_outside_its_tolerance_holds_the_campaign_back() -> None:
    class Off(CopperWorld):
        def answer(self, record: TaskRecord) -> Json:
            found = super().answer(record)
            if record.task.kind == "validate":
                found["properties"]["elastic"]["potential"]["values"]["c44_gpa"] = 120.0
            return found

    state = Off(plan_of("equation_of_state", "elastic")).run()
    assert state.end is not None and state.end.end_state != "converged"
    assert "c44_gpa 120.0000 against DFT 100.0000: 20.00% off, outside 10.0%" in state.end.reason
    assert "c11_gpa" not in state.end.reason


def test_the_budget_keeps_room_for_every_property() -> None:
    for calls in (24, 30):
        budget = {"dft_calls": calls, "wall_minutes": 60}
        world = CopperWorld(plan_of("equation_of_state", "elastic", budget=budget))
        world.unknown_until = 10**6
        state = world.run()
        assert state.end is not None and state.dft_calls <= calls
        assert len(state.labels("validate")) == 11


def test_what_is_owed_ends_with_the_last_question() -> None:
    plan = plan_of("equation_of_state", "elastic")
    assert owed(plan, CampaignState()) == 9 + 14
    assert owed(plan, CopperWorld(plan).run()) == 0  # a cubic crystal asked for 4 of the 14


def test_a_property_without_labels_is_not_known_and_the_others_are_validated() -> None:
    def refuse(record: TaskRecord) -> Outcome | None:
        payload = record.task.payload
        if record.task.kind == "label" and payload.get("property") == "elastic":
            return Outcome(None, Failure("geometry", "refused"))
        return None

    budget = {"dft_calls": 60, "wall_minutes": 60}
    rules = {"quarantined_share": 1.0}  # else a person is asked to look
    plan = plan_of("equation_of_state", "elastic", budget=budget, rules=rules)
    state = CopperWorld(plan, fail=refuse).run()
    assert state.end is not None and state.end.end_state != "converged"
    assert "elastic_constants_gpa is not known" in state.end.reason
    assert {tuple(r.task.payload["labels"]) for r in state.of_kind("validate")} == {
        ("equation_of_state",)
    }


def test_labels_from_before_properties_had_names_are_those_of_the_only_one() -> None:
    plan = plan_of("equation_of_state")
    world = CopperWorld(plan)
    state = world.run()
    for record in state.labels("validate"):
        del record.task.payload["property"]
    assert len(labels_of(plan, state)["equation_of_state"]) == 7
    assert owed(plan, state) == 0


# --- a whole campaign
# --------------------------------------------------------------------------------------------------


def test_a_property_of_ones_own_goes_through_the_whole_loop(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, blocks("yaml")[0])
    settings = plan.validation.model_dump(mode="json")["properties"]
    base = simulated_plan(initial=8)
    exploration = {
        **base.exploration.model_dump(mode="json"),
        "run_ps": 0.4,
        "equilibration_ps": 0.1,
        "sample_every_ps": 0.1,
        "wait_s": 20.0,
        "conditions": [{"name": "300K", "ensemble": "nvt", "temperature_k": 300}],
    }
    plan = simulated_plan(
        validation={"properties": {**settings, "elastic": {}}}, exploration=exploration
    )
    root = tmp_path / "run"
    with threadpool_limits(1):
        summary = run_campaign(plan, {}, root, executor=Threads(), tick_s=0.02)
    assert summary["end_state"] == "converged", summary["reason"]
    assert summary["labels"]["validate"] == 7 + 2 + 4
    values = {item["key"]: item for item in summary["properties"]}
    assert list(values) == [
        "lattice_constant_a", "bulk_modulus_gpa", "bcc_ev_per_atom", "c11_gpa", "c12_gpa",
        "c44_gpa",
    ]  # fmt: skip
    own = values["bcc_ev_per_atom"]
    assert own["potential"] == pytest.approx(own["dft"]) and own["potential"] > 0
    assert values["c44_gpa"]["dft"] == pytest.approx(90, rel=0.03)
    names = {item["name"]: item["met"] for item in summary["targets"]}
    assert names["energy of bcc above fcc against our DFT"] is True
    page = (root / "result" / "report.html").read_text()
    assert "energy of bcc above fcc" in page and "Elastic constants" in page
    stored = json.loads((root / "plan.json").read_text())
    assert Plan.model_validate(stored) == plan


def test_the_energies_of_the_example_are_those_of_the_two_crystals() -> None:
    plan = plan_of(OWN)
    state = CopperWorld(plan).run()
    cells = {
        record.task.payload["candidate"]["provenance"]["parameters"]["lattice"]: atoms_from_json(
            record.task.payload["candidate"]["atoms"]
        )
        for record in state.labels("validate")
    }
    assert Counter(len(atoms) for atoms in cells.values()) == {1: 2}
    energies = {}
    for name, atoms in cells.items():
        atoms.calc = EMT()
        energies[name] = atoms.get_potential_energy()
    assert energies["bcc"] > energies["fcc"]
