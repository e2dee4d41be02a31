"""Parsl's real PBS Pro provider against ``pbs_standin/{qsub,qstat,qdel}``.

Those three are stand-ins that start processes on this machine: PBS itself is in no package registry. What is tested is
our side: submit scripts, command lines, the reading of qstat, and what happens when blocks and drivers die.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scheduler_cases import (
    check_campaign,
    labels,
    leftovers,
    outcomes,
    real_plan,
    start_driver,
    strained,
    wait_until,
)

from mlip_autopipec.runtime.executors.local import LocalExecutor
from mlip_autopipec.runtime.executors.queues import PbsQueue
from mlip_autopipec.runtime.executors.registry import opened

EXECUTOR = {"name": "pbs", "cores": 4, "cores_per_node": 2, "max_blocks": 2, "walltime_minutes": 60, "queue": "workq"}


@pytest.fixture(autouse=True)
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "pbs"
    home.mkdir()
    monkeypatch.setenv("PATH", f"{Path(__file__).with_name('pbs_standin')}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PBS_STANDIN", str(home))
    monkeypatch.setenv("PBS_STANDIN_SLOTS", "2")
    assert PbsQueue().jobs() == {}
    yield home
    PbsQueue().cancel(PbsQueue().jobs() or [])


def test_a_campaign_survives_a_killed_driver_a_deleted_block_and_an_outage(tmp_path: Path, standin: Path) -> None:
    root, ledger = tmp_path / "run", tmp_path / "ledger.txt"
    driver = start_driver(root, EXECUTOR, ledger)
    wait_until(lambda: len(outcomes(root)) >= 3 or driver.poll() is not None, "three labels")
    before = len(outcomes(root))
    driver.kill()
    driver.wait()
    assert PbsQueue().jobs(), "the blocks outlive their driver"
    driver = start_driver(root, EXECUTOR, ledger)
    wait_until(lambda: len(outcomes(root)) >= before + 3, "labels of the second driver")
    assert driver.poll() is None
    (standin / "outage").touch()
    assert PbsQueue().jobs() is None
    wait_until(lambda: len(outcomes(root)) >= before + 6, "labels while qstat fails")
    (standin / "outage").unlink()
    jobs = PbsQueue().jobs()
    assert jobs
    PbsQueue().cancel(list(jobs)[-1:])
    wait_until(lambda: driver.poll() is not None, "the end of the campaign")
    assert driver.returncode == 0, (tmp_path / "driver.log").read_text()[-3000:]
    check_campaign(root, ledger)
    wait_until(lambda: PbsQueue().jobs() == {}, "no block is left")
    wait_until(lambda: not leftovers(root), "no process is left")


def test_labels_are_the_same_in_blocks_and_here(tmp_path: Path) -> None:
    plan, structures = real_plan(executor=EXECUTOR), strained(4)
    with opened(plan, tmp_path / "pbs-run") as cluster:
        there = labels(plan, cluster, tmp_path / "pbs-run", structures)
    here = labels(plan, LocalExecutor(), tmp_path / "local", structures)
    assert np.abs([a.energy_ev - b.energy_ev for a, b in zip(here, there, strict=True)]).max() < 1e-6
