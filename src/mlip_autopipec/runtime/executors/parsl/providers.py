"""Parsl's providers for Slurm and PBS Pro, made from the plan's ``executor`` section (Parsl is
imported lazily).
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.config.plan import ExecutorPlan
from mlip_autopipec.runtime.executors.parsl.block import BLOCK, ENDS
from mlip_autopipec.runtime.executors.parsl.queues import PbsQueue, Queue, SlurmQueue, short_id

__all__ = ["INSTALL", "import_parsl", "provider", "queue", "worker_init"]

INSTALL = f"{sys.executable} -m pip install parsl==2026.10.26"
_STATUS_EVERY_S = 20
_COMMAND_TIMEOUT_S = 60
_LAUNCHERS = {"single": "SingleNodeLauncher", "srun": "SrunLauncher", "mpiexec": "MpiExecLauncher"}


def import_parsl() -> Any:
    """The package, or MissingProgramError with the command that installs it."""
    try:
        import parsl
    except ImportError as error:
        raise MissingProgramError("the package parsl (executors slurm and pbs)", INSTALL) from error
    return parsl


def queue(plan: ExecutorPlan) -> Queue:
    """The queue that the plan's blocks wait in."""
    return SlurmQueue() if plan.name == "slurm" else PbsQueue()


def worker_init(plan: ExecutorPlan) -> str:
    """Shell lines at the start of a block: the user's own, then this interpreter, and what a task
    has to know.
    """
    passed = {key: value for key, value in os.environ.items() if key.startswith("MLIP_")}
    if path := os.environ.get("PYTHONPATH"):  # a block begins in another folder
        passed["PYTHONPATH"] = os.pathsep.join(
            str(Path(part).absolute()) for part in path.split(os.pathsep) if part
        )
    lines = [
        *([plan.worker_init] if plan.worker_init else []),
        f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        *(f"export {key}={shlex.quote(value)}" for key, value in sorted(passed.items())),
        f"export {BLOCK}=${{SLURM_JOB_ID:-$PBS_JOBID}}",
        f"export {ENDS}=$(($(date +%s) + {int(plan.walltime_minutes * 60)}))",
    ]
    return "\n".join(lines)


def _launcher(plan: ExecutorPlan) -> Any:
    from parsl import launchers

    name = plan.launcher
    if name == "auto":
        name = (
            "single" if plan.nodes_per_block == 1 else "srun" if plan.name == "slurm" else "mpiexec"
        )
    return getattr(launchers, _LAUNCHERS[name])()


def _walltime(minutes: float) -> str:
    total = int(minutes * 60)
    return f"{total // 3600:02d}:{total % 3600 // 60:02d}:{total % 60:02d}"


def provider(plan: ExecutorPlan, listing: Queue) -> Any:
    """Parsl's provider. A block's state is read from ``listing``: no answer means no change,
    whatever the cause.
    """
    import_parsl()
    common = {
        "account": plan.account,
        "nodes_per_block": plan.nodes_per_block,
        "init_blocks": 0,
        "min_blocks": 0,
        "max_blocks": plan.max_blocks,
        "parallelism": 1.0,
        "walltime": _walltime(plan.walltime_minutes),
        "worker_init": worker_init(plan),
        "launcher": _launcher(plan),
        "cmd_timeout": _COMMAND_TIMEOUT_S,
    }
    if plan.name == "slurm":
        from parsl.providers import SlurmProvider

        found: Any = _reading(SlurmProvider, listing)(
            partition=plan.queue,
            cores_per_node=plan.cores_per_node,
            mem_per_node=plan.memory_per_node_gb,
            exclusive=plan.exclusive,
            scheduler_options=plan.scheduler_options,
            **common,
        )
        return found
    from parsl.providers import PBSProProvider

    memory = f"mem={plan.memory_per_node_gb}gb" if plan.memory_per_node_gb else ""
    place = "#PBS -l place=excl\n" if plan.exclusive else ""
    pbs: Any = _reading(PBSProProvider, listing)(
        queue=plan.queue,
        cpus_per_node=plan.cores_per_node,
        select_options=":".join(part for part in (memory, plan.select_options or "") if part),
        scheduler_options=place + plan.scheduler_options,
        **common,
    )
    return pbs


def _reading(base: Any, listing: Queue) -> Any:
    """A subclass of a Parsl provider that reads the states of its jobs from ``listing``.

    Parsl's own asks for single ids, which Slurm answers with an error once a job has left its
    memory; the job would count as running for ever.
    """
    from parsl.jobs.states import JobState, JobStatus

    class Reading(base):  # type: ignore[misc]
        def _status(self) -> None:
            jobs = listing.jobs()
            if jobs is None:
                return
            for job, facts in self.resources.items():
                if facts["status"].terminal:
                    continue
                found = jobs.get(short_id(job))
                running = (
                    JobState.RUNNING if found is not None and found.running else JobState.PENDING
                )
                state = JobState.COMPLETED if found is None else running
                facts["status"] = JobStatus(
                    state,
                    stdout_path=facts["job_stdout_path"],
                    stderr_path=facts["job_stderr_path"],
                )

        @property
        def status_polling_interval(self) -> int:
            return _STATUS_EVERY_S

    return Reading
