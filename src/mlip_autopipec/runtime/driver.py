"""The driver: the one process that knows a campaign. It asks its ``Work`` what to do, does it, and
records what came.

Every fact is durable before it is acted upon, so killing the driver at any moment loses nothing:
the next one loads the log, folds it, and looks at the claim and outcome files of whatever was
running.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from mlip_autopipec.base.errors import CampaignLockedError
from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.tasks import LOST, STOPPED, Failure, Outcome
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.attempts import judge_attempt
from mlip_autopipec.campaign.commands import (
    CancelTask,
    Command,
    EndCampaign,
    PlanTask,
    PublishPotential,
)
from mlip_autopipec.campaign.events import (
    AttemptEnded,
    AttemptPlanned,
    AttemptSubmitted,
    CampaignEnded,
    DriverStarted,
    Event,
    PotentialPublished,
    TaskCancelled,
    TaskPlanned,
)
from mlip_autopipec.campaign.schedule import startable
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.runtime import dataset_db, layout
from mlip_autopipec.runtime.attempts import Attempts
from mlip_autopipec.runtime.executors.ports import Executor
from mlip_autopipec.runtime.executors.registry import opened
from mlip_autopipec.runtime.store import EventStore
from mlip_autopipec.runtime.streams import read_stream
from mlip_autopipec.runtime.work import Work

__all__ = ["Driver", "carry_out", "hold"]

STATUS_EVERY_S = 2.0
#: The status and the database of labels together may take this share of the driver's time, however
#: large they grow.
SHOW_SHARE = 0.05


def carry_out(
    work: Work,
    root: Path,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    tick_s: float = 0.5,
) -> Json:
    """Carry ``work`` to its end in the run folder ``root``, or go on where an earlier driver
    stopped.

    Returns what the work leaves behind; ``end_state`` is None when the user stopped the run. Raises
    CampaignLockedError when another driver lives, CampaignStateError when the folder belongs to
    another plan.
    """
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    with hold(root):
        work.settle(root)
        store = EventStore(root / layout.DATABASE)
        try:
            with (
                nullcontext(executor) if executor is not None else opened(work.plan, root)
            ) as chosen:
                return Driver(work, root, store, chosen, progress or Progress(), tick_s).run()
        finally:
            store.close()


@contextmanager
def hold(root: Path) -> Iterator[None]:
    """Hold the run folder; the kernel releases it when the process dies, however it dies."""
    with (root / layout.LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise CampaignLockedError(
                f"{root}: another run works here (process {file.read().strip()})"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@dataclass
class Driver:
    """One life of the driver of a run folder. Use :func:`carry_out`."""

    work: Work
    root: Path
    store: EventStore
    executor: Executor
    progress: Progress
    tick_s: float
    state: CampaignState = field(default_factory=CampaignState)
    history: list[tuple[float, Event]] = field(default_factory=list)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.plan = self.work.plan
        self.attempts = Attempts(self.root, self.executor, self.work.worker)
        self.labelled: set[str] = dataset_db.names(self.root / layout.DATASET)
        self._started = time.monotonic()
        self._unsaved: list[TaskRecord] = []
        self._next_show = 0.0

    # --- life
    # ----------------------------------------------------------------------------------------------

    def run(self) -> Json:
        """From the log to an end state (or to the user's stop)."""
        for when, event in self.store.load():
            self.history.append((when, event))
            self.state.apply(event)
        self._save_labels(self.state.of_kind("label"))
        if self.state.end is not None and self.work.is_over(self.state):
            self.progress.log(
                f"this run has ended already: {self.work.describe(self.state.end, self.state)}"
            )
            return self.work.write_result(
                self.root, self.state, self.history, _elapsed(self.history)
            )
        budget = self.plan.budget.model_dump(mode="json")
        self._record(DriverStarted(self.plan.hash, _elapsed(self.history), budget))
        self._record(*self.work.earlier(self.root, self.state))
        with _stop_on_signal(self._request_stop):
            while self.state.end is None and not self.stopping:
                if not self._tick():
                    time.sleep(self.tick_s)
                self._show()
        if self.stopping and self.state.end is None:
            self._release_running()
            self._show(force=True)
            return self.work.write_stopped(self.root, self.state, self.history, self.elapsed_s)
        summary = self.work.write_result(self.root, self.state, self.history, self.elapsed_s)
        self._show(force=True)
        return summary

    @property
    def elapsed_s(self) -> float:
        return self.state.elapsed_before_s + time.monotonic() - self._started

    # --- one round
    # ----------------------------------------------------------------------------------------------

    def _tick(self) -> bool:
        """Take in what happened, decide, act; True when anything changed."""
        changed = self._collect()
        # Until nothing more follows: only then is it known which of the queued tasks matters most.
        while commands := self.work.decide(self.state, self.elapsed_s):
            changed = True
            self._record(
                *(
                    TaskPlanned(command.task)
                    for command in commands
                    if isinstance(command, PlanTask)
                )
            )
            for command in commands:
                self._execute(command)
        started = self._start_queued() if self.state.end is None else False
        return changed or started

    def _collect(self) -> bool:
        events: list[Event] = []
        for record, attempt in self.state.running():
            folder = self.attempts.folder(record, attempt)
            if record.task.kind == "explore":
                events += read_stream(
                    folder / layout.STREAM, record.task.id, attempt.number, attempt.stream_offset
                )
            outcome = self.attempts.outcome(record, attempt)
            if outcome is not None:
                if record.task.kind == "explore":  # what was streamed between the two looks
                    offset = next(
                        (
                            e.offset
                            for e in reversed(events)
                            if getattr(e, "task_id", "") == record.task.id and hasattr(e, "offset")
                        ),
                        attempt.stream_offset,
                    )
                    events += read_stream(
                        folder / layout.STREAM, record.task.id, attempt.number, offset
                    )
                events.append(judge_attempt(self.plan, record, outcome, self.work.repair))
            elif self.attempts.never_started(record, attempt):
                job = self.attempts.submit(record, attempt, self.state)
                events.append(AttemptSubmitted(record.task.id, attempt.number, job))
        self._record(*events)
        return bool(events)

    def _execute(self, command: Command) -> None:
        match command:
            case PlanTask():
                pass  # recorded already, all together
            case CancelTask(task_id, reason):
                record = self.state.tasks[task_id]
                if record.status == "running":
                    self.attempts.cancel(record, record.attempts[-1])
                self._record(TaskCancelled(task_id, reason))
            case PublishPotential(task_id):
                record = self.state.tasks[task_id]
                potential = self.work.publish(self.root, record, len(self.state.potentials))
                self._record(PotentialPublished(task_id, potential))
            case EndCampaign(end_state, reason):
                self._record(CampaignEnded(end_state, reason))

    def _start_queued(self) -> bool:
        """Intent first, then the executor; the folder's claim keeps a job from running twice."""
        limit = self.work.startable_attempts(self.state, self.elapsed_s)
        chosen = startable(self.state, self.plan.executor.cores)[:limit]
        self._record(
            *(AttemptPlanned(record.task.id, len(record.attempts) + 1) for record in chosen)
        )
        self._record(
            *(
                AttemptSubmitted(
                    record.task.id,
                    attempt.number,
                    self.attempts.submit(record, attempt, self.state),
                )
                for record, attempt in [(record, record.attempts[-1]) for record in chosen]
            )
        )
        return bool(chosen)

    # --- stopping
    # ----------------------------------------------------------------------------------------------

    def _request_stop(self, number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _release_running(self) -> None:
        """End what runs, without counting it against the tasks; finished results are taken in
        first.
        """
        self._collect()
        for record, attempt in list(self.state.running()):
            self.attempts.cancel(record, attempt)
            ended = self.attempts.outcome(record, attempt)
            if ended is None or (ended.failure is not None and ended.failure.kind == LOST):
                ended = Outcome(None, Failure(STOPPED, "stopped by the user"))
            self._record(judge_attempt(self.plan, record, ended, self.work.repair))

    # --- records
    # ----------------------------------------------------------------------------------------------

    def _record(self, *events: Event) -> None:
        if not events:
            return
        when = self.store.append(events)
        for event in events:
            self.history.append((when, event))
            self.state.apply(event)
            if isinstance(event, AttemptEnded) and event.verdict == "done":
                self._unsaved.append(self.state.tasks[event.task_id])
            if text := self.work.describe(event, self.state):
                self.progress.log(text)

    def _show(self, *, force: bool = False) -> None:
        """Database of labels, ``status.json`` and progress line, now and then: all follow from the
        log.
        """
        begun = time.monotonic()
        if not force and begun < self._next_show:
            return
        self._save_labels(self._unsaved)
        self._unsaved.clear()
        status, line = self.work.shown(self.state, self.history, self.elapsed_s)
        write_json(self.root / layout.STATUS, status)
        self.progress.line(line)
        now = time.monotonic()
        self._next_show = now + max(STATUS_EVERY_S, (now - begun) / SHOW_SHARE)

    def _save_labels(self, records: Sequence[TaskRecord]) -> None:
        dataset_db.add(self.root / layout.DATASET, records, self.labelled)


def _elapsed(history: list[tuple[float, Event]]) -> float:
    """Wall time that drivers were alive, as far as the log shows it."""
    total, begun, last = 0.0, None, 0.0
    for when, event in history:
        if isinstance(event, DriverStarted):
            if begun is not None:
                total += last - begun
            begun = when
        last = when
    return total + (last - begun if begun is not None else 0.0)


@contextmanager
def _stop_on_signal(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run cleanly; the handlers of before are put back."""
    try:
        before = {
            number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # not in the main thread (a notebook, say): the caller's own handling stands
        yield
        return
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
