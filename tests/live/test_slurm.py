"""Blocks on a real Slurm, which ``slurm_setup.sh`` sets up on this machine (Debian, root) and takes
down again.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import scheduler_cases as cases
from scheduler_tools import Run, Scheduler, real_plan, wait_until

from mlip_autopipec.base.errors import MlipError
from mlip_autopipec.runtime.executors.parsl.block import BLOCK
from mlip_autopipec.runtime.executors.parsl.queues import SlurmQueue
from mlip_autopipec.runtime.executors.ports import JobRequest
from mlip_autopipec.runtime.executors.registry import opened

EXECUTOR = {
    "name": "slurm",
    "cores": 4,
    "cores_per_node": 2,
    "max_blocks": 2,
    "walltime_minutes": 60,
}
CORES_PER_NODE, NODES = "4", "2"


def setup(*arguments: str) -> None:
    subprocess.run([Path(__file__).with_name("slurm_setup.sh"), *arguments], check=True)


def daemon(name: str) -> psutil.Process:
    return psutil.Process(int(Path(f"/run/slurm/{name}.pid").read_text()))


@pytest.fixture(scope="module", autouse=True)
def slurm() -> Iterator[None]:
    setup(CORES_PER_NODE, NODES)
    yield
    setup("stop")


@contextmanager
def frozen_controller() -> Iterator[None]:
    """squeue and sbatch hang."""
    controller = daemon("slurmctld")
    controller.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        controller.send_signal(signal.SIGCONT)


@contextmanager
def stopped_controller() -> Iterator[None]:
    """squeue and sbatch fail; what runs goes on.

    Started again, the controller reads its state from disk.
    """
    controller = daemon("slurmctld")
    controller.terminate()
    controller.wait(timeout=60)
    try:
        yield
    finally:
        setup(CORES_PER_NODE, NODES)


def slurm_with(outage: object = frozen_controller, **changes: object) -> Scheduler:
    return Scheduler({**EXECUTOR, **changes}, SlurmQueue(), outage)  # type: ignore[arg-type]


def jobs_on(node: str) -> set[str]:
    listed = subprocess.run(
        ["squeue", "-h", "-w", node, "-o", "%i"], check=True, capture_output=True, text=True
    )
    return set(listed.stdout.split())


def kill_node(node: str) -> None:
    """What a power cut does to a node: its daemon and everything in its jobs are gone, and nobody
    says good-bye.
    """
    jobs = jobs_on(node)
    daemon(f"slurmd-{node}").kill()
    for process in psutil.process_iter(["cmdline"]):
        title = " ".join(process.info["cmdline"] or [])
        with contextlib.suppress(psutil.Error):
            inside = process.environ()
            named = any(title.startswith(f"slurmstepd: [{job}.") for job in jobs)
            if named or {inside.get("SLURM_JOB_ID"), inside.get(BLOCK)} & jobs:
                process.kill()


def test_a_campaign_survives_a_killed_driver_a_cancelled_block_and_a_frozen_controller(
    tmp_path: Path,
) -> None:
    cases.campaign_survives(slurm_with(), tmp_path)


def test_labels_survive_a_restart_of_the_controller_a_cancelled_block_and_a_killed_driver(
    tmp_path: Path,
) -> None:
    cases.labels_survive(slurm_with(stopped_controller), tmp_path)


def test_labels_survive_the_death_of_a_node(tmp_path: Path) -> None:
    """One of two nodes dies with its block; the labels go on on the other, and later on both."""
    scheduler = slurm_with(exclusive=True)
    run = Run(tmp_path, "labels", scheduler.executor)
    driver = run.drive()
    wait_until(lambda: len(scheduler.blocks(run.root, running=True)) == 2, "a block on each node")
    wait_until(
        lambda: run.outcomes() >= 3 and len(run.at_work(jobs_on("n2"))) == 2,
        "two calculations on n2",
    )
    kill_node("n2")
    before = run.outcomes()
    wait_until(lambda: run.outcomes() >= before + 4, "labels of the other node")
    setup(CORES_PER_NODE, NODES)  # the node is mended
    wait_until(lambda: driver.poll() is not None, "the last label")
    assert driver.returncode == 0, run.log()
    cases.all_labelled_once(run)
    failures = [
        failure.kind for record in run.state().tasks.values() for failure in record.failures
    ]
    assert 1 <= failures.count("lost") <= 2
    cases.nothing_is_left(scheduler, run)


@pytest.mark.parametrize(("count", "cores"), [(20, 1), (4, 2)])
def test_labels_are_the_same_on_slurm_and_here(tmp_path: Path, count: int, cores: int) -> None:
    """With two cores mpirun starts its ranks inside the block, two calculations side by side."""
    cases.labels_are_the_same_there_and_here(slurm_with(cores_per_node=4), tmp_path, count, cores)


def test_an_attempt_that_is_submitted_twice_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases.twice_submitted_runs_once(slurm_with(), tmp_path, monkeypatch)


def test_a_queue_that_does_not_exist_stops_the_run_with_the_schedulers_words(
    tmp_path: Path,
) -> None:
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
