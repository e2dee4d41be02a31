"""Executors without a cluster: what they ask of a scheduler, what they read from it, and when they
give up.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.problems import validate
from mlip_autopipec.base.tasks import Outcome, Task
from mlip_autopipec.campaign.state import Attempt, CampaignState, TaskRecord
from mlip_autopipec.config.plan import ExecutorPlan, Plan
from mlip_autopipec.config.yaml import load_plan, write_plan
from mlip_autopipec.runtime import heartbeat, layout
from mlip_autopipec.runtime.attempts import MAX_SUBMITS, Attempts
from mlip_autopipec.runtime.executors import local
from mlip_autopipec.runtime.executors.local import LocalExecutor
from mlip_autopipec.runtime.executors.parsl import block, pilot, providers
from mlip_autopipec.runtime.executors.parsl.executor import ParslExecutor
from mlip_autopipec.runtime.executors.parsl.health import MAX_FAILURES, BlockHealth
from mlip_autopipec.runtime.executors.parsl.orphans import (
    Orphans,
    record_block,
    record_session,
    run_label,
)
from mlip_autopipec.runtime.executors.parsl.queues import QueuedJob, parse_qstat, parse_squeue
from mlip_autopipec.runtime.executors.ports import Executor, JobRequest
from mlip_autopipec.runtime.executors.registry import opened
from mlip_autopipec.testing import simulated_plan

SLURM = {"name": "slurm", "cores": 8, "cores_per_node": 4, "max_blocks": 2, "walltime_minutes": 90}


class FakeQueue:
    """A queue whose content the test decides; None: the scheduler does not answer."""

    def __init__(self, jobs: Mapping[str, QueuedJob] | None = None) -> None:
        self.content: dict[str, QueuedJob] | None = dict(jobs or {})
        self.cancelled: list[str] = []

    def jobs(self) -> Mapping[str, QueuedJob] | None:
        return self.content

    def cancel(self, ids: Iterable[str]) -> bool:
        self.cancelled += ids
        return True


# --- the plan
# --------------------------------------------------------------------------------------------------


def test_where_it_runs_is_no_part_of_what_is_run(tmp_path: Path) -> None:
    here, there = simulated_plan(), simulated_plan(executor=SLURM)
    assert here.hash == there.hash
    write_plan(there, {}, tmp_path / "plan.yaml")
    assert load_plan(tmp_path / "plan.yaml") == there
    assert Plan.model_validate_json(here.model_dump_json()) == here


def test_a_local_plan_shows_no_key_of_clusters() -> None:
    assert simulated_plan().model_dump()["executor"] == {"name": "local", "cores": 2}


@pytest.mark.parametrize(
    ("executor", "complaint"),
    [
        (
            {"name": "local", "cores": 2, "max_blocks": 3},
            "max_blocks belongs to slurm and pbs only",
        ),
        ({"name": "slurm", "cores": 2}, "cores_per_node is missing"),
        ({"name": "slrum", "cores": 2}, "did you mean 'slurm'"),
        ({**SLURM, "partition": "long"}, "partition"),
    ],
)
def test_a_wrong_executor_section_is_refused(executor: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        validate(Plan, {**simulated_plan().model_dump(mode="json"), "executor": executor}, None)


# --- what the scheduler is asked for
# ---------------------------------------------------------------------------------


def _script(plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[str, str]:
    """Submit script and command line that Parsl's provider makes of the plan."""
    made = providers.provider(ExecutorPlan.model_validate(plan), FakeQueue())
    made.script_dir = str(folder)
    commands: list[str] = []

    def answer(command: str, timeout: object = None) -> tuple[int, str, str]:
        commands.append(command)
        return 0, "Submitted batch job 17" if plan["name"] == "slurm" else "17.server", ""

    monkeypatch.setattr(made, "execute_wait", answer)
    assert made.submit("PILOT", 1, "parsl.x.block-0").startswith("17")
    return Path(commands[-1].split()[-1]).read_text(), commands[-1]


