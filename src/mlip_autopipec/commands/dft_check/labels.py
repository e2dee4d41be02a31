"""Labels of a convergence series, made by the DFT factory: side by side, healed, and none of them
twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.tasks import Failure, Task
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.commands.label.work import Labelling, given
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.config.plan import DftPlan, ExecutorPlan
from mlip_autopipec.report import status
from mlip_autopipec.runtime.driver import carry_out
from mlip_autopipec.runtime.executors.ports import Executor
from mlip_autopipec.runtime.work import History

__all__ = ["SeriesLabels"]

TICK_S = 0.2


class SeriesLabels:
    """Labels jobs of several methods below ``folder``; what was calculated there before is read.

    ``dft``: engine, wall time and attempts of each job (the method is the job's own).
    ``calculations`` and ``cpu_s``: attempts started and CPU seconds used in the folder so far, by
    all calls.
    """

    def __init__(
        self,
        folder: Path,
        dft: DftPlan,
        executor: ExecutorPlan,
        *,
        progress: Progress | None = None,
        runner: Executor | None = None,
    ) -> None:
        self.folder = folder / f"calculations-{dft.method_hash}"
        self.plan = LabelPlan(name="convergence", elements=(), dft=dft, executor=executor)
        self.calculations, self.cpu_s = 0, 0.0
        self._progress, self._runner = progress, runner

    def __call__(self, jobs: Sequence[LabelJob]) -> list[Label | Failure]:
        """The label of each job, or the failure that was left.

        Raises KeyboardInterrupt when the user stopped it.
        """
        tasks = [_task(job, self.plan.dft.cores) for job in jobs]
        work = _Work(self.plan, {task.id: task for task in tasks}, {})
        end = carry_out(
            work, self.folder, progress=self._progress, executor=self._runner, tick_s=TICK_S
        )
        self.calculations, self.cpu_s = end["calculations"], end["cpu_s"]
        if end["end_state"] is None:
            raise KeyboardInterrupt
        return [_found(work.records.get(task.id), end["reason"]) for task in tasks]


def _task(job: LabelJob, cores: int) -> Task:
    candidate = given(job.atoms, atoms_to_json(job.atoms)).to_json()
    payload = LabelPayload(job.to_json(), stored_candidate=candidate)
    return Task("label", payload.to_json(), cores=cores)


def _found(record: TaskRecord | None, reason: str) -> Label | Failure:
    if record is None or not record.ended:
        return Failure("unfinished", reason)
    return Label.from_json(record.result) if record.status == "done" else record.failures[-1]


class _Work(Labelling):
    """Labelling that hands its results over in memory: labels of many methods are no data set."""

    records: dict[str, TaskRecord]

    def write_result(
        self, root: Path, state: CampaignState, history: History, elapsed_s: float
    ) -> Json:
        self.records = dict(state.tasks)
        return {
            "end_state": state.end.end_state if state.end else None,
            "reason": state.end.reason
            if state.end
            else "stopped by the user; the same command goes on",
            "calculations": state.dft_calls,
            "cpu_s": 3600 * sum(status.core_hours(state).values()),
        }
