"""Executors without a cluster: what they ask of a scheduler, what they read from it, and when they
give up.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from queue_for_tests import SLURM, FakeQueue

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.problems import validate
from mlip_autopipec.config.plan import ExecutorPlan, Plan
from mlip_autopipec.config.yaml import load_plan, write_plan
from mlip_autopipec.runtime.executors.local import LocalExecutor
from mlip_autopipec.runtime.executors.parsl import block, providers
from mlip_autopipec.runtime.executors.parsl.queues import QueuedJob, parse_qstat, parse_squeue
from mlip_autopipec.runtime.executors.ports import JobRequest
from mlip_autopipec.testing import simulated_plan

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