def test_a_block_of_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLIP_PW", "/opt/with space/pw.x")
    monkeypatch.setenv("PYTHONPATH", f"src{os.pathsep}/opt/mine")
    more = {
        "queue": "long",
        "account": "me",
        "memory_per_node_gb": 12,
        "exclusive": True,
        "nodes_per_block": 3,
    }
    init = {"worker_init": "module load qe", "scheduler_options": "#SBATCH --constraint=x"}
    script, command = _script({**SLURM, **more, **init}, monkeypatch, tmp_path)
    assert command.startswith("sbatch ")
    for line in (
        "partition=long",
        "account=me",
        "nodes=3",
        "cpus-per-task=4",
        "mem=12g",
        "exclusive",
        "constraint=x",
    ):
        assert f"#SBATCH --{line}\n" in script
    assert "#SBATCH --time=90" in script and "srun" in script and "PILOT" in script
    assert script.index("module load qe") < script.index(
        f"export PATH={Path(sys.executable).parent}"
    )
    assert "export MLIP_PW='/opt/with space/pw.x'" in script
    assert f"export PYTHONPATH={Path.cwd() / 'src'}:/opt/mine\n" in script
    assert f"export {block.ENDS}=$(($(date +%s) + 5400))" in script


def test_a_block_of_pbs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    more = {
        "name": "pbs",
        "queue": "long",
        "account": "me",
        "memory_per_node_gb": 12,
        "select_options": "model=rom",
    }
    script, command = _script({**SLURM, **more}, monkeypatch, tmp_path)
    assert command.startswith("qsub  -q long -A me ")
    assert "#PBS -l select=1:ncpus=4:mem=12gb:model=rom\n" in script
    assert "#PBS -l walltime=01:30:00\n" in script


def test_a_silent_scheduler_changes_nothing_and_a_vanished_job_is_over() -> None:
    queue = FakeQueue()
    made = providers.provider(ExecutorPlan.model_validate({**SLURM, "name": "pbs"}), queue)
    from parsl.jobs.states import JobState, JobStatus

    for job in ("1.server", "2.server"):
        paths = {"job_stdout_path": "o", "job_stderr_path": "e"}
        made.resources[job] = {"job_id": job, "status": JobStatus(JobState.PENDING), **paths}
    queue.content = {"1": QueuedJob("a", True), "2": QueuedJob("b", False)}
    assert [s.state for s in made.status(["1.server", "2.server"])] == [
        JobState.RUNNING,
        JobState.PENDING,
    ]
    queue.content = None
    assert [s.state for s in made.status(["1.server", "2.server"])] == [
        JobState.RUNNING,
        JobState.PENDING,
    ]
    queue.content = {"2": QueuedJob("b", True)}
    assert [s.state for s in made.status(["1.server", "2.server"])] == [
        JobState.COMPLETED,
        JobState.RUNNING,
    ]


def test_queues_are_read() -> None:
    text = "12|R|parsl.mlip-a|b.block-0\n13|PD|x\n14|CD|gone\n15_[1-3]|PD|array\n"
    assert parse_squeue(text) == {
        "12": QueuedJob("parsl.mlip-a|b.block-0", True),
        "13": QueuedJob("x", False),
        "15_[1-3]": QueuedJob("array", False),
    }
    qstat = (
        '{"Jobs": {"7.long.server.name": {"Job_Name": "n", "job_state": "H"}, "8.s": {"job_state":'
        ' "F"}}}'
    )
    assert parse_qstat(qstat) == {"7": QueuedJob("n", False)}
    assert parse_qstat("") == {} and parse_qstat('{"timestamp": 1}') == {}


def test_a_command_that_fails_or_is_missing_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from mlip_autopipec.runtime.executors.parsl.queues import PbsQueue, SlurmQueue

    monkeypatch.setenv("PATH", str(tmp_path))
    assert (
        SlurmQueue().jobs() is None and not SlurmQueue().cancel(["1"]) and SlurmQueue().cancel([])
    )
    qstat = tmp_path / "qstat"
    qstat.write_text("#!/bin/sh\necho '{ half of an ans'\n")
    qstat.chmod(0o755)
    assert PbsQueue().jobs() is None


# --- when to give up
# -------------------------------------------------------------------------------------------------


def _status(name: str, message: str = "", stderr: Path | None = None) -> SimpleNamespace:
    over = name in ("FAILED", "COMPLETED", "SCALED_IN", "CANCELLED")
    where = {"stdout_path": None, "stderr_path": None if stderr is None else str(stderr)}
    return SimpleNamespace(
        state=SimpleNamespace(name=name), terminal=over, message=message, **where
    )


class FakeParsl:
    def __init__(self) -> None:
        self.connected: list[str] = []
        self.provider = SimpleNamespace(max_blocks=5)

    def connected_blocks(self) -> list[str]:
        return self.connected


