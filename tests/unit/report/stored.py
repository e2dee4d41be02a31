"""The log of a real run, folded; and the same with failures that the product judged and healed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlip_autopipec.base.tasks import Evidence, Failure, Outcome
from mlip_autopipec.campaign.attempts import judge_attempt
from mlip_autopipec.campaign.events import AttemptEnded, AttemptPlanned, AttemptSubmitted, Event
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.label_plan import read_plan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.report import status as reporting
from mlip_autopipec.report.values import Status
from mlip_autopipec.runtime.store import EventStore

History = list[tuple[float, Event]]

UNCONVERGED = Failure(
    "scf_not_converged",
    "convergence NOT achieved after 100 iterations: stopping",
    (Evidence("pw.out", 412, "     convergence NOT achieved after 100 iterations: stopping"),),
)
OVERLAP = Failure("geometry", "atoms overlap")


@dataclass
class Run:
    """A folded log. ``state`` is that after the last event of ``history``."""

    plan: Plan
    state: CampaignState
    history: History

    def status(self, **changes) -> Status:
        wall_s = self.history[-1][0] - self.history[0][0]
        shown = reporting.status(self.plan, self.state, self.history, wall_s)
        return replace(shown, **changes)


def load(root: Path) -> Run:
    """The run in the folder ``root``."""
    store = EventStore(root / "campaign.db")
    try:
        history = store.load()
    finally:
        store.close()
    plan = read_plan(root / "plan.json")
    assert isinstance(plan, Plan)
    return folded(plan, history)


def folded(plan: Plan, history: Sequence[tuple[float, Event]]) -> Run:
    state = CampaignState()
    for _, event in history:
        state.apply(event)
    return Run(plan, state, list(history))


def until(run: Run, moment_s: float) -> Run:
    """The run as it stood ``moment_s`` seconds after its begin."""
    begin = run.history[0][0]
    return folded(run.plan, [item for item in run.history if item[0] - begin <= moment_s])


def troubled(run: Run) -> Run:
    """The same run had its first label not converged at once (six minutes of CPU time; healed by
    the engine's own cure), and the second one overlapping atoms (given up).
    """
    first, second = (record.task.id for record in run.state.of_kind("label")[:2])
    history: History = []
    state = CampaignState()

    def record(when: float, event: Event) -> None:
        state.apply(event)
        history.append((when, event))

    def judged(task_id: str, failure: Failure, cpu_s: float) -> AttemptEnded:
        outcome = Outcome(None, failure, wall_s=cpu_s, cpu_s=cpu_s)
        repair = registry.dft_engine(run.plan.dft.engine).repair
        return judge_attempt(run.plan, state.tasks[task_id], outcome, repair)

    for when, event in run.history:
        if isinstance(event, AttemptEnded) and event.task_id == first:
            record(when, judged(first, UNCONVERGED, 360.0))
            record(when, AttemptPlanned(first, 2))
            record(when, AttemptSubmitted(first, 2, "job"))
            record(when, replace(event, attempt=2))
        elif isinstance(event, AttemptEnded) and event.task_id == second:
            record(when, judged(second, OVERLAP, 36.0))
        else:
            record(when, event)
    return Run(run.plan, state, history)
