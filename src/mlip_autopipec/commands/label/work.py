"""Labelling as work for the driver: which tasks, what to show meanwhile, what to leave behind."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import LabelJob, PotentialRef
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure, Task
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.campaign.commands import Command
from mlip_autopipec.campaign.events import CampaignEnded, Event
from mlip_autopipec.campaign.label_only import decide_labels, startable_attempts
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.commands.check_made import check_made
from mlip_autopipec.commands.label import outputs
from mlip_autopipec.config.label_plan import LabelPlan, read_plan
from mlip_autopipec.engines import registry
from mlip_autopipec.report import status as snapshot
from mlip_autopipec.report import words
from mlip_autopipec.report.failures import failed_attempts, failure_rows
from mlip_autopipec.report.rows import LabelCounts, TimedText
from mlip_autopipec.report.values import Budget, Status, to_json
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.work import History
from mlip_autopipec.tasks import WORKER

__all__ = ["Labelling", "given", "label_task", "word"]

LAST_LINES = 15


def label_task(plan: LabelPlan, structure: Candidate) -> Task:
    """The calculation of one structure; equal structures make equal tasks, wherever they were
    found.
    """
    data = structure.to_json()
    job = {**LabelJob(structure.atoms, plan.dft.label_method()).to_json(), "atoms": data["atoms"]}
    payload = LabelPayload(job, stored_candidate=data)
    return Task("label", payload.to_json(), cores=plan.dft.cores)


def given(atoms: Atoms, numbers: Json) -> Candidate:
    """A structure that a person gave. Nothing but the structure enters its identity."""
    return Candidate(atoms, Provenance("given", content_hash(numbers)))


def word(end_state: str | None) -> str | None:
    """The end of a labelling campaign in its own word."""
    return "complete" if end_state == "converged" else end_state


class Labelling:
    """Work for the driver. ``sources``: task id -> where this call found the structure."""

    worker = WORKER

    def __init__(
        self, plan: LabelPlan, tasks: Mapping[str, Task], sources: Mapping[str, list[str]]
    ) -> None:
        self.plan = plan
        self._tasks, self._sources = tasks, sources
        self._planned = False
        self._lines: deque[TimedText] = deque(maxlen=LAST_LINES)

    def settle(self, root: Path) -> None:
        """Write plan and sources.

        Raises CampaignStateError when the folder was begun with another method.
        """
        plan_file = root / layout.PLAN_JSON
        if plan_file.exists() and read_plan(plan_file).hash != self.plan.hash:
            raise CampaignStateError(
                f"{root} was begun with another method; choose another folder with --out"
            )
        write_json(plan_file, self.plan.model_dump(mode="json"))
        path = root / outputs.SOURCES
        known: dict[str, list[str]] = read_json(path) if path.exists() else {}
        for name, places in self._sources.items():
            known[name] = list(dict.fromkeys([*known.get(name, []), *places]))
        write_json(path, known, indent=None)

    def earlier(self, root: Path, state: CampaignState) -> list[Event]:
        return check_made(self.plan, root, state)

    def _missing(self, state: CampaignState) -> list[Task]:
        """Tasks of this call that the log lacks; looked for once, for what is planned stays
        planned.
        """
        if self._planned:
            return []
        missing = [task for name, task in self._tasks.items() if name not in state.tasks]
        self._planned = not missing
        return missing

    def is_over(self, state: CampaignState) -> bool:
        end = state.end
        if end is None or self._missing(state) or end.end_state == "needs_attention":
            return False
        return end.end_state == "converged" or state.budget == self.plan.budget.model_dump(
            mode="json"
        )

    def decide(self, state: CampaignState, elapsed_s: float) -> list[Command]:
        return decide_labels(self.plan, self._missing(state), state, elapsed_s)

    def startable_attempts(self, state: CampaignState, elapsed_s: float) -> int | None:
        return startable_attempts(self.plan, state, elapsed_s)

    def repair(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        return registry.dft_engine(self.plan.dft.engine).repair(job, failures)

    def publish(self, root: Path, record: TaskRecord, number: int) -> PotentialRef:
        raise TypeError("a labelling campaign has no potential")

    # --- for people
    # ----------------------------------------------------------------------------------------------

    def describe(self, event: Event, state: CampaignState) -> str | None:
        text = _describe(event, state)
        if text is not None:
            self._lines.append(TimedText(time=time.time(), text=text))
        return text

    def shown(self, state: CampaignState, history: History, elapsed_s: float) -> tuple[Json, str]:
        shown = self.status(state, history, elapsed_s)
        return to_json(shown), _line(shown)

    def status(self, state: CampaignState, history: History, elapsed_s: float) -> Status:
        """What ``mlip-auto status`` shows, and what is left to do."""
        walls = [
            r.attempts[-1].outcome.wall_s
            for r in state.with_status("done")
            if r.attempts[-1].outcome
        ]
        return Status(
            name=self.plan.name,
            kind="labels",
            phase="ended" if state.end else "labelling",
            end_state=word(state.end.end_state) if state.end else None,
            reason=state.end.reason if state.end else None,
            started=history[0][0] if history else None,
            updated=time.time(),
            pid=os.getpid(),
            wall_s=elapsed_s,
            budget=Budget(
                dft_calls=self.plan.budget.dft_calls,
                wall_minutes=self.plan.budget.wall_minutes,
                dft_calls_used=state.dft_calls,
            ),
            tasks=snapshot.task_counts(state, history, _running),
            labels=LabelCounts(train=state.count("done")),
            failures=failure_rows(state),
            core_hours=snapshot.core_hours(state),
            eta_s=_eta_s(self.plan, state, walls),
            events=tuple(self._lines),
        )

    def write_result(
        self, root: Path, state: CampaignState, history: History, elapsed_s: float
    ) -> Json:
        summary = outputs.write_outputs(root, self.plan, state, list(self._tasks), elapsed_s, word)
        return to_json(summary)

    def write_stopped(
        self, root: Path, state: CampaignState, history: History, elapsed_s: float
    ) -> Json:
        return self.write_result(root, state, history, elapsed_s)


def _line(shown: Status) -> str:
    """The progress line."""
    tasks = shown.tasks
    ended = sum(tasks.done.values()) + tasks.quarantined
    parts = [f"{ended}/{tasks.all} structures"]
    if tasks.quarantined:
        parts.append(f"{tasks.quarantined} quarantined")
    failed = failed_attempts(shown.failures)
    if failed:
        parts.append(f"{failed} failed attempts")
    parts.append("running: " + (", ".join(item.detail for item in tasks.running[:4]) or "nothing"))
    left = "not known yet" if shown.eta_s is None else words.duration(shown.eta_s)
    parts.append(f"time left: {left}")
    return " | ".join(parts)


def _describe(event: Event, state: CampaignState) -> str | None:
    if isinstance(event, CampaignEnded):
        return f"{word(event.end_state)}: {event.reason}"
    return words.describe(event, state, lambda record: f"{_formula(record)} {record.task.id}")


def _formula(record: TaskRecord) -> str:
    return outputs.formula(record.asked(LabelPayload).numbers)


def _running(record: TaskRecord) -> str:
    number = record.attempts[-1].number
    return _formula(record) + (f" (attempt {number})" if number > 1 else "")


def _eta_s(plan: LabelPlan, state: CampaignState, walls: list[float]) -> float | None:
    """Time left if the rest is like what is done: mean wall time per calculation, side by side on
    all cores.
    """
    left = state.count("queued") + state.count("running")
    if not left or state.end:
        return 0.0
    if not walls:
        return None
    slots = min(left, max(1, plan.executor.cores // plan.dft.cores))
    return left * (sum(walls) / len(walls)) / slots
