"""Blocks on a real Slurm, which ``slurm_setup.sh`` sets up on this machine (Debian, root)."""

from __future__ import annotations

import os
import signal
import subprocess
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

from mlip_autopipec.errors import MlipError
from mlip_autopipec.runtime.executors.local import LocalExecutor
from mlip_autopipec.runtime.executors.orphans import run_label
from mlip_autopipec.runtime.executors.ports import JobRequest
from mlip_autopipec.runtime.executors.queues import SlurmQueue
from mlip_autopipec.runtime.executors.registry import opened

EXECUTOR = {"name": "slurm", "cores": 4, "cores_per_node": 2, "max_blocks": 2, "walltime_minutes": 60}


@pytest.fixture(scope="module", autouse=True)
def slurm() -> None:
    subprocess.run([Path(__file__).with_name("slurm_setup.sh"), "4"], check=True)


def blocks(root: Path) -> list[str]:
    """Running blocks of a run folder."""
    jobs = SlurmQueue().jobs() or {}
    return sorted(job for job, facts in jobs.items() if run_label(root) in facts.name and facts.running)


def _controller() -> int:
    return int(Path("/run/slurm/slurmctld.pid").read_text())


def test_a_campaign_survives_a_killed_driver_a_cancelled_block_and_an_outage(tmp_path: Path) -> None:
    root, ledger = tmp_path / "run", tmp_path / "ledger.txt"
    driver = start_driver(root, EXECUTOR, ledger)
    wait_until(lambda: len(outcomes(root)) >= 3 or driver.poll() is not None, "three labels")
    before = len(outcomes(root))
    driver.kill()
    driver.wait()
    assert blocks(root), "the blocks outlive their driver"
    driver = start_driver(root, EXECUTOR, ledger)
    wait_until(lambda: len(outcomes(root)) >= before + 3, "labels of the second driver")
    assert driver.poll() is None
    subprocess.run(["scancel", blocks(root)[-1]], check=True)
    os.kill(_controller(), signal.SIGSTOP)  # squeue and sbatch hang now
    try:
        assert SlurmQueue().jobs() is None
    finally:
        os.kill(_controller(), signal.SIGCONT)
    assert driver.poll() is None
    wait_until(lambda: driver.poll() is not None, "the end of the campaign")
    assert driver.returncode == 0, (tmp_path / "driver.log").read_text()[-3000:]
    check_campaign(root, ledger)
    wait_until(lambda: not blocks(root), "no block is left")
    wait_until(lambda: not leftovers(root), "no process is left")


@pytest.mark.parametrize("cores", [1, 2])
def test_labels_are_the_same_on_slurm_and_here(tmp_path: Path, cores: int) -> None:
    """With two cores mpirun starts its ranks inside the block, two of them side by side."""
    count = 20 if cores == 1 else 4
    executor = {**EXECUTOR, "cores_per_node": 4, "max_blocks": 1}
    plan, structures = real_plan(cores, executor=executor), strained(count)
    with opened(plan, tmp_path / "slurm") as cluster:
        there = labels(plan, cluster, tmp_path / "slurm", structures)
    here = labels(plan, LocalExecutor(), tmp_path / "local", structures)
    energies = np.array([[one.energy_ev for one in side] for side in (here, there)])
    assert np.abs(energies[0] - energies[1]).max() < 1e-6
    forces = [np.abs(a.forces - b.forces).max() for a, b in zip(here, there, strict=True)]
    assert max(forces) < 1e-4
    assert len(set(np.round(energies[0], 6))) == count


def test_a_queue_that_does_not_exist_stops_the_run_with_the_schedulers_words(tmp_path: Path) -> None:
    plan = real_plan(executor={**EXECUTOR, "queue": "nosuch"})
    request = JobRequest("x.1", ("true",), tmp_path)
    with opened(plan, tmp_path / "run") as executor:
        job = executor.submit(request)

        def refused() -> bool:
            try:
                executor.poll([job])
            except MlipError as error:
                assert "partition" in str(error) and "executor" in str(error)
                return True
            return False

        wait_until(refused, "sbatch's refusal")
