"""What the driver can carry out: the active-learning loop, or anything else that answers the same questions.

The driver knows processes, clocks and the log; a :class:`Work` knows which tasks should exist and what to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlip_autopipec.campaign.commands import Command
from mlip_autopipec.campaign.decide import decide
from mlip_autopipec.campaign.events import Event, SettingsChecked
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config import convergence
from mlip_autopipec.config.files import write_plan
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.errors import CampaignStateError, InputError
from mlip_autopipec.files import atomic_write, read_json
from mlip_autopipec.runtime import layout, publish, snapshot
from mlip_autopipec.runtime.summary import write_campaign_result
from mlip_autopipec.types import Json, PotentialRef

__all__ = ["ActiveLearning", "History", "Work", "check_made"]

History = Sequence[tuple[float, Event]]


class Work(Protocol):
    """One kind of campaign. ``elapsed_s``: wall time over all drivers; ``history``: events with their times."""

    @property
    def plan(self) -> Plan | LabelPlan: ...

    def settle(self, root: Path) -> None:
        """Write the plan into the run folder. Raises CampaignStateError when the folder belongs to another one."""
        ...

    def earlier(self, root: Path, state: CampaignState) -> list[Event]:
        """Facts from before the log began that it still lacks."""
        ...

    def is_over(self, state: CampaignState) -> bool:
        """Whether an earlier driver ended everything, so that there is nothing to go on with."""
        ...

    def decide(self, state: CampaignState, elapsed_s: float) -> list[Command]: ...

    def startable_attempts(self, state: CampaignState, elapsed_s: float) -> int | None:
        """How many more attempts may be started; None for no limit."""
        ...

    def publish(self, root: Path, record: TaskRecord, number: int) -> PotentialRef:
        """Place the potential of a finished fit and make it the one in force."""
        ...

    def describe(self, event: Event, state: CampaignState) -> str | None:
        """An event in a line, or None."""
        ...

    def status(self, state: CampaignState, history: History, elapsed_s: float) -> Json: ...

    def line(self, status: Json) -> str:
        """The progress line."""
        ...

    def write_result(self, root: Path, state: CampaignState, history: History, elapsed_s: float) -> Json: ...

    def write_stopped(self, root: Path, state: CampaignState, history: History, elapsed_s: float) -> Json:
        """What is left behind when the user stops the run; ``end_state`` is None in it."""
        ...


def check_made(plan: Plan | LabelPlan, root: Path, state: CampaignState) -> list[Event]:
    """What the convergence check in the run folder has cost, unless the log knows it or none was made here."""
    table = root / convergence.FOLDER / convergence.RESULT
    if plan.dft.convergence != "checked" or state.settings_checked is not None or not table.exists():
        return []
    result = read_json(table)
    return [SettingsChecked(result["calculations"], result["cpu_s"])]


@dataclass(frozen=True)
class ActiveLearning:
    """The loop of :mod:`mlip_autopipec.campaign.decide`. ``reasons``: dotted key of the plan -> why."""

    plan: Plan
    reasons: Mapping[str, str]

    def settle(self, root: Path) -> None:
        """Write the plan, or check that the folder was begun with the same one (limits may differ).

        Raises InputError for a plan that still waits for its convergence check.
        """
        if self.plan.dft.convergence == "check":
            hint = "start it with mlip-auto run or WorkflowManager"
            raise InputError("the convergence check was not made", key="dft.convergence", hint=hint)
        path = root / layout.PLAN_JSON
        begun = Plan.model_validate(read_json(path)) if path.exists() else None
        if begun is not None and begun.hash != self.plan.hash:
            raise CampaignStateError(f"{root} was begun with another plan; choose another name, or remove the folder")
        if begun != self.plan or not (root / layout.PLAN_YAML).exists():
            write_plan(self.plan, dict(self.reasons), root / layout.PLAN_YAML)
        atomic_write(path, self.plan.model_dump_json(indent=1))

    def earlier(self, root: Path, state: CampaignState) -> list[Event]:
        return check_made(self.plan, root, state)

    def is_over(self, state: CampaignState) -> bool:
        """Ended, and the limits are still the same."""
        end = state.end
        same = state.budget == self.plan.budget.model_dump(mode="json")
        return end is not None and (end.end_state == "converged" or (same and end.end_state != "needs_attention"))

    def decide(self, state: CampaignState, elapsed_s: float) -> list[Command]:
        return decide(self.plan, state, elapsed_s)

    def startable_attempts(self, state: CampaignState, elapsed_s: float) -> int | None:
        return None  # the budget is a matter of which tasks are planned

    def publish(self, root: Path, record: TaskRecord, number: int) -> PotentialRef:
        potential = publish.place(root, self.plan, record, number)
        publish.point_at(root, potential)
        return potential

    def describe(self, event: Event, state: CampaignState) -> str | None:
        return snapshot.describe(event, state)

    def status(self, state: CampaignState, history: History, elapsed_s: float) -> Json:
        return snapshot.status(self.plan, state, history, elapsed_s)

    def line(self, status: Json) -> str:
        return snapshot.line(status)

    def write_result(self, root: Path, state: CampaignState, history: History, elapsed_s: float) -> Json:
        return write_campaign_result(root, self.plan, state, history, elapsed_s)

    def write_stopped(self, root: Path, state: CampaignState, history: History, elapsed_s: float) -> Json:
        return {"end_state": None, "reason": "stopped by the user; the same command goes on"}