def test_pilots_that_die_at_once_stop_the_run_with_their_last_words(tmp_path: Path) -> None:
    now, parsl, queue = [0.0], FakeParsl(), FakeQueue()
    health = BlockHealth(queue, 5, clock=lambda: now[0])
    (tmp_path / "err").write_text("module: command not found")
    blocks: dict[str, SimpleNamespace] = {}
    for number in range(MAX_FAILURES):
        assert health.verdict is None
        blocks[str(number)] = _status("COMPLETED", stderr=tmp_path / "err")
        health(parsl, blocks)
        assert parsl.provider.max_blocks == 0  # a pause, longer after each failure
        now[0] += 10.0 * 2**number - 1
        health(parsl, blocks)
        assert parsl.provider.max_blocks == 0
        now[0] += 2
        health(parsl, blocks)
    assert health.verdict is not None and "module: command not found" in health.verdict
    assert parsl.provider.max_blocks == 0


def test_an_outage_of_the_scheduler_is_waited_for(tmp_path: Path) -> None:
    now, parsl, queue = [0.0], FakeParsl(), FakeQueue()
    queue.content = None
    health = BlockHealth(queue, 5, clock=lambda: now[0])
    blocks = {
        str(number): _status("FAILED", "sbatch: Unable to contact slurm controller")
        for number in range(20)
    }
    health(parsl, blocks)
    assert health.verdict is None and parsl.provider.max_blocks == 0
    now[0] = 11.0
    health(parsl, blocks)
    assert parsl.provider.max_blocks == 5


def test_blocks_that_worked_are_no_failures() -> None:
    parsl, health = FakeParsl(), BlockHealth(FakeQueue(), 3)
    parsl.connected = [str(number) for number in range(20)]
    health(parsl, {number: _status("COMPLETED") for number in parsl.connected})
    health(parsl, {str(number): _status("SCALED_IN") for number in range(20, 40)})
    assert health.verdict is None and parsl.provider.max_blocks == 3


def test_a_block_must_hold_one_calculation(tmp_path: Path) -> None:
    plan = ExecutorPlan.model_validate({**SLURM, "walltime_minutes": 30})
    with pytest.raises(InputError, match="more than 31 minutes"):
        ParslExecutor(tmp_path, plan, reserve_s=1800.0, queue=FakeQueue())
    with pytest.raises(InputError, match="must fit on one node"):
        ParslExecutor(tmp_path, plan, task_cores=5, queue=FakeQueue())


def test_without_parsl_the_install_line_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "parsl", None)
    with (
        pytest.raises(MissingProgramError, match=r"pip install parsl=="),
        opened(simulated_plan(executor=SLURM), tmp_path),
    ):
        pass


# --- one task in a block
# ---------------------------------------------------------------------------------------------


def test_a_task_sees_its_own_cores_and_no_scheduler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "64")
    monkeypatch.setenv("PBS_NODEFILE", "/nodes")
    monkeypatch.setenv("MLIP_BLOCK", "17")
    script = (
        "import os, json; json.dump(dict(os.environ), open('seen.json', 'w')); raise SystemExit(7)"
    )
    assert pilot.run((sys.executable, "-c", script), str(tmp_path), 3) == 7
    seen = read_json(tmp_path / "seen.json")
    assert seen["OMP_NUM_THREADS"] == "3" and seen["MLIP_BLOCK"] == "17"
    assert not [key for key in seen if key.startswith(("SLURM_", "PBS_"))]


def test_a_cancelled_task_ends_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "_LOOK_EVERY_S", 0.05)
    script = "sleep 600 & echo $! > child; sleep 600 & wait"
    starter = subprocess.Popen(
        [
            "sh",
            "-c",
            f"while [ ! -s {tmp_path}/child ]; do sleep 0.05; done; touch {tmp_path}/cancel",
        ]
    )
    assert pilot.run(("sh", "-c", script), str(tmp_path), 1) == pilot.CANCELLED
    starter.wait()
    child = int((tmp_path / "child").read_text())
    # The signal is sent; a busy kernel may take a moment to carry it out.
    give_up = time.monotonic() + 30
    while psutil.pid_exists(child) and time.monotonic() < give_up:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
                break
        time.sleep(0.05)
    assert time.monotonic() < give_up
    assert pilot.run(("touch", "started"), str(tmp_path), 1) == pilot.CANCELLED
    assert not (tmp_path / "started").exists()


