"""Attempts whose workers run on other machines: lost, silent, done."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.tasks import Outcome, Task
from mlip_autopipec.campaign.state import Attempt, CampaignState, TaskRecord
from mlip_autopipec.runtime import heartbeat, layout
from mlip_autopipec.runtime.attempts import MAX_SUBMITS, Attempts
from mlip_autopipec.runtime.executors.parsl import block
from mlip_autopipec.runtime.executors.ports import Executor, JobRequest


class FakeExecutor:
    """Jobs end when the test says so."""

    def __init__(self) -> None:
        self.alive = True
        self.submitted = 0

    def submit(self, request: JobRequest) -> str:
        self.submitted += 1
        return f"parsl|s|{self.submitted}"

    def poll(self, ids: Iterable[str]) -> Mapping[str, bool]:
        return dict.fromkeys(ids, self.alive)

    def cancel(self, ids: Iterable[str]) -> None:
        return None


def _started(tmp_path: Path) -> tuple[Attempts, FakeExecutor, TaskRecord, Attempt, Path]:
    executor = FakeExecutor()
    assert isinstance(executor, Executor)
    attempts = Attempts(tmp_path, executor, ("true",))
    task = Task("label", {"x": 1})
    record, attempt = TaskRecord(task, 0, payload=task.payload), Attempt(1)
    attempt.job = attempts.submit(record, attempt, CampaignState())
    return attempts, executor, record, attempt, attempts.folder(record, attempt)


def test_a_job_that_vanishes_unclaimed_is_submitted_again_but_not_for_ever(tmp_path: Path) -> None:
    attempts, executor, record, attempt, _ = _started(tmp_path)
    assert not attempts.never_started(record, attempt)
    executor.alive = False
    while attempts.never_started(record, attempt):
        assert attempts.outcome(record, attempt) is None
        attempts.submit(record, attempt, CampaignState())
    assert executor.submitted == MAX_SUBMITS
    lost = attempts.outcome(record, attempt)
    assert lost is not None and lost.failure is not None and lost.failure.kind == "lost"


def test_a_worker_elsewhere_is_lost_when_its_job_ended_and_its_heart_stopped(
    tmp_path: Path,
) -> None:
    attempts, executor, record, attempt, folder = _started(tmp_path)
    attempts._watch = heartbeat.Watch(silent_s=0.0)
    (folder / layout.CLAIM).write_text("node17:4711:1.00")
    beat = folder / heartbeat.FILE
    beat.write_text("99")
    assert attempts.outcome(record, attempt) is None  # its job lives
    executor.alive = False
    for second in range(3):  # an orphan of a dead driver: no job of ours, but it beats
        os.utime(beat, ns=(second, second))
        assert attempts.outcome(record, attempt) is None
        assert not attempts.never_started(record, attempt)
    lost = attempts.outcome(record, attempt)
    assert lost is not None and lost.failure is not None and lost.failure.kind == "lost"


def test_an_outcome_counts_whatever_the_queue_says(tmp_path: Path) -> None:
    attempts, executor, record, attempt, folder = _started(tmp_path)
    executor.alive = False
    write_json(folder / layout.OUTCOME, Outcome({"x": 2}).to_json())
    ended = attempts.outcome(record, attempt)
    assert ended is not None and ended.result == {"x": 2}
    assert not attempts.never_started(record, attempt)


def test_silence_is_measured_by_changes_not_by_the_nodes_clock(tmp_path: Path) -> None:
    watch, path = heartbeat.Watch(silent_s=0.2), tmp_path / heartbeat.FILE
    path.write_text("")
    os.utime(path, (1.0, 1.0))  # a clock that is 50 years slow
    assert not watch.silent(path)
    time.sleep(0.25)
    os.utime(path, (2.0, 2.0))
    assert not watch.silent(path)
    time.sleep(0.25)
    assert watch.silent(path)


def test_a_worker_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(block.BLOCK, "17")
    with heartbeat.beating(tmp_path, period_s=0.01):
        path = tmp_path / heartbeat.FILE
        os.utime(path, (1.0, 1.0))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime == 1.0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1.0
    assert heartbeat.block_of(tmp_path) == "17"
