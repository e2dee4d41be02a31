"""The executor port: opaque commands in, job ids out. It knows no science."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from mlip_autopipec.config.executors import ExecutorPlan

__all__ = ["Executor", "ExecutorSetup", "JobRequest"]


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A command to run in ``folder``; ``name`` is unique and lets a restarted driver find the job
    again.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    cores: int = 1


@dataclass(frozen=True, slots=True)
class ExecutorSetup:
    """What an executor is made with: ``Class(setup)``.

    ``root``: the run folder, where it may keep notes that a restarted driver reads; ``section``:
    the plan's ``executor`` section; ``task_cores`` and ``reserve_s``: cores and longest duration of
    one calculation.
    """

    root: Path
    section: ExecutorPlan
    task_cores: int
    reserve_s: float


@runtime_checkable
class Executor(Protocol):
    """One that has a method ``close()`` is closed when the driver ends, however that comes."""

    def submit(self, request: JobRequest) -> str:
        """Start or queue the job; returns its id."""
        ...

    def poll(self, ids: Iterable[str]) -> Mapping[str, bool]:
        """id -> whether the job still waits or runs. Says nothing about success."""
        ...

    def cancel(self, ids: Iterable[str]) -> None:
        """End these jobs and everything they started."""
        ...
