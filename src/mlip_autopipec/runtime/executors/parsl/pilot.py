"""What runs on a node of a cluster: one command of the driver, inside a block that many commands
share.

Parsl's worker process calls :func:`run`. The command dies with that process, and thereby with the
block.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from mlip_autopipec.base.process import die_with_parent
from mlip_autopipec.runtime.executors.local import end_tree
from mlip_autopipec.runtime.layout import STREAM

__all__ = ["CANCEL", "CANCELLED", "WAITING", "environment", "run", "sleeps"]

CANCEL = "cancel"
"""A file in the attempt's folder: whoever runs the attempt ends it.

It reaches pilots of a dead driver as well.
"""
CANCELLED = 130
WAITING = 0
_TAIL_BYTES = 4096
_LOOK_EVERY_S = 3.0
#: mpirun would take these for an order to spread over all nodes of the allocation, other tasks'
#: cores included.
_SCHEDULER_PREFIXES = (
    "SLURM_",
    "SLURMD_",
    "PBS_",
    "SBATCH_",
    "SRUN_",
    "PMI_",
    "PMIX_",
    "OMPI_COMM_",
    "PRTE_",
)


def run(command: tuple[str, ...], folder: str, cores: int) -> int:
    """Run ``command`` in ``folder`` to its end and return its exit code, or end it when it is
    cancelled.

    Dynamics that waits for a potential uses no core: it is left to sleep in the background, and its
    place in the block goes to another task (perhaps the one it waits for). It returns to work
    beside the others.
    """
    place = Path(folder)
    if (place / CANCEL).exists():
        return CANCELLED
    with (place / "worker.log").open("ab") as log:
        child = subprocess.Popen(
            command,
            cwd=place,
            env=environment(os.environ, cores),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    code = _attend(child, place, until_it_waits=True)
    if code is None:
        threading.Thread(target=_attend, args=(child, place), name="waiting", daemon=True).start()
        return WAITING
    return code


def _attend(
    child: subprocess.Popen[bytes], place: Path, *, until_it_waits: bool = False
) -> int | None:
    """Its exit code once it ended or was cancelled; None when it sleeps."""
    while True:
        try:
            return child.wait(timeout=_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            if (place / CANCEL).exists():
                end_tree(child.pid)
                child.wait()
                return CANCELLED
            if until_it_waits and sleeps(place / STREAM):
                return None


def sleeps(stream: Path) -> bool:
    """Whether the last report in the stream of a task says that it waits."""
    try:
        with stream.open("rb") as file:
            file.seek(max(0, stream.stat().st_size - _TAIL_BYTES))
            last = file.read().splitlines()[-1]
        report = json.loads(last)
    except (OSError, IndexError, ValueError):
        return False
    return bool(report.get("type") == "break" or report.get("state") == "waiting")


def environment(inherited: Mapping[str, str], cores: int) -> dict[str, str]:
    """The environment of a task: its share of threads, and an MPI that starts its ranks on this
    node alone.
    """
    kept = {
        key: value for key, value in inherited.items() if not key.startswith(_SCHEDULER_PREFIXES)
    }
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(cores)
    )
    # Open MPI, MPICH (Hydra) and Intel MPI. Slots are counted by us, not by mpirun.
    local_mpi = {
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_plm_rsh_agent": "false",
        "HYDRA_LAUNCHER": "fork",
        "I_MPI_HYDRA_BOOTSTRAP": "fork",
    }
    return {**kept, **threads, **local_mpi}
