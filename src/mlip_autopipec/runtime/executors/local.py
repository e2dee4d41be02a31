"""Processes of this machine. A job leads a process session of its own, so it outlives a killed driver."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping

import psutil

from mlip_autopipec.runtime.executors.ports import JobRequest

__all__ = ["LocalExecutor", "alive"]


def alive(job: str) -> bool:
    """Whether the process ``host:pid:start time`` lives (a zombie does not); other hosts count as alive."""
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

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, request: JobRequest) -> str:
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
        try:
            started = psutil.Process(child.pid).create_time()
        except psutil.NoSuchProcess:
            started = 0.0
        job = f"{socket.gethostname()}:{child.pid}:{started:.2f}"
        self._children[job] = child
        return job

    def poll(self, ids: Iterable[str]) -> Mapping[str, bool]:
        for job, child in list(self._children.items()):
            if child.poll() is not None:  # reaps the zombie
                del self._children[job]
        return {job: alive(job) for job in ids}

    def cancel(self, ids: Iterable[str]) -> None:
        for job in ids:
            host, pid, _ = job.rsplit(":", 2)
            if host == socket.gethostname() and alive(job):
                for member in _session(int(pid)):
                    try:
                        os.kill(member, signal.SIGKILL)
                    except ProcessLookupError:
                        continue


def _session(leader: int) -> list[int]:
    """The leader and all its descendants, children first (programs may lead sessions of their own)."""
    try:
        descendants = [child.pid for child in psutil.Process(leader).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    return [*reversed(descendants), leader]
