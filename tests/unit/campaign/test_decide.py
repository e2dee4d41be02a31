"""The loop without processes: a world that answers every task at once shows what ``decide`` makes
of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from ase.build import bulk

from mlip_autopipec.base.labels import Label, PotentialRef
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_from_json, atoms_to_json
from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.attempts import judge_attempt
from mlip_autopipec.campaign.commands import (
    CancelTask,
    Command,
    EndCampaign,
    PlanTask,
    PublishPotential,
)
from mlip_autopipec.campaign.decide import decide
from mlip_autopipec.campaign.events import (
    AttemptPlanned,
    AttemptSubmitted,
    CampaignEnded,
    Event,
    MdProgressed,
    MdStreamed,
    MdSwapped,
    PotentialPublished,
    TaskCancelled,
    TaskPlanned,
    from_record,
    to_record,
)
from mlip_autopipec.campaign.schedule import startable
from mlip_autopipec.campaign.state import CampaignState, TaskRecord, fold
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.testing import SimulatedDft, simulated_plan

Answer = Callable[[TaskRecord], Outcome | None]


class World:
    """Carries out commands in memory. ``fail`` may answer a task with an outcome of its own."""

    def __init__(
        self, plan: Plan, fail: Answer = lambda record: None, minutes_per_task: float = 0.01
    ) -> None:
        self.plan, self.fail, self.minutes = plan, fail, minutes_per_task
        self.state, self.log, self.elapsed_s = CampaignState(), [], 0.0  # type: ignore[var-annotated]
        self.unknown_until = 3  # potentials below this number meet unknown environments

    def record(self, *events: Event) -> None:
        for event in events:
            self.log.append(event)
            self.state.apply(event)

    def run(self, rounds: int = 3000) -> CampaignState:
        for _ in range(rounds):
            if self.state.end:
                return self.state
            commands = decide(self.plan, self.state, self.elapsed_s)
            for command in commands:
                self.execute(command)
            started = startable(self.state, self.plan.executor.cores)
            for record in started:
                number = len(record.attempts) + 1
                self.record(
                    AttemptPlanned(record.task.id, number),
                    AttemptSubmitted(record.task.id, number, "job"),
                )
            running = [record for record, _ in self.state.running()]
            assert commands or running, "nothing to do, yet no end"
            if running:
                # the longest-waiting non-MD task ends first, so that MD overlaps with it
                running.sort(key=lambda r: (r.task.kind == "explore", self.asleep(r), r.order))
                self.finish(running[0])
        raise AssertionError("the campaign does not end")

    def execute(self, command: Command) -> None:
        match command:
            case PlanTask(task):
                assert task.id not in self.state.tasks
                self.record(TaskPlanned(task))
            case CancelTask(task_id, reason):
                self.record(TaskCancelled(task_id, reason))
            case PublishPotential(task_id):
                number = len(self.state.potentials)
                result = self.state.tasks[task_id].result
                name = f"{number:03d}"
                self.record(
                    PotentialPublished(
                        task_id,
                        PotentialRef(
                            name,
                            f"potentials/{name}",
                            result["trainer"],
                            ("Cu",),
                            1,
                            result["metrics"],
                        ),
                    )
                )
            case EndCampaign(end_state, reason):
                self.record(CampaignEnded(end_state, reason))

    def asleep(self, record: TaskRecord) -> bool:
        current = self.state.current
        attempt = record.attempts[-1]
        return current is not None and attempt.waiting and attempt.potential == current.name

    def finish(self, record: TaskRecord) -> None:
        self.elapsed_s += self.minutes * 60
        if record.task.kind == "explore":
            self.stream(record)
        outcome = self.fail(record) or Outcome(self.answer(record))
        self.record(judge_attempt(self.plan, record, outcome, SimulatedDft().repair))

    def stream(self, record: TaskRecord) -> None:
        current = self.state.current
        assert current is not None
        if int(current.name) < self.unknown_until:
            attempt = record.attempts[-1].number
            for number in range(4):
                where = (record.task.id, attempt, number, f"c{number}.json")
                self.record(MdStreamed(*where, gamma=5.0, step=1, potential=current.name))

    def answer(self, record: TaskRecord) -> Json:
        payload: Json = record.task.payload
        match record.task.kind:
            case "generate":
                return {"ground_state": atoms_to_json(bulk("Cu", cubic=True)), "accepted": 20}
            case "select" | "harvest":
                count = payload["count"]
                return {"candidates": [self.candidate(record, i) for i in range(count)], "of": 20}
            case "label":
                n = len(payload["candidate"]["atoms"]["numbers"])
                return Label(-1.0 * n, np.zeros((n, 3)), np.zeros(6), "hash", 5, 1.0).to_json()
            case "train":
                test = {"energy_rmse_mev_per_atom": 1.0, "force_rmse_mev_per_a": 20.0}
                return {
                    "trainer": payload["trainer"],
                    "labels": len(payload["labels"]),
                    "metrics": {"test": test, "train": test, "previous_test": test},
                }
            case "explore":
                current = self.state.current
                assert current is not None
                return {"clean": int(current.name) >= self.unknown_until, "potential": current.name}
            case _:
                pair = {"potential": 1.0, "dft": 1.0}
                return {"lattice_constant_a": pair, "bulk_modulus_gpa": pair, "eos": {}}

    def candidate(self, record: TaskRecord, i: int) -> Json:
        atoms = bulk("Cu", cubic=True)
        atoms.positions[0, 0] += 0.001 * (i + 1) + 0.01 * record.order
        core = (0,) if record.task.kind == "harvest" else None
        return Candidate(atoms, Provenance("rattle", f"g{i}"), core=core).to_json()


class SleepyWorld(World):
    """MD that meets something unknown streams it and waits for the next potential, as the real
    engine does.
    """

    def finish(self, record: TaskRecord) -> None:
        current = self.state.current
        if record.task.kind != "explore" or current is None:
            super().finish(record)
            return
        attempt, task = record.attempts[-1], record.task.id
        if self.asleep(record):
            return
        if attempt.potential not in (None, current.name):
            self.record(MdSwapped(task, attempt.number, 0, attempt.potential, current.name, step=2))
        if int(current.name) >= self.unknown_until:
            super().finish(record)
            return
        self.stream(record)
        self.record(
            MdProgressed(task, attempt.number, 0, step=2, state="waiting", potential=current.name)
        )


def plan_for_tests(**changes: Any) -> Plan:
    base = simulated_plan()
    training = {
        **base.training.model_dump(mode="json"),
        "fast_trainer": "linear",
        "trainer": "pacemaker",
    }
    return simulated_plan(**{"training": training, **changes})


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
    volumes = [
        atoms_from_json(r.task.payload["job"]["atoms"]).get_volume()
        for r in state.labels("validate")
    ]
    assert np.allclose(np.array(volumes) / volumes[3], 1 + np.arange(-6, 7, 2) / 100)


def test_every_frame_that_md_streams_is_harvested_once() -> None:
    state = World(plan_for_tests()).run()
    files = [file for record in state.of_kind("harvest") for file in record.task.payload["files"]]
    assert sorted(files) == sorted({candidate.file for candidate in state.md_candidates})


def test_a_frame_that_md_streams_again_is_labelled_once() -> None:
    class Forgetful(World):
        """MD that was killed and continued: the same frames under other files and seeds."""

        def candidate(self, record: TaskRecord, i: int) -> Json:
            if record.task.kind != "harvest":
                return super().candidate(record, i)
            atoms = bulk("Cu", cubic=True)
            atoms.positions[0, 0] += 0.3 + 0.001 * i
            parent = f"attempt-{record.order}.json"
            return Candidate(
                atoms, Provenance("md_frame", "md", parent=parent, seed=record.order)
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
    def fail(record: TaskRecord) -> Outcome | None:
        unlucky = record.task.kind == "label" and record.task.id[-1] in "012"  # about a fifth
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


class CutoutsTakeLong(SleepyWorld):
    """Labels of what MD met end after everything else, and the first potentials err by ``error``
    meV/Å.
    """

    error: float | None = 500.0

    def asleep(self, record: TaskRecord) -> bool:
        candidate = record.task.payload.get("candidate") or {}
        return super().asleep(record) or candidate.get("core") is not None

    def answer(self, record: TaskRecord) -> Json:
        found = super().answer(record)
        if record.task.kind == "train" and len(self.state.potentials) < 5:
            found["metrics"]["test"] = {
                "energy_rmse_mev_per_atom": 1.0,
                "force_rmse_mev_per_a": self.error,
            }
        return found


def test_small_cells_are_labelled_on_idle_cores_beside_a_cutout_while_errors_are_large() -> None:
    def batches_beside_cutouts(world: World) -> Counter[str]:
        assert world.run().end.end_state == "converged"  # type: ignore[union-attr]
        state, batches = CampaignState(), Counter[str]()
        for event in world.log:
            cutouts = [
                r
                for r, _ in state.running()
                if r.task.payload.get("candidate", {}).get("core") is not None
            ]
            if isinstance(event, TaskPlanned) and event.task.kind == "select" and cutouts:
                assert not state.with_status("queued")
                batches[state.current.name] += 1  # type: ignore[union-attr]
            state.apply(event)
        return batches

    found = batches_beside_cutouts(CutoutsTakeLong(plan_for_tests()))
    assert found and set(found.values()) == {1}, "one batch for each potential"
    unjudged = CutoutsTakeLong(plan_for_tests())
    unjudged.error = None  # nothing but masked cells was held out
    assert batches_beside_cutouts(unjudged)
    calm = CutoutsTakeLong(plan_for_tests())
    calm.error = 1.0
    assert not batches_beside_cutouts(calm), "where errors are small no label is spent"


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
