"""Attempts on disk: handing them to the executor, and finding out how they ended.

The outcome file is the only proof of an end. Who runs an attempt is told by its claim file, so nothing here depends on
the memory of an earlier driver.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlip_autopipec.campaign.state import Attempt, CampaignState, TaskRecord
from mlip_autopipec.campaign.verdicts import LOST
from mlip_autopipec.files import read_json, write_json
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.executors.ports import Executor, JobRequest
from mlip_autopipec.types import Failure, Outcome, TaskSpec

__all__ = ["Attempts"]

CLAIM_GRACE_S = 5.0
MAX_SUBMITS = 3


@dataclass(slots=True)
class Attempts:
    """Attempts of one run folder, on one executor."""

    root: Path
    executor: Executor
    _submits: dict[Path, int] = field(default_factory=dict)

    def folder(self, record: TaskRecord, attempt: Attempt) -> Path:
        return self.root / layout.attempt_folder(record.task.id, attempt.number)

    def submit(self, record: TaskRecord, attempt: Attempt, state: CampaignState) -> str:
        """Write ``spec.json`` and hand the attempt to the executor; returns the job id."""
        folder = self.folder(record, attempt)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / layout.SPEC, self._spec(record, attempt, state).to_json())
        self._submits[folder] = self._submits.get(folder, 0) + 1
        command = (sys.executable, "-m", "mlip_autopipec.runtime.worker", str(folder))
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
        """How the attempt ended; None while it waits or runs. A vanished worker is the failure ``lost``."""
        folder = self.folder(record, attempt)
        if ended := _read_outcome(folder):
            return ended
        if not self._abandoned(folder, attempt):
            return None
        # The worker may have reported between the first look and its end.
        if ended := _read_outcome(folder):
            return ended
        return Outcome(None, Failure(LOST, "the worker ended without an outcome (killed?)"))

    def never_started(self, record: TaskRecord, attempt: Attempt) -> bool:
        """Whether nobody has claimed the attempt and no job for it lives: it may be submitted once more."""
        folder = self.folder(record, attempt)
        if (folder / layout.CLAIM).exists() or (folder / layout.OUTCOME).exists():
            return False
        dead = attempt.job is None or not self.executor.poll([attempt.job])[attempt.job]
        # The worker may have claimed, and even ended, between the two looks.
        return dead and not (folder / layout.CLAIM).exists() and self._submits.get(folder, 0) < MAX_SUBMITS

    def _abandoned(self, folder: Path, attempt: Attempt) -> bool:
        job = self.job(folder, attempt)
        if job is not None:
            return not self.executor.poll([job])[job]
        claim = folder / layout.CLAIM
        return claim.exists() and time.time() - claim.stat().st_mtime > CLAIM_GRACE_S

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


def _read_outcome(folder: Path) -> Outcome | None:
    path = folder / layout.OUTCOME
    return Outcome.from_json(read_json(path)) if path.exists() else None
