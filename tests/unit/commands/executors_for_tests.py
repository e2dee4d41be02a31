"""An executor without processes: every attempt ends when it is submitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.runtime.executors.ports import JobRequest

__all__ = ["Instant"]


class Instant:
    """Energy -1 eV per atom, forces 0.1 eV/Å, stress 0..5; or the failure of
    ``failing(attempt)``.
    """

    def __init__(self, failing: Callable[[int], Failure] | None = None) -> None:
        self.failing, self.names = failing, list[str]()

    def submit(self, request: JobRequest) -> str:
        self.names.append(request.name)
        spec = json.loads((request.folder / "spec.json").read_text())
        job = LabelJob.from_json(spec["payload"]["job"])
        count = len(job.atoms)
        label = Label(
            -1.0 * count, np.full((count, 3), 0.1), np.arange(6.0), job.method_hash, 7, 0.0
        )
        outcome = (
            Outcome(None, self.failing(spec["attempt"]))
            if self.failing
            else Outcome(label.to_json())
        )
        (request.folder / "outcome.json").write_text(json.dumps(outcome.to_json()))
        return request.name

    def poll(self, ids: Iterable[str]) -> Mapping[str, bool]:
        return dict.fromkeys(ids, False)

    def cancel(self, ids: Iterable[str]) -> None:
        return None