def test_dynamics_that_waits_gives_up_its_place_but_not_its_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "_LOOK_EVERY_S", 0.05)
    stream = tmp_path / layout.STREAM
    stream.write_text('{"type": "progress", "state": "running"}\n')
    assert not pilot.sleeps(stream) and not pilot.sleeps(tmp_path / "none")
    script = (
        f'echo $$ > pid; echo \'{{"type": "progress", "state": "waiting"}}\' >> {layout.STREAM};'
        " exec sleep 600"
    )
    assert pilot.run(("sh", "-c", script), str(tmp_path), 1) == pilot.WAITING
    sleeper = psutil.Process(int((tmp_path / "pid").read_text()))
    assert sleeper.is_running() and pilot.sleeps(stream)
    (tmp_path / pilot.CANCEL).touch()
    psutil.wait_procs([sleeper], timeout=60)
    assert not sleeper.is_running()


def test_time_left_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(block.ENDS, raising=False)
    assert block.seconds_left() is None
    monkeypatch.setenv(block.ENDS, "1000")
    assert block.seconds_left(now=400.0) == 600.0


def test_parsls_interchange_gets_a_bounded_life(tmp_path: Path) -> None:
    """The guard's parent ends; the guard waits its grace, then ends the program."""
    program_text = f"echo $$ > {tmp_path}/pid; exec sleep 600"
    guard = (
        f"{sys.executable} -m mlip_autopipec.runtime.executors.parsl.guard 0.1 {tmp_path} sh -c"
        f" '{program_text}'"
    )
    subprocess.run(
        ["sh", "-c", f"{guard} & while [ ! -s {tmp_path}/pid ]; do sleep 0.05; done"], check=True
    )
    program = psutil.Process(int((tmp_path / "pid").read_text()))
    psutil.wait_procs([program], timeout=60)
    assert not program.is_running() or program.status() == psutil.STATUS_ZOMBIE


# --- attempts on other machines
# --------------------------------------------------------------------------------------


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


# --- blocks of dead drivers
# ------------------------------------------------------------------------------------------


def test_blocks_of_a_dead_driver_finish_what_they_hold_and_are_cancelled(tmp_path: Path) -> None:
    home = tmp_path / "parsl"
    home.mkdir()
    label = run_label(tmp_path)
    interchange = subprocess.Popen(["sleep", "600"])
    record_session(home, "old", local.identity(interchange.pid))
    record_block(home, "old", "5.server")
    queue = FakeQueue(
        {
            "5": QueuedJob("renamed", True),  # known by its record
            "6": QueuedJob(
                f"parsl.{label}-old.block-1.123", True
            ),  # its driver died before it could record it
            "7": QueuedJob(f"parsl.{label}-old.block-2.124", False),  # has not begun
            "8": QueuedJob(f"parsl.{label}-new.block-0.125", True),
            "9": QueuedJob("parsl.somebody-else", True),
        }
    )
    busy = tmp_path / "tasks" / "label-1" / "attempt-1"
    busy.mkdir(parents=True)
    (busy / heartbeat.FILE).write_text("5.server")
    orphans = Orphans(tmp_path, home, queue)
    assert orphans.look("new") == 3 and queue.cancelled == ["7"]
    for _ in range(5):
        orphans.look("new")
    assert set(queue.cancelled) == {"6", "7"}
    write_json(busy / layout.OUTCOME, Outcome({}).to_json())
    for _ in range(5):
        orphans.look("new")
    assert set(queue.cancelled) == {"5", "6", "7"}
    assert interchange.poll() is None
    queue.content = None
    assert orphans.look("new") > 0  # not seen is not gone
    queue.content = {"8": QueuedJob(f"parsl.{label}-new.block-0.125", True)}
    assert orphans.look("new") == 0
    assert interchange.wait(timeout=60) != 0


# --- local
# --------------------------------------------------------------------------------------------------


def test_a_job_of_a_cluster_is_nothing_to_the_local_executor(tmp_path: Path) -> None:
    executor = LocalExecutor()
    assert executor.poll(["parsl|123|/a:b:c"]) == {"parsl|123|/a:b:c": False}
    executor.cancel(["parsl|123|/a:b:c"])
    job = executor.submit(JobRequest("x", ("sleep", "600"), tmp_path))
    assert executor.poll([job])[job]
    executor.cancel([job])
    deadline = time.monotonic() + 30
    while executor.poll([job])[job] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not executor.poll([job])[job]
