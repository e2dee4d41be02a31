"""A queue of a cluster as the tests want it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlip_autopipec.runtime.executors.parsl.queues import QueuedJob

__all__ = ["SLURM", "FakeQueue"]

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
