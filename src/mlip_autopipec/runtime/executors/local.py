"""Processes of this machine.

A job leads a process session of its own, so it outlives a killed driver.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping

import psutil

from mlip_autopipec.runtime.executors.ports import ExecutorSetup, JobRequest

__all__ = ["LocalExecutor", "alive", "end", "end_tree", "identity"]


def alive(job: str) -> bool:
    """Whether the process ``host:pid:start time`` lives (a zombie does not); other hosts count as
    alive.

    An id of another form (the plan's executor was changed) names nothing that could live here.
    """
    if job.count(":") < 2 or not job.rsplit(":", 2)[1].isdigit():
        return False
    host, pid, started = job.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class LocalExecutor:
    """Starts each job at once; how many run side by side is the driver's decision."""

    def __init__(self, setup: ExecutorSetup | None = None) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, request: JobRequest) -> str:
        self._reap()
        threads = str(request.cores)
        env = {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }
        with (request.folder / "worker.log").open("ab") as log:
            child = subprocess.Popen(
                request.command,
                cwd=request.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        job = identity(child.pid)
        self._children[job] = child
        return job

    def poll(self, ids: Iterable[str]) -> Mapping[str, bool]:
        self._reap()
        return {job: alive(job) for job in ids}

    def cancel(self, ids: Iterable[str]) -> None:
        for job in ids:
            end(job)

    def _reap(self) -> None:
        for job, child in list(self._children.items()):
            if child.poll() is not None:
                del self._children[job]


def end(job: str) -> None:
    """Kill the process ``host:pid:start time`` and everything it started, if it lives on this
    machine.
    """
    if alive(job) and job.rsplit(":", 2)[0] == socket.gethostname():
        end_tree(int(job.rsplit(":", 2)[1]))


def end_tree(leader: int) -> None:
    """Kill a process of this machine and all its descendants."""
    for member in _session(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def identity(pid: int) -> str:
    """``host:pid:start time`` of a process of this machine (start time 0 when it is gone)."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started = 0.0
    return f"{socket.gethostname()}:{pid}:{started:.2f}"


def _session(leader: int) -> list[int]:
    """The leader and all its descendants, children first (programs may lead sessions of their
    own).
    """
    try:
        descendants = [child.pid for child in psutil.Process(leader).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    return [*reversed(descendants), leader]
