"""The queues of Slurm and PBS as a person sees them: one command lists all jobs, one cancels some.

A scheduler that does not answer is not an empty queue: :meth:`Queue.jobs` then gives None.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "PbsQueue",
    "Queue",
    "QueuedJob",
    "SlurmQueue",
    "parse_qstat",
    "parse_squeue",
    "short_id",
]

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that waits or runs."""

    name: str
    running: bool


class Queue(Protocol):
    def jobs(self) -> Mapping[str, QueuedJob] | None:
        """Job id -> job, for every unfinished job of this user; None when the scheduler does not
        answer.
        """
        ...

    def cancel(self, ids: Iterable[str]) -> bool:
        """Ask for the end of these jobs; whether the scheduler heard."""
        ...


def _ask(*command: str) -> str | None:
    """Standard output, or None when the command fails, hangs or is not there."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (subprocess.TimeoutExpired, OSError):
        return None
    return done.stdout if done.returncode == 0 else None


class SlurmQueue:
    """squeue and scancel."""

    def jobs(self) -> Mapping[str, QueuedJob] | None:
        text = _ask("squeue", "--me", "--noheader", "--format=%i|%t|%j")
        return None if text is None else parse_squeue(text)

    def cancel(self, ids: Iterable[str]) -> bool:
        wanted = sorted(ids)
        return not wanted or _ask("scancel", *wanted) is not None


class PbsQueue:
    """qstat and qdel of PBS Pro and OpenPBS."""

    def jobs(self) -> Mapping[str, QueuedJob] | None:
        text = _ask("qstat", "-f", "-F", "json")
        try:
            return None if text is None else parse_qstat(text)
        except (json.JSONDecodeError, AttributeError, KeyError):
            return None

    def cancel(self, ids: Iterable[str]) -> bool:
        wanted = sorted(ids)
        return not wanted or _ask("qdel", *wanted) is not None


def short_id(job: str) -> str:
    """The number of a job: PBS writes its server's name behind it, sometimes in full and sometimes
    not.
    """
    return job.partition(".")[0]


_SLURM_OVER = {"CA", "CD", "F", "TO", "NF", "BF", "DL", "OOM", "PR", "RV", "SE"}


def parse_squeue(text: str) -> dict[str, QueuedJob]:
    """The lines ``id|state|name`` of squeue (states as in its manual, JOB STATE CODES)."""
    found = {}
    for line in text.splitlines():
        job, separator, rest = line.strip().partition("|")
        state, _, name = rest.partition("|")
        if separator and state not in _SLURM_OVER:
            found[job] = QueuedJob(name, state in ("R", "CG", "S", "ST"))
    return found


def parse_qstat(text: str) -> dict[str, QueuedJob]:
    """The JSON of ``qstat -f -F json`` (states as in qstat(1B): Q, H, W, T wait; R, E, S, U, B run;
    F, X are over).
    """
    listed = json.loads(text).get("Jobs", {}) if text.strip() else {}
    return {
        short_id(job): QueuedJob(
            facts.get("Job_Name", ""), facts["job_state"] in ("R", "E", "S", "U", "B")
        )
        for job, facts in listed.items()
        if facts["job_state"] not in ("F", "X")
    }
