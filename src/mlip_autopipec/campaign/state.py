"""The state of a campaign: a fold over its events, and the questions that ``decide`` asks of it."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.tasks import PERSON, Failure, Outcome, Task, TaskKind
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.campaign.events import (
    AttemptEnded,
    AttemptPlanned,
    AttemptSubmitted,
    AttemptVerdict,
    CampaignEnded,
    DriverStarted,
    Event,
    MdBroke,
    MdEvent,
    MdProgressed,
    MdResumed,
    MdStreamed,
    MdSwapped,
    PotentialPublished,
    SettingsChecked,
    TaskCancelled,
    TaskPlanned,
)
from mlip_autopipec.campaign.payloads import (
    Asked,
    HarvestPayload,
    LabelPayload,
    TrainPayload,
)
from mlip_autopipec.campaign.results import HarvestResult, SelectResult, VisitJudged

__all__ = ["Attempt", "CampaignState", "MdCandidate", "TaskRecord", "TaskStatus", "fold"]

# Tasks whose result holds candidates that are to be labelled.
_SOURCES: dict[TaskKind, type[SelectResult | HarvestResult]] = {
    "select": SelectResult,
    "harvest": HarvestResult,
}

Payload = TypeVar("Payload", bound=Asked)

TaskStatus = Literal["queued", "running", "done", "quarantined", "cancelled"]


@dataclass(slots=True)
class Attempt:
    """One try of a task. ``waiting``: MD that sleeps until a newer ``potential`` than its own
    arrives; ``gamma_max``: the largest extrapolation grade that it told of.
    """

    number: int
    job: str | None = None
    outcome: Outcome | None = None
    cure: str | None = None
    stream_offset: int = 0
    waiting: bool = False
    potential: str | None = None
    progress: MdProgressed | None = None
    gamma_max: float | None = None


@dataclass(slots=True)
class TaskRecord:
    """A task with all its attempts. ``payload`` is that of the next or current attempt.

    ``purpose``: of a label, what it is made for.
    ``offered``: what a finished selection or harvest proposed, by the hash of the candidate;
    ``unlabelled``: those of them that no label task was planned for.
    """

    task: Task
    order: int
    status: TaskStatus = "queued"
    payload: Json = field(default_factory=dict)
    purpose: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    salvage_attempt: int | None = None
    offered: dict[str, Json] = field(default_factory=dict, repr=False)
    unlabelled: dict[str, Json] = field(default_factory=dict, repr=False)
    _asked: Any = field(default=None, repr=False, compare=False)

    def asked(self, kind: type[Payload]) -> Payload:
        """What the task asks, as the class of its kind; read once."""
        if not isinstance(self._asked, kind):
            self._asked = kind.from_json(self.task.payload)
        found: Payload = self._asked
        return found

    @property
    def result(self) -> Json:
        """Result of the successful attempt."""
        outcome = self.attempts[-1].outcome
        assert outcome is not None and outcome.result is not None
        return outcome.result

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Failures so far, oldest first."""
        return tuple(
            a.outcome.failure for a in self.attempts if a.outcome is not None and a.outcome.failure
        )

    @property
    def ended(self) -> bool:
        return self.status in ("done", "quarantined", "cancelled")


@dataclass(frozen=True, slots=True)
class MdCandidate:
    """A frame that MD streamed: where it lies (relative to the run folder) and how unknown it
    was.
    """

    file: str
    task_id: str
    gamma: float
    potential: str


