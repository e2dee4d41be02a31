"""What tasks ask and answer, read from a real run of an earlier version and written again."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from test_events import rows

from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.events import AttemptEnded, TaskPlanned, from_record
from mlip_autopipec.campaign.payloads import (
    ExplorePayload,
    GeneratePayload,
    HarvestPayload,
    HitRatePayload,
    LabelPayload,
    SelectPayload,
    TrainPayload,
    ValidatePayload,
)
from mlip_autopipec.campaign.results import (
    GenerateResult,
    HarvestResult,
    SelectResult,
    TrainResult,
)
from mlip_autopipec.engines.ports import MdResult
from mlip_autopipec.science.hit_rate import HitRate
from mlip_autopipec.testing import simulated_plan

ASKED: dict[str, Any] = {
    "generate": GeneratePayload,
    "select": SelectPayload,
    "label": LabelPayload,
    "train": TrainPayload,
    "explore": ExplorePayload,
    "harvest": HarvestPayload,
    "validate": ValidatePayload,
    "hit_rate": HitRatePayload,
}
ANSWERED: dict[str, Any] = {
    "generate": GenerateResult,
    "select": SelectResult,
    "train": TrainResult,
    "harvest": HarvestResult,
}
EOS = "equation_of_state"


@pytest.fixture
def events(stored_run):
    return [from_record(kind, data) for kind, data in rows(stored_run)]


@pytest.fixture
def tasks(events) -> list[Task]:
    return [event.task for event in events if isinstance(event, TaskPlanned)]


def test_every_task_of_a_real_run_keeps_its_id_and_its_bytes(tasks):
    """Labels of a stored run are found again by the id of their task."""
    seen = Counter()
    for task in tasks:
        if "eos_labels" in task.payload:
            continue
        written = ASKED[task.kind].from_json(task.payload).to_json()
        again = Task(task.kind, written, task.needs)
        assert (again.id, json.dumps(written)) == (task.id, json.dumps(task.payload))
        seen[task.kind] += 1
    assert set(seen) == set(ASKED) - {"validate"}
    assert seen["label"] > 40 and seen["select"] > 1


def test_a_validation_from_before_properties_had_names_is_read(tasks):
    old = next(task for task in tasks if task.kind == "validate")
    asked = ValidatePayload.from_json(old.payload)
    assert asked == ValidatePayload(
        old.payload["potential"], {EOS: tuple(old.payload["eos_labels"])}, None
    )
    assert len(asked.labels[EOS]) == 7


def test_a_validation_is_written_as_it_is_read():
    data = {
        "potential": "potentials/000-a",
        "labels": {"elastic": ["label-1", "label-2"], EOS: ["label-3"]},
        "source": "generate-1",
    }
    assert json.dumps(ValidatePayload.from_json(data).to_json()) == json.dumps(data)


def test_every_answer_of_a_real_run_is_written_as_it_was_read(events):
    seen = Counter()
    for event in events:
        if not isinstance(event, AttemptEnded):
            continue
        kind, result = event.task_id.partition("-")[0], event.outcome.result
        if kind not in ANSWERED or result is None:
            continue
        written = ANSWERED[kind].from_json(result).to_json()
        if kind == "generate":  # what came later
            assert written.pop("prepared") == {}
        assert json.dumps(written) == json.dumps(result)
        seen[kind] += 1
    assert set(seen) == set(ANSWERED)


def test_answers_of_ports_and_science_are_read(events):
    ended = [event for event in events if isinstance(event, AttemptEnded) and event.outcome.result]
    md = [event for event in ended if event.task_id.startswith("explore")]
    assert all(MdResult.from_json(event.outcome.result).ps > 0 for event in md)
    judged = next(event for event in ended if event.task_id.startswith("hit_rate"))
    assert HitRate(**judged.outcome.result).n_hits == 36


def test_what_a_label_says_of_its_candidate(tasks):
    labels = [task for task in tasks if task.kind == "label"]
    cut = [LabelPayload.from_json(task.payload) for task in labels]
    masked = [label for label in cut if label.masked]
    assert masked and all(label.provenance.strategy == "cutout" for label in masked)
    assert all(label.candidate.core for label in masked)
    for label in cut:
        assert label.numbers == label.candidate.atoms.numbers.tolist()
        assert label.job.atoms == label.candidate.atoms
    assert {label.of_property for label in cut} == {None}


def test_names_of_a_label_tell_story_atoms_and_purpose_apart(tasks):
    data = next(task.payload for task in tasks if task.kind == "label")
    label = LabelPayload.from_json(data)
    told = LabelPayload.from_json(
        {**data, "candidate": {**data["candidate"], "forced": not data["candidate"]["forced"]}}
    )
    assert told.candidate_hash != label.candidate_hash
    assert told.atoms_hash == label.atoms_hash
    assert told.calculation_hash == label.calculation_hash
    other = LabelPayload.from_json({**data, "purpose": "audit"})
    assert other.calculation_hash != label.calculation_hash


def test_the_property_of_a_label_is_stored_only_where_it_has_one():
    label = LabelPayload({"atoms": {}}, "validate", {"atoms": {}}, "elastic")
    assert LabelPayload.from_json(label.to_json()) == label
    assert list(label.to_json()) == ["candidate", "job", "purpose", "property"]
    assert list(LabelPayload({}, "train").to_json()) == ["job", "purpose"]


def test_only_later_selections_say_what_is_labelled():
    first = SelectPayload(3, "fps", 0.3, 1)
    later = SelectPayload(3, "fps", 0.3, 1, existing=())
    assert "existing" not in first.to_json() and later.to_json()["refused"] == []
    assert SelectPayload.from_json(later.to_json()) == later != first


def test_a_visit_says_how_far_the_surrogates_volume_is_off_once_it_is_known():
    condition = simulated_plan().exploration.conditions[0]
    known = ExplorePayload(condition, 3, 7, None, 1.0321)
    assert ExplorePayload.from_json(known.to_json()) == known
    unknown = ExplorePayload(condition, 3, 7)
    assert ExplorePayload.from_json(unknown.to_json()) == unknown
    assert set(unknown.to_json()) == {"condition", "visit", "seed"}, "as tasks always were"
