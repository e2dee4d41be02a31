"""An executor in this process, for tests of whole campaigns."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from mlip_autopipec.runtime import worker
from mlip_autopipec.runtime.executors.ports import JobRequest
from mlip_autopipec.tasks.table import HANDLERS

__all__ = ["Threads"]


class Threads:
    """Jobs are threads of this process: the workers' imports are paid once."""

    def __init__(self) -> None:
        self.jobs: dict[str, threading.Thread] = {}

    def submit(self, request: JobRequest) -> str:
        job = f"thread-{len(self.jobs)}"
        self.jobs[job] = threading.Thread(
            target=worker.main, args=(request.folder, HANDLERS), daemon=True
        )
        self.jobs[job].start()
        return job

    def poll(self, ids: Iterable[str]) -> Mapping[str, bool]:
        return {job: self.jobs[job].is_alive() for job in ids}

    def cancel(self, ids: Iterable[str]) -> None:
        """Threads end by themselves."""