@dataclass(slots=True)
class CampaignState:
    """Everything that is known. Changed by :meth:`apply` alone."""

    tasks: dict[str, TaskRecord] = field(default_factory=dict)
    potentials: list[PotentialRef] = field(default_factory=list)
    published_from: dict[str, str] = field(default_factory=dict)
    md_candidates: list[MdCandidate] = field(default_factory=list)
    swaps: int = 0
    breaks: int = 0
    plan_hash: str | None = None
    budget: Json = field(default_factory=dict)
    elapsed_before_s: float = 0.0
    end: CampaignEnded | None = None
    settings_checked: SettingsChecked | None = None
    #: (condition, potential) -> what the last harvest said of MD there under that potential.
    judged: dict[tuple[str, str], VisitJudged] = field(default_factory=dict)
    # Indices, so that no question costs more when there are more tasks.
    _kinds: dict[TaskKind, list[TaskRecord]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _statuses: dict[TaskStatus, dict[str, TaskRecord]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _purposes: dict[str, list[TaskRecord]] = field(default_factory=dict, repr=False, compare=False)
    _label_of: dict[str, TaskRecord] = field(default_factory=dict, repr=False, compare=False)
    _queue: list[tuple[int, int, str]] = field(default_factory=list, repr=False, compare=False)
    _label_attempts: int = 0
    _calculations: set[str] = field(default_factory=set, repr=False, compare=False)

    # --- questions
    # ----------------------------------------------------------------------------------------------

    def of_kind(self, kind: TaskKind) -> list[TaskRecord]:
        return list(self._kinds.get(kind, ()))

    def with_status(self, status: TaskStatus) -> Collection[TaskRecord]:
        """Tasks in that status, the latest to reach it last; a live view."""
        return self._statuses.setdefault(status, {}).values()

    def count(self, status: TaskStatus) -> int:
        return len(self._statuses.get(status, ()))

    def queue(self) -> Iterator[TaskRecord]:
        """Queued tasks by priority, then age."""
        return (self.tasks[name] for _, _, name in self._queue)

    def labels(self, purpose: str) -> list[TaskRecord]:
        """Label tasks made for ``train``, ``validate`` or ``audit``, oldest first."""
        return list(self._purposes.get(purpose, ()))

    def unlabelled(self, source: TaskKind) -> list[Json]:
        """Candidates that finished tasks of a kind (``select``, ``harvest``) proposed and that no
        label to be trained on was planned for, in the order of the tasks.
        """
        return [item for record in self.of_kind(source) for item in record.unlabelled.values()]

    def labels_of(self, source: TaskRecord) -> list[TaskRecord]:
        """Labels to be trained on that were planned for what a finished task proposed, oldest
        first.
        """
        found = (self._label_of[name] for name in source.offered if name in self._label_of)
        return sorted(found, key=lambda record: record.order)

    def is_planned(self, label: Task) -> bool:
        """Whether a label of the same calculation and purpose was planned, whatever its candidate's
        story is.

        MD that was killed and continued streams a frame a second time: another candidate, the same
        structure.
        """
        return LabelPayload.from_json(label.payload).calculation_hash in self._calculations

    def active(self, kind: TaskKind | None = None) -> list[TaskRecord]:
        """Tasks that are queued or running."""
        records = [*self.with_status("queued"), *self.with_status("running")]
        return sorted(
            (r for r in records if kind is None or r.task.kind == kind), key=lambda r: r.order
        )

    def running(self) -> Iterator[tuple[TaskRecord, Attempt]]:
        for record in sorted(self.with_status("running"), key=lambda record: record.order):
            yield record, record.attempts[-1]

    @property
    def cores_in_use(self) -> int:
        """Cores of what runs; MD that waits for a potential uses none."""
        return sum(record.task.cores for record, attempt in self.running() if not attempt.waiting)

    @property
    def dft_calls(self) -> int:
        """Every label attempt that was started, repairs, validation and the convergence check
        included.
        """
        return self._label_attempts + (
            self.settings_checked.calculations if self.settings_checked else 0
        )

    @property
    def current(self) -> PotentialRef | None:
        return self.potentials[-1] if self.potentials else None

    @property
    def harvested(self) -> set[str]:
        """Candidate files that some harvest has dealt with."""
        return {
            file
            for record in self.of_kind("harvest")
            for file in record.asked(HarvestPayload).files
        }

    def pending_candidates(self) -> list[MdCandidate]:
        taken = self.harvested
        return [candidate for candidate in self.md_candidates if candidate.file not in taken]

    def trained_labels(self) -> set[str]:
        """Labels that the latest training task (finished or not) has seen."""
        trainings = self.of_kind("train")
        return set(trainings[-1].asked(TrainPayload).labels) if trainings else set()

    def asleep(self) -> bool:
        """Whether all that is left is MD that waits for a better potential than the current one."""
        name = self.current.name if self.current else None
        return not self.with_status("queued") and all(
            attempt.waiting and attempt.potential == name for _, attempt in self.running()
        )

    # --- fold
    # ----------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take one fact in."""
        match event:
            case DriverStarted(plan_hash, elapsed_s, budget):
                self.plan_hash, self.elapsed_before_s, self.budget = plan_hash, elapsed_s, budget
                self.end = None
                self._reopen()
            case SettingsChecked():
                self.settings_checked = event
            case TaskPlanned(task):
                if task.id not in self.tasks:
                    self._plan(TaskRecord(task, order=len(self.tasks), payload=task.payload))
            case AttemptPlanned(task_id, attempt):
                record = self.tasks[task_id]
                record.attempts.append(Attempt(attempt))
                self._label_attempts += record.task.kind == "label"
                self._move(task_id, "running")
            case AttemptSubmitted(task_id, attempt, job):
                self._attempt(task_id, attempt).job = job
            case AttemptEnded():
                self._attempt_ended(event)
            case TaskCancelled(task_id, _):
                self._move(task_id, "cancelled")
            case PotentialPublished(task_id, potential):
                if task_id not in self.published_from:
                    self.potentials.append(potential)
                    self.published_from[task_id] = potential.name
            case CampaignEnded():
                self.end = event
            case _:
                self._md_reported(event)

    def _reopen(self) -> None:
        """A new driver means that a person may have mended what only a person can: those tasks are
        tried again.
        """
        for name, record in list(self._statuses.get("quarantined", {}).items()):
            if record.failures[-1].kind == PERSON:
                self._move(name, "queued")

    def _plan(self, record: TaskRecord) -> None:
        name = record.task.id
        self.tasks[name] = record
        self._kinds.setdefault(record.task.kind, []).append(record)
        if record.task.kind == "label":
            self._plan_label(record)
        self._statuses.setdefault("queued", {})[name] = record
        bisect.insort(self._queue, (record.task.priority, record.order, name))

    def _plan_label(self, record: TaskRecord) -> None:
        label = record.asked(LabelPayload)
        record.purpose = label.purpose
        self._calculations.add(label.calculation_hash)
        self._purposes.setdefault(label.purpose, []).append(record)
        if label.purpose != "train":
            return
        candidate = label.candidate_hash
        self._label_of[candidate] = record
        for kind in _SOURCES:
            for source in self._kinds.get(kind, ()):
                source.unlabelled.pop(candidate, None)

    def _offer(self, source: TaskRecord) -> None:
        found = _SOURCES[source.task.kind].from_json(source.result)
        if isinstance(found, HarvestResult):
            self.judged |= {(told.condition, told.potential): told for told in found.explored}
        source.offered = {content_hash(item): item for item in found.stored_candidates}
        source.unlabelled = {
            name: item for name, item in source.offered.items() if name not in self._label_of
        }

    def _move(self, name: str, status: TaskStatus) -> None:
        record = self.tasks[name]
        place = (record.task.priority, record.order, name)
        del self._statuses[record.status][name]
        if record.status == "queued":
            del self._queue[bisect.bisect_left(self._queue, place)]
        record.status = status
        self._statuses.setdefault(status, {})[name] = record
        if status == "queued":
            bisect.insort(self._queue, place)

    def _attempt(self, task_id: str, number: int) -> Attempt:
        return next(item for item in self.tasks[task_id].attempts if item.number == number)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        record = self.tasks[event.task_id]
        attempt = self._attempt(event.task_id, event.attempt)
        attempt.outcome, attempt.cure, attempt.waiting = event.outcome, event.cure, False
        record.salvage_attempt = event.attempt if event.salvage else None
        if event.next_payload is not None:
            record.payload = event.next_payload
        if record.status == "running":
            statuses: dict[AttemptVerdict, TaskStatus] = {
                "done": "done",
                "retry": "queued",
                "quarantined": "quarantined",
            }
            self._move(event.task_id, statuses[event.verdict])
            if event.verdict == "done" and record.task.kind in _SOURCES:
                self._offer(record)

    def _md_reported(self, event: MdEvent) -> None:
        attempt = self._attempt(event.task_id, event.attempt)
        attempt.stream_offset = event.offset
        attempt.gamma_max = max(
            (grade for grade in (attempt.gamma_max, event.grade) if grade is not None), default=None
        )
        match event:
            case MdStreamed():
                file = f"tasks/{event.task_id}/attempt-{event.attempt}/{event.file}"
                attempt.potential = event.potential
                self.md_candidates.append(
                    MdCandidate(file, event.task_id, event.gamma, event.potential)
                )
            case MdSwapped():
                self.swaps += 1
                attempt.potential, attempt.waiting = event.new, False
            case MdBroke():
                self.breaks += 1
                attempt.potential = event.potential or attempt.potential
                attempt.waiting = True
            case MdResumed():
                attempt.waiting = False
            case MdProgressed():
                attempt.progress, attempt.waiting = event, event.waiting
                attempt.potential = event.potential or attempt.potential


def fold(events: Iterable[Event]) -> CampaignState:
    """The state after these events."""
    state = CampaignState()
    for event in events:
        state.apply(event)
    return state
