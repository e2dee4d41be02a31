"""A world without processes that answers every task at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase.build import bulk

from mlip_autopipec.base.labels import Label, PotentialRef
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_to_json
from mlip_autopipec.base.tasks import Outcome
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
)
from mlip_autopipec.campaign.results import VisitJudged
from mlip_autopipec.campaign.schedule import startable
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.judgement import JudgedErrors
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

    def run(self, rounds: int = 3000, *, to_the_end: bool = True) -> CampaignState:
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
        assert not to_the_end, "the campaign does not end"
        return self.state

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
        outcome = self.fail(record) or Outcome(self.answer(record))
        self.record(judge_attempt(self.plan, record, outcome, SimulatedDft().repair))

    @property
    def knows_all(self) -> bool:
        """Whether the potential in force meets nothing unknown any more."""
        current = self.state.current
        assert current is not None
        return int(current.name) >= self.unknown_until

    def stream(self, record: TaskRecord) -> None:
        """MD breaks on a frame and streams it."""
        current, attempt = self.state.current, record.attempts[-1].number
        assert current is not None
        where = (record.task.id, attempt, 0, f"broken-{len(self.log)}.json")
        self.record(MdStreamed(*where, gamma=50.0, step=1, potential=current.name))

    def answer(self, record: TaskRecord) -> Json:
        payload: Json = record.task.payload
        match record.task.kind:
            case "generate":
                return {"ground_state": atoms_to_json(bulk("Cu", cubic=True)), "accepted": 20}
            case "select":
                count = payload["count"]
                return {"candidates": [self.candidate(record, i) for i in range(count)], "of": 20}
            case "harvest":
                return self.harvested(record)
            case "label":
                n = len(payload["candidate"]["atoms"]["numbers"])
                return Label(-1.0 * n, np.zeros((n, 3)), np.zeros(6), "hash", 5, 1.0).to_json()
            case "train":
                test = {"energy_rmse_mev_per_atom": 1.0, "force_rmse_mev_per_a": 20.0}
                return {
                    "trainer": payload["trainer"],
                    "labels": len(payload["labels"]),
                    "metrics": {"test": test, "train": test, "conditions": self.errors(record)},
                }
            case "explore":
                current = self.state.current
                assert current is not None
                return {"clean": True, "potential": current.name, "samples": 40}
            case "validate":
                pair = {"potential": 1.0, "dft": 1.0}
                found: Json = {"lattice_constant_a": pair, "bulk_modulus_gpa": pair, "eos": {}}
                return {**found, **self.gate(record)}
            case _:
                return {}

    def gate(self, record: TaskRecord) -> Json:
        """The part of a validation that was asked to try the release gate."""
        if not record.task.payload.get("gate"):
            return {}
        checks = [{"name": "motion", "passed": True, "text": "no explosion"}]
        return {"gate": {"passed": True, "checks": checks}}

    def errors(self, record: TaskRecord) -> list[Json]:
        """What a fit says of each condition that one of its labels was drawn from."""
        drawn: dict[str, int] = {}
        for name in record.task.payload["labels"]:
            candidate = self.state.tasks[name].task.payload["candidate"]
            parameters = candidate["provenance"]["parameters"]
            if parameters.get("picked") == "on_policy":
                drawn[parameters["condition"]] = drawn.get(parameters["condition"], 0) + 1
        return [self.errors_at(name, n) for name, n in drawn.items()]

    def errors_at(self, condition: str, n: int) -> Json:
        return JudgedErrors(
            name=condition,
            n=n,
            energy_rmse_mev_per_atom=1.0,
            energy_rmse_mev_per_atom_low=0.8,
            energy_rmse_mev_per_atom_high=1.5,
            force_rmse_mev_per_a=20.0,
            force_rmse_mev_per_a_low=18.0,
            force_rmse_mev_per_a_high=25.0,
        ).to_json()

    def harvested(self, record: TaskRecord) -> Json:
        """Every frame that was asked for by chance, and unknown ones while there are such."""
        payload: Json = record.task.payload
        unknown = 0 if self.knows_all and not payload["files"] else payload["count"]
        parameters: list[Json] = [
            {"picked": "on_policy", "condition": name}
            for name, count in payload.get("on_policy", {}).items()
            for _ in range(count)
        ]
        parameters += [{"picked": "unknown"}] * unknown
        potential = payload["potential"].rpartition("/")[2]
        explored = [
            VisitJudged(
                visit=name,
                condition=self.state.tasks[name].task.payload["condition"]["name"],
                potential=potential,
                complete=self.state.tasks[name].result["potential"] == potential,
                frames=40,
                unknown=0 if self.knows_all else 5,
            ).to_json()
            for name in payload.get("visits", [])
        ]
        candidates = [self.candidate(record, i, **values) for i, values in enumerate(parameters)]
        return {"candidates": candidates, "explored": explored}

    def candidate(self, record: TaskRecord, i: int, **parameters: Any) -> Json:
        atoms = bulk("Cu", cubic=True)
        atoms.positions[0, 0] += 0.001 * (i + 1) + 0.01 * record.order
        return Candidate(atoms, Provenance("rattle", f"g{i}", parameters=parameters)).to_json()


class SleepyWorld(World):
    """MD breaks under potentials that do not know enough, and waits for the next, as the real
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
        if self.knows_all:
            super().finish(record)
            return
        self.stream(record)
        self.record(
            MdProgressed(task, attempt.number, 0, step=2, state="waiting", potential=current.name)
        )


def plan_for_tests(**changes: Any) -> Plan:
    base = simulated_plan()
    quick = {"cutoff_a": 5.0, "functions_per_element": 10}
    training = {
        **base.training.model_dump(mode="json"),
        "fast_trainer": "linear",
        "trainer": "pacemaker",
        "settings": {**quick, "max_iterations": 5, "warm_iterations": 3},
        "fast_settings": quick,
    }
    return simulated_plan(**{"training": training, **changes})
