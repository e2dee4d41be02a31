"""The cases that every scheduler must pass; ``test_slurm.py`` and ``test_pbs_standin.py`` call
them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import slow_dft
from driver_process import CELLS, copper
from scheduler_tools import (
    Run,
    Scheduler,
    await_labels,
    check_labels,
    prepare,
    real_plan,
    strained,
    wait_until,
)

from mlip_autopipec.base.files import read_json
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.executors.local import LocalExecutor
from mlip_autopipec.runtime.executors.registry import opened
from mlip_autopipec.runtime.heartbeat import block_of
from mlip_autopipec.testing import simulated_plan


def campaign_survives(scheduler: Scheduler, folder: Path) -> None:
    """The whole simulated loop: its driver is killed, a block is cancelled, the scheduler is away
    for a while.
    """
    run = Run(folder, "campaign", scheduler.executor)
    driver = run.drive()
    wait_until(lambda: run.outcomes() >= 3 or driver.poll() is not None, "three labels")
    before = run.outcomes()
    driver.kill()
    driver.wait()
    assert scheduler.blocks(run.root), "the blocks outlive their driver"
    driver = run.drive()
    wait_until(lambda: run.outcomes() >= before + 3, "labels of the second driver")
    assert driver.poll() is None
    scheduler.queue.cancel(scheduler.blocks(run.root)[-1:])
    with scheduler.outage():
        assert scheduler.queue.jobs() is None
    wait_until(lambda: driver.poll() is not None, "the end of the campaign")
    assert driver.returncode == 0, run.log()
    assert read_json(run.root / layout.RESULT / "summary.json")["end_state"] == "converged"
    check_labels(run)
    nothing_is_left(scheduler, run)


def labels_survive(scheduler: Scheduler, folder: Path) -> None:
    """The DFT factory: tasks go on and end while the scheduler is away, a block is cancelled, the
    driver is killed.
    """
    run = Run(folder, "labels", scheduler.executor)
    driver = run.drive()
    wait_until(lambda: run.outcomes() >= 2 or driver.poll() is not None, "two labels")
    second = run.drive()
    assert second.wait(timeout=300) != 0 and "another run works here" in run.log()
    with scheduler.outage():
        assert scheduler.queue.jobs() is None
        before = run.outcomes()
        wait_until(lambda: run.outcomes() >= before + 3, "labels while the scheduler is away")
        assert driver.poll() is None, run.log()
    wait_until(lambda: bool(scheduler.blocks(run.root, running=True)), "a block in the queue again")
    scheduler.queue.cancel(scheduler.blocks(run.root, running=True)[:1])
    before = run.outcomes()
    wait_until(
        lambda: run.outcomes() >= before + 3 or driver.poll() is not None, "labels of another block"
    )
    driver.kill()
    driver.wait()
    driver = run.drive()
    wait_until(lambda: driver.poll() is not None, "the last label")
    assert driver.returncode == 0, run.log()
    all_labelled_once(run)
    nothing_is_left(scheduler, run)


def all_labelled_once(run: Run) -> None:
    """Every cell of ``labels`` became a label or was given up, and no attempt was begun twice."""
    check_labels(run)
    summary = read_json(run.root / "summary.json")
    assert summary["end_state"] == "complete"
    assert summary["labelled"] + summary["quarantined"] == CELLS == summary["structures"]
    assert max(Counter(run.starts.read_text().split()).values()) == 1


def nothing_is_left(scheduler: Scheduler, run: Run) -> None:
    wait_until(
        lambda: scheduler.queue.jobs() is not None and not scheduler.blocks(run.root),
        "no block is left",
    )
    wait_until(lambda: not run.leftovers(), "no process is left")


def labels_are_the_same_there_and_here(
    scheduler: Scheduler, folder: Path, count: int, cores: int
) -> None:
    """Labels of pw.x in one block, several side by side in it, equal those of this machine without
    any scheduler.
    """
    executor = {**scheduler.executor, "max_blocks": 1}
    plan, structures = real_plan(cores, executor=executor), strained(count)
    requests = prepare(plan, folder / "blocks", structures)
    with opened(plan, folder / "blocks") as cluster:
        there = await_labels(cluster, requests)
    local = LocalExecutor()
    # One after the other: the local executor starts whatever it is given.
    here = [
        await_labels(local, [request])[0] for request in prepare(plan, folder / "here", structures)
    ]
    energies = np.array([[one.energy_ev for one in side] for side in (here, there)])
    assert np.abs(energies[0] - energies[1]).max() < 1e-6
    assert max(np.abs(a.forces - b.forces).max() for a, b in zip(here, there, strict=True)) < 1e-4
    assert len(set(np.round(energies[0], 6))) == count  # they were different structures
    folders = [request.folder for request in requests]
    blocks = {block_of(one) for one in folders}
    assert len(blocks) == 1 and "" not in blocks
    assert _side_by_side(folders) == scheduler.executor["cores_per_node"] // cores


def _side_by_side(folders: list[Path]) -> int:
    """How many attempts ran at the same time at most."""
    spans = [
        ((one / layout.CLAIM).stat().st_mtime, (one / layout.OUTCOME).stat().st_mtime)
        for one in folders
    ]
    return max(sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans)


def twice_submitted_runs_once(
    scheduler: Scheduler, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt is handed over twice, as by a driver that was killed before it could note the
    first time.
    """
    run = Run(folder, "labels", scheduler.executor)
    for name, value in run.environment().items():
        monkeypatch.setenv(name, value)
    plan = simulated_plan(executor=scheduler.executor, dft=slow_dft.SECTION)
    requests = prepare(plan, run.root, copper(4))
    with opened(plan, run.root) as cluster:
        await_labels(cluster, requests, times=2)
    assert Counter(run.starts.read_text().split()) == Counter(
        str(request.folder) for request in requests
    )
