"""The active-learning campaign as work for the driver, and the call that carries it to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlip_autopipec.base.errors import CampaignStateError, InputError
from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.base.labels import LabelJob, PotentialRef
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.commands import Command
from mlip_autopipec.campaign.decide import decide
from mlip_autopipec.campaign.events import Event
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.campaign.time_left import TimeLeft
from mlip_autopipec.commands.check_made import check_made
from mlip_autopipec.config.label_plan import read_plan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.yaml import write_plan
from mlip_autopipec.engines import registry
from mlip_autopipec.report import status, words
from mlip_autopipec.report.result_folder import write_campaign_result
from mlip_autopipec.report.values import to_json
from mlip_autopipec.runtime import layout, publish
from mlip_autopipec.runtime.driver import carry_out
from mlip_autopipec.runtime.executors.ports import Executor
from mlip_autopipec.runtime.work import History
from mlip_autopipec.tasks import WORKER

__all__ = ["ActiveLearning", "run_campaign"]


def run_campaign(
    plan: Plan,
    reasons: Mapping[str, str],
    root: Path,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    tick_s: float = 0.5,
) -> Json:
    """Carry ``plan`` to its end in the run folder ``root``, or go on where an earlier driver
    stopped.

    Returns the summary (``result/summary.json``); ``end_state`` is None when the user stopped the
    run. Raises CampaignLockedError when another driver lives, CampaignStateError when the folder
    belongs to another plan.
    """
    return carry_out(
        ActiveLearning(plan, reasons), root, progress=progress, executor=executor, tick_s=tick_s
    )


@dataclass(frozen=True)
class ActiveLearning:
    """The loop of :mod:`mlip_autopipec.campaign.decide`. ``reasons``: dotted key of the plan ->
    why.
    """

    plan: Plan
    reasons: Mapping[str, str]
    worker: tuple[str, ...] = WORKER
    _left: TimeLeft = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_left", TimeLeft(self.plan))

    def settle(self, root: Path) -> None:
        """Write the plan, or check that the folder was begun with the same one (limits may differ).

        Raises InputError for a plan that still waits for its convergence check.
        """
        if self.plan.dft.convergence == "check":
            hint = "start it with mlip-auto run or WorkflowManager"
            raise InputError("the convergence check was not made", key="dft.convergence", hint=hint)
        path = root / layout.PLAN_JSON
        begun = read_plan(path) if path.exists() else None
        if begun is not None and begun.hash != self.plan.hash:
            raise CampaignStateError(
                f"{root} was begun with another plan; choose another name, or remove the folder"
            )
        if begun != self.plan or not (root / layout.PLAN_YAML).exists():
            write_plan(self.plan, dict(self.reasons), root / layout.PLAN_YAML)
        atomic_write(path, self.plan.model_dump_json(indent=1))

    def earlier(self, root: Path, state: CampaignState) -> list[Event]:
        return check_made(self.plan, root, state)

    def is_over(self, state: CampaignState) -> bool:
        """Ended, and the limits are still the same."""
        end = state.end
        same = state.budget == self.plan.budget.model_dump(mode="json")
        return end is not None and (
            end.end_state == "converged" or (same and end.end_state != "needs_attention")
        )

    def decide(self, state: CampaignState, elapsed_s: float) -> list[Command]:
        return decide(self.plan, state, elapsed_s)

    def startable_attempts(self, state: CampaignState, elapsed_s: float) -> int | None:
        return None  # the budget is a matter of which tasks are planned

    def publish(self, root: Path, record: TaskRecord, number: int) -> PotentialRef:
        potential = publish.place(root, self.plan, record, number)
        publish.point_at(root, potential)
        return potential

    def repair(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        return registry.dft_engine(self.plan.dft.engine).repair(job, failures)

    def describe(self, event: Event, state: CampaignState) -> str | None:
        return words.describe(event, state)

    def shown(self, state: CampaignState, history: History, elapsed_s: float) -> tuple[Json, str]:
        shown = status.status(self.plan, state, history, elapsed_s, self._left)
        return to_json(shown), status.line(shown)

    def write_result(
        self, root: Path, state: CampaignState, history: History, elapsed_s: float
    ) -> Json:
        return to_json(write_campaign_result(root, self.plan, state, history, elapsed_s))

    def write_stopped(
        self, root: Path, state: CampaignState, history: History, elapsed_s: float
    ) -> Json:
        return {"end_state": None, "reason": "stopped by the user; the same command goes on"}
