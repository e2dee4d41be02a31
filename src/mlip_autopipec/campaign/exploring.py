"""MD over the asked conditions, and the harvest of what it did not know."""

from __future__ import annotations

from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.payloads import ExplorePayload, HarvestPayload
from mlip_autopipec.campaign.schedule import PRIORITY
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Condition, Plan
from mlip_autopipec.engines.ports import MdResult

__all__ = ["explore", "harvest", "passed", "unpassed_conditions"]


def passed(plan: Plan, state: CampaignState, condition: Condition) -> bool:
    """Whether MD was clean at this condition with one of the last potentials of the kind now in
    use.

    ``plan.convergence.rounds`` says how many potentials back a clean run still counts.
    """
    if state.current is None:
        return False
    kind = [
        potential.name
        for potential in state.potentials
        if potential.trainer == state.current.trainer
    ]
    recent = set(kind[-plan.convergence.rounds :])
    return any(result.clean and result.potential in recent for result in _results(state, condition))


def visits(state: CampaignState, condition: Condition) -> list[TaskRecord]:
    """All MD tasks at a condition, oldest first."""
    return [
        record
        for record in state.of_kind("explore")
        if record.asked(ExplorePayload).condition.name == condition.name
    ]


def _results(state: CampaignState, condition: Condition) -> list[MdResult]:
    """Of the finished MD tasks at a condition, oldest first."""
    done = [record for record in visits(state, condition) if record.status == "done"]
    return [MdResult.from_json(record.result) for record in done]


def unpassed_conditions(plan: Plan, state: CampaignState) -> list[str]:
    return [c.name for c in plan.exploration.conditions if not passed(plan, state, c)]


def explore(plan: Plan, state: CampaignState) -> list[Task]:
    """MD at the first condition that is not clean yet; a second one only when the machine has
    nothing else to do.

    MD that waits for a better potential leaves its core to other conditions. While a potential is
    being trained and no MD waits for it, MD goes on at the last condition even when all are clean,
    because it is running MD that it has to serve.
    """
    crystal = next(
        (record for record in state.of_kind("generate") if record.status == "done"), None
    )
    if crystal is None or not state.potentials:
        return []
    busy = [record for record in state.active() if record.task.kind != "explore"]
    limit = max(1, plan.executor.cores - 1) if busy else plan.executor.cores
    asleep = sum(
        attempt.waiting for record, attempt in state.running() if record.task.kind == "explore"
    )
    free = limit - len(state.active("explore")) + asleep
    if free <= 0:
        return []
    wanted = [
        c
        for c in plan.exploration.conditions
        if not passed(plan, state, c) and _may_visit(plan, state, c)
    ]
    if not wanted and state.active("train") and not state.active("explore"):
        wanted = [plan.exploration.conditions[-1]]
    open_names = {record.asked(ExplorePayload).condition.name for record in state.active("explore")}
    wanted = [condition for condition in wanted if condition.name not in open_names]
    return [_visit(plan, state, condition, crystal.task.id) for condition in wanted[:free]]


def _may_visit(plan: Plan, state: CampaignState, condition: Condition) -> bool:
    """Not again with the potential that was unclean here, and not after ``rules.failed_visits``
    that failed altogether.

    What an unclean visit met is on its way to DFT: meeting it again would teach nothing.
    """
    assert state.current is not None
    failed = [record for record in visits(state, condition) if record.status == "quarantined"]
    unclean = any(
        not result.clean and result.potential == state.current.name
        for result in _results(state, condition)
    )
    return len(failed) < plan.rules.failed_visits and not unclean


def _visit(plan: Plan, state: CampaignState, condition: Condition, crystal: str) -> Task:
    number = len(visits(state, condition))
    index = [item.name for item in plan.exploration.conditions].index(condition.name)
    payload = ExplorePayload(condition, number, seed=plan.seed + 1000 * (index + 1) + number)
    return Task("explore", payload.to_json(), (crystal,), priority=PRIORITY["explore"])


def harvest(plan: Plan, state: CampaignState) -> list[Task]:
    """Cut what MD streamed into cells for DFT: when enough has gathered, or MD waits or has ended.

    Not while labels are on their way or a fit runs: the next potential may know these environments
    already.
    """
    pending = state.pending_candidates()
    labelling = any(not record.ended for record in state.labels("train"))
    if (
        not pending
        or labelling
        or state.active("harvest")
        or state.active("train")
        or state.current is None
    ):
        return []
    md_open = [
        attempt
        for record, attempt in state.running()
        if record.task.kind == "explore" and not attempt.waiting
    ]
    if md_open and len(pending) < plan.selection.batch_count:
        return []
    count = min(plan.selection.batch_count, room(plan, state))
    if count <= 0:
        return []
    batch = len(state.of_kind("harvest"))
    payload = HarvestPayload(
        batch=batch,
        files=tuple(candidate.file for candidate in pending),
        potential=state.current.folder,
        count=count,
        seed=plan.seed + batch,
    )
    return [Task("harvest", payload.to_json(), priority=PRIORITY["harvest"])]
