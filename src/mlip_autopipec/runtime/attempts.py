"""Attempts on disk: handing them to the executor, and finding out how they ended.

The outcome file is the only proof of an end. Who runs an attempt is told by its claim file, so
nothing here depends on the memory of an earlier driver.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.tasks import LOST, Failure, Outcome, TaskSpec
from mlip_autopipec.campaign.state import Attempt, CampaignState, TaskRecord
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.executors.local import alive
from mlip_autopipec.runtime.executors.ports import Executor, JobRequest
from mlip_autopipec.runtime.heartbeat import FILE, Watch

__all__ = ["Attempts"]

CLAIM_GRACE_S = 5.0
MAX_SUBMITS = 5


@dataclass(slots=True)
class Attempts:
    """Attempts of one run folder, on one executor; ``worker``: command that carries one out."""

    root: Path
    executor: Executor
    worker: tuple[str, ...]
    _submits: dict[Path, int] = field(default_factory=dict)
    _watch: Watch = field(default_factory=Watch)

    def folder(self, record: TaskRecord, attempt: Attempt) -> Path:
        return self.root / layout.attempt_folder(record.task.id, attempt.number)

    def submit(self, record: TaskRecord, attempt: Attempt, state: CampaignState) -> str:
        """Write ``spec.json`` and hand the attempt to the executor; returns the job id."""
        folder = self.folder(record, attempt)
        folder.mkdir(parents=True, exist_ok=True)
        # Not flushed: it follows from the log, and an attempt whose folder a power cut emptied is
        # submitted again.
        write_json(
            folder / layout.SPEC,
            self._spec(record, attempt, state).to_json(),
            indent=None,
            flush=False,
        )
        self._submits[folder] = self._submits.get(folder, 0) + 1
        command = (*self.worker, str(folder))
        name = f"{record.task.id}.{attempt.number}"
        return self.executor.submit(JobRequest(name, command, folder, record.task.cores))

    def _spec(self, record: TaskRecord, attempt: Attempt, state: CampaignState) -> TaskSpec:
        inputs = {
            needed: layout.attempt_folder(needed, state.tasks[needed].attempts[-1].number)
            for needed in record.task.needs
        }
        salvage = record.salvage_attempt
        return TaskSpec(
            task=record.task,
            attempt=attempt.number,
            root=str(self.root),
            payload=record.payload,
            inputs=inputs,
            salvage=None if salvage is None else layout.attempt_folder(record.task.id, salvage),
        )

    def outcome(self, record: TaskRecord, attempt: Attempt) -> Outcome | None:
        """How the attempt ended; None while it waits or runs.

        A vanished worker is the failure ``lost``.
        """
        folder = self.folder(record, attempt)
        if ended := _read_outcome(folder):
            self._watch.forget(folder / FILE)
            return ended
        if not self._abandoned(folder, attempt):
            return None
        # The worker may have reported between the first look and its end (listing refreshes network
        # file systems).
        _names(folder)
        if ended := _read_outcome(folder):
            return ended
        return Outcome(None, Failure(LOST, "the worker ended without an outcome (killed?)"))

    def never_started(self, record: TaskRecord, attempt: Attempt) -> bool:
        """Whether nobody has claimed the attempt and no job for it lives: it may be submitted once
        more.

        A job that was submitted twice runs once, whichever worker claims the folder first.
        """
        folder = self.folder(record, attempt)
        if (folder / layout.CLAIM).exists() or (folder / layout.OUTCOME).exists():
            return False
        # The worker may have claimed, and even ended, between the two looks.
        return (
            self._job_ended(attempt)
            and not _claimed(folder)
            and self._submits.get(folder, 0) < MAX_SUBMITS
        )

    def _job_ended(self, attempt: Attempt) -> bool:
        return attempt.job is None or not self.executor.poll([attempt.job])[attempt.job]

    def _abandoned(self, folder: Path, attempt: Attempt) -> bool:
        """Whether nobody will ever report for this attempt."""
        claim = folder / layout.CLAIM
        try:
            claimant, written = claim.read_text(), claim.stat().st_mtime
        except FileNotFoundError:
            # Jobs that vanish from the queue are submitted again, but not for ever.
            return (
                self._submits.get(folder, 0) >= MAX_SUBMITS
                and self._job_ended(attempt)
                and not _claimed(folder)
            )
        if not claimant:  # killed between creating the file and writing it, or about to write
            return self._job_ended(attempt) and time.time() - written > CLAIM_GRACE_S
        if claimant.rsplit(":", 2)[0] == socket.gethostname():
            return not alive(claimant)
        # On another machine: its job ended (or belongs to an earlier driver) and it gives no sign
        # of life.
        silent = self._watch.silent(folder / FILE)
        return silent and self._job_ended(attempt)

    def job(self, folder: Path, attempt: Attempt) -> str | None:
        """Who runs the attempt: the claimant, else the job that was submitted."""
        try:
            claimant = (folder / layout.CLAIM).read_text()
        except FileNotFoundError:
            return attempt.job
        return claimant or attempt.job

    def cancel(self, record: TaskRecord, attempt: Attempt) -> None:
        """End the attempt's process, whoever started it."""
        folder = self.folder(record, attempt)
        jobs = {attempt.job, self.job(folder, attempt)} - {None}
        self.executor.cancel([job for job in jobs if job is not None])


def _claimed(folder: Path) -> bool:
    """Whether the folder has an owner."""
    return not {layout.CLAIM, layout.OUTCOME}.isdisjoint(_names(folder))


def _names(folder: Path) -> set[str]:
    """Names in a folder. Listing it makes a network file system ask its server again."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _read_outcome(folder: Path) -> Outcome | None:
    path = folder / layout.OUTCOME
    return Outcome.from_json(read_json(path)) if path.exists() else None
