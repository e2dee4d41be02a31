"""Parsl's real PBS Pro provider against ``pbs_standin/{qsub,qstat,qdel}``.

Those three are stand-ins that start processes on this machine: PBS itself is in no package
registry. What is tested is our side: submit scripts, command lines, the reading of qstat, and what
happens when blocks and drivers die.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import scheduler_cases as cases
from scheduler_tools import Scheduler

from mlip_autopipec.runtime.executors.parsl.queues import PbsQueue

EXECUTOR = {
    "name": "pbs",
    "cores": 4,
    "cores_per_node": 2,
    "max_blocks": 2,
    "walltime_minutes": 60,
    "queue": "workq",
}


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    home = tmp_path / "pbs"
    home.mkdir()
    monkeypatch.setenv(
        "PATH", f"{Path(__file__).with_name('pbs_standin')}{os.pathsep}{os.environ['PATH']}"
    )
    monkeypatch.setenv("PBS_STANDIN", str(home))
    monkeypatch.setenv("PBS_STANDIN_SLOTS", "2")
    assert PbsQueue().jobs() == {}

    @contextmanager
    def outage() -> Iterator[None]:
        (home / "outage").touch()
        try:
            yield
        finally:
            (home / "outage").unlink()

    yield Scheduler(EXECUTOR, PbsQueue(), outage)
    PbsQueue().cancel(PbsQueue().jobs() or [])


def test_a_campaign_survives_a_killed_driver_a_deleted_block_and_an_outage(
    tmp_path: Path, pbs: Scheduler
) -> None:
    cases.campaign_survives(pbs, tmp_path)


def test_labels_survive_an_outage_a_deleted_block_and_a_killed_driver(
    tmp_path: Path, pbs: Scheduler
) -> None:
    cases.labels_survive(pbs, tmp_path)


def test_labels_are_the_same_in_blocks_and_here(tmp_path: Path, pbs: Scheduler) -> None:
    cases.labels_are_the_same_there_and_here(pbs, tmp_path, count=4, cores=1)


def test_an_attempt_that_is_submitted_twice_runs_once(
    tmp_path: Path, pbs: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases.twice_submitted_runs_once(pbs, tmp_path, monkeypatch)
