"""The loop without processes: what ``decide`` makes of a world that answers every task at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from world import SleepyWorld, World, plan_for_tests

from mlip_autopipec.base.structures import Candidate, Provenance, atoms_from_json
from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign import labels
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.commands import PlanTask
from mlip_autopipec.campaign.decide import decide
from mlip_autopipec.campaign.events import (
    PotentialPublished,
    TaskPlanned,
    from_record,
    to_record,
)
from mlip_autopipec.campaign.state import CampaignState, TaskRecord, fold
from mlip_autopipec.testing import simulated_plan


def test_a_campaign_converges_through_every_stage() -> None:
    world = World(plan_for_tests())
    state = world.run()
    assert state.end is not None and state.end.end_state == "converged"
    kinds = Counter(record.task.kind for record in state.tasks.values())
    assert kinds["generate"] == 2 and kinds["harvest"] >= 2 and kinds["validate"] >= 2
    trainers = [potential.trainer for potential in state.potentials]
    assert trainers[0] == "linear" and trainers[-1] == "pacemaker"
    # convergence looks back on two potentials of the released kind
    assert trainers.count("pacemaker") >= 2


def test_validation_labels_are_never_trained_on() -> None:
    state = World(plan_for_tests()).run()
    validation = {record.task.id for record in state.labels("validate")}
    assert len(validation) == 7
    for record in state.of_kind("train"):
        assert not validation & set(record.task.payload["labels"])


def test_equation_of_state_shares_the_mesh_of_the_unstrained_cell() -> None:
    state = World(plan_for_tests()).run()
    meshes = {tuple(record.task.payload["job"]["kmesh"]) for record in state.labels("validate")}
    assert len(meshes) == 1
    volumes = sorted(
        atoms_from_json(r.task.payload["job"]["atoms"]).get_volume()
        for r in state.labels("validate")
    )
    assert np.allclose(np.array(volumes) / volumes[3], 1 + np.arange(-6, 7, 2) / 100)


def test_every_frame_that_md_streams_is_harvested_once() -> None:
    state = World(plan_for_tests()).run()
    files = [file for record in state.of_kind("harvest") for file in record.task.payload["files"]]
    assert sorted(files) == sorted({candidate.file for candidate in state.md_candidates})


def test_a_frame_that_md_streams_again_is_labelled_once() -> None:
    class Forgetful(World):
        """MD that was killed and continued: the same frames under other files and seeds."""

        def candidate(self, record: TaskRecord, i: int, **parameters: Any) -> Json:
            if record.task.kind != "harvest":
                return super().candidate(record, i)
            atoms = bulk("Cu", cubic=True)
            atoms.positions[0, 0] += 0.3 + 0.001 * i
            parent = f"attempt-{record.order}.json"
            return Candidate(
                atoms,
                Provenance("md_frame", "md", parameters, parent=parent, seed=record.order),
            ).to_json()

    state = Forgetful(plan_for_tests()).run()
    assert len(state.of_kind("harvest")) >= 2
    jobs = Counter(str(record.task.payload["job"]) for record in state.labels("train"))
    assert set(jobs.values()) == {1}
    of_md = [
        r.task.payload["candidate"]["provenance"]["strategy"] == "md_frame"
        for r in state.labels("train")
    ]
    assert sum(of_md) == max(
        len(record.result["candidates"]) for record in state.of_kind("harvest")
    )


def test_budget_of_dft_calls_is_never_passed_and_keeps_room_for_validation() -> None:
    for calls in (15, 20, 25):
        world = World(plan_for_tests(budget={"dft_calls": calls, "wall_minutes": 60}))
        world.unknown_until = 10**6
        state = world.run()
        assert state.end is not None and state.end.end_state == "budget_exhausted"
        assert state.dft_calls <= calls
        assert len(state.labels("validate")) == 7
        assert state.potentials[-1].trainer == "pacemaker"


def test_wall_time_ends_with_a_last_fit_and_its_validation() -> None:
    world = World(
        plan_for_tests(budget={"dft_calls": 1000, "wall_minutes": 30}), minutes_per_task=1.0
    )
    world.unknown_until = 10**6
    state = world.run()
    assert state.end is not None and state.end.end_state == "budget_exhausted"
    assert state.potentials[-1].trainer == "pacemaker"
    done = {record.task.id for record in state.labels("train") if record.status == "done"}
    assert done <= set(state.of_kind("train")[-1].task.payload["labels"])
    assert any(
        r.task.payload["potential"] == state.potentials[-1].folder
        for r in state.of_kind("validate")
    )


def test_the_last_potential_of_every_campaign_is_validated() -> None:
    for minutes in (20, 25, 30, 35, 40):
        world = World(
            plan_for_tests(budget={"dft_calls": 60, "wall_minutes": minutes}), minutes_per_task=1.0
        )
        world.unknown_until = 10**6
        state = world.run()
        assert any(
            r.task.payload["potential"] == state.potentials[-1].folder
            for r in state.of_kind("validate")
        )


def test_a_quarantined_label_does_not_block_the_loop() -> None:
    order: dict[str, int] = {}

    def fail(record: TaskRecord) -> Outcome | None:
        if record.task.kind != "label":
            return None
        unlucky = order.setdefault(record.task.id, len(order)) % 6 == 5
        return Outcome(None, Failure("geometry", "atoms overlap")) if unlucky else None

    state = World(plan_for_tests(), fail).run()
    assert state.end is not None and state.end.end_state == "converged"
    lost = [record for record in state.of_kind("label") if record.status == "quarantined"]
    assert lost and all(len(record.attempts) == 2 for record in lost)  # the table allows one repair
    for record in state.of_kind("train"):
        assert not {item.task.id for item in lost} & set(record.task.payload["labels"])


def test_a_missing_program_ends_as_needs_attention_and_is_tried_again_by_the_next_driver() -> None:
    def fail(record: TaskRecord) -> Outcome | None:
        return (
            Outcome(None, Failure("person", "pw.x was not found"))
            if record.task.kind == "label"
            else None
        )

    world = World(plan_for_tests(), fail)
    state = world.run()
    assert (
        state.end is not None
        and state.end.end_state == "needs_attention"
        and "pw.x" in state.end.reason
    )
    from mlip_autopipec.campaign.events import DriverStarted

    world.record(DriverStarted("hash", 0.0, {}))
    world.fail = lambda record: None
    assert world.run().end.end_state == "converged"  # type: ignore[union-attr]


def test_most_labels_failing_asks_for_a_person() -> None:
    def fail(record: TaskRecord) -> Outcome | None:
        return (
            Outcome(None, Failure("geometry", "overlap")) if record.task.kind == "label" else None
        )

    state = World(plan_for_tests(), fail).run()
    assert state.end is not None and state.end.end_state == "needs_attention"


def test_md_goes_on_while_labels_and_fits_are_made() -> None:
    world = World(plan_for_tests())
    world.run()
    state, overlapped = CampaignState(), set()
    for event in world.log:
        state.apply(event)
        kinds = {record.task.kind for record, _ in state.running()}
        if "explore" in kinds:
            overlapped |= kinds
    assert {"label", "train"} <= overlapped


def test_md_that_waits_meets_every_later_potential_and_leaves_its_core_to_others() -> None:
    world = SleepyWorld(plan_for_tests())
    state = world.run()
    assert state.end is not None and state.end.end_state == "converged"
    assert state.swaps >= 2 and state.count("cancelled") == 0
    planned = [
        e.task.id for e in world.log if isinstance(e, TaskPlanned) and e.task.kind == "explore"
    ]
    second = next(
        i for i, e in enumerate(world.log) if isinstance(e, TaskPlanned) and e.task.id == planned[1]
    )
    assert sum(isinstance(event, PotentialPublished) for event in world.log[:second]) == 1, (
        "while one condition waits, the other is explored with the same potential"
    )


def test_md_that_waits_for_what_never_comes_is_no_dead_end() -> None:
    def fail(record: TaskRecord) -> Outcome | None:
        lost = record.task.kind == "harvest"
        return Outcome(None, Failure("no_cutouts", "nothing could be cut")) if lost else None

    state = SleepyWorld(plan_for_tests(), fail).run()
    first, *later = (record.task for record in state.of_kind("select"))
    assert later, "more of the generated candidates were labelled instead"
    assert first.payload["method"] == "fps" and "existing" not in first.payload
    assert {task.payload["method"] for task in later} == {"fps"} and all(
        task.payload["existing"] for task in later
    )
    assert state.end is not None and state.end.end_state in (
        "converged",
        "stalled",
        "budget_exhausted",
    )
    assert len(state.potentials) > 1 and not list(state.running())


def test_each_set_is_picked_by_its_method_of_the_plan() -> None:
    selection = {
        "initial_count": 8,
        "batch_count": 3,
        "method": "random",
        "later_method": "d_optimal",
    }
    plan = simulated_plan(selection=selection)

    def fail(record: TaskRecord) -> Outcome | None:
        return (
            Outcome(None, Failure("no_cutouts", "none")) if record.task.kind == "harvest" else None
        )

    selections = [record.task.payload for record in SleepyWorld(plan, fail).run().of_kind("select")]
    assert [payload["method"] for payload in selections] == ["random"] + ["d_optimal"] * (
        len(selections) - 1
    )
    assert len(selections) > 1 and len({payload["seed"] for payload in selections}) == len(
        selections
    )


def test_lost_workers_are_retried_with_salvage_and_cost_no_repair() -> None:
    seen: set[str] = set()

    def fail(record: TaskRecord) -> Outcome | None:
        if record.task.id in seen:
            return None
        seen.add(record.task.id)
        return Outcome(None, Failure("lost", "killed"))

    state = World(plan_for_tests(), fail).run()
    assert state.end is not None and state.end.end_state == "converged"
    for record in state.of_kind("label"):
        if record.status == "done":
            assert len(record.attempts) == 2 and not record.payload["job"]["numerics"]


def test_the_log_alone_rebuilds_the_state() -> None:
    world = World(plan_for_tests())
    state = world.run()
    again = fold(from_record(*to_record(event)) for event in world.log)
    assert {k: (r.status, len(r.attempts)) for k, r in again.tasks.items()} == {
        k: (r.status, len(r.attempts)) for k, r in state.tasks.items()
    }
    assert [p.name for p in again.potentials] == [p.name for p in state.potentials]
    assert again.dft_calls == state.dft_calls and again.end == state.end


def test_same_plan_gives_the_same_tasks() -> None:
    first, second = (list(World(plan_for_tests()).run().tasks) for _ in range(2))
    assert first == second


def test_a_decision_makes_no_task_again_that_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each event of a campaign of thousands of labels would cost a second."""
    made = []
    label_task = labels.label_task
    monkeypatch.setattr(labels, "label_task", lambda *args: made.append(1) or label_task(*args))
    world = World(plan_for_tests())
    state = world.run()
    trained = len(state.labels("train"))
    assert len(made) == trained > 10
    assert state.unlabelled("select") == state.unlabelled("harvest") == []
    first = state.of_kind("select")[0]
    assert [r.task.payload["candidate"] for r in state.labels_of(first)] == first.result[
        "candidates"
    ]


def test_what_the_budget_left_unlabelled_is_labelled_when_it_is_raised() -> None:
    def planned(calls: int, state: CampaignState) -> list[str]:
        plan = plan_for_tests(budget={"dft_calls": calls, "wall_minutes": 60})
        tasks = [item.task for item in decide(plan, state, 0.0) if isinstance(item, PlanTask)]
        return [
            task.payload["candidate"]["provenance"]["group"]
            for task in tasks
            if task.kind == "label" and task.payload["purpose"] == "train"
        ]

    world = World(plan_for_tests())
    while not world.state.of_kind("select") or not world.state.of_kind("select")[0].ended:
        world.run(rounds=1, to_the_end=False)
    state = world.state
    owed = world.plan.budget.dft_calls - room(world.plan, state)
    assert planned(owed + 3, state) == ["g0", "g1", "g2"]
    for task in labels.selected_labels(world.plan, state)[:3]:
        world.record(TaskPlanned(task))
    assert planned(owed + 5, state) == planned(owed + 5, fold(world.log)) == ["g3", "g4"]
