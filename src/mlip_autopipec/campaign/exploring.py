"""MD over the conditions of the plan, and the harvest of what it met."""

from __future__ import annotations

from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.judging import errors_at, within
from mlip_autopipec.campaign.payloads import ExplorePayload, HarvestPayload
from mlip_autopipec.campaign.properties import volume_ratio
from mlip_autopipec.campaign.schedule import PRIORITY
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Condition, Plan
from mlip_autopipec.engines.ports import MdResult

__all__ = ["explore", "explored", "harvest", "unexplored_conditions", "visits"]


def explored(
    plan: Plan, state: CampaignState, condition: Condition, potential: str | None = None
) -> bool:
    """Whether MD made its whole run at this condition under ``potential`` (default: the one in
    force) and met hardly anything that the potential does not know.
    """
    if state.current is None:
        return False
    name = potential or state.current.name
    told = state.judged.get((condition.name, name))
    if told is None or not told.complete or not told.frames:
        return False
    return told.unknown <= plan.convergence.unknown_share * told.frames


def unexplored_conditions(plan: Plan, state: CampaignState) -> list[str]:
    return [c.name for c in plan.exploration.conditions if not explored(plan, state, c)]


def visits(state: CampaignState, condition: Condition) -> list[TaskRecord]:
    """All MD tasks at a condition, oldest first."""
    return [
        record
        for record in state.of_kind("explore")
        if record.asked(ExplorePayload).condition.name == condition.name
    ]


def explore(plan: Plan, state: CampaignState) -> list[Task]:
    """MD at each condition once under every potential, as far as cores are free.

    MD that waits for a better potential leaves its core to other conditions. While a fit runs, MD
    at the last condition goes on until the new potential is in force, and makes its run under
    that: a potential that is about to be replaced is explored no further.
    """
    crystal = next(
        (record for record in state.of_kind("generate") if record.status == "done"), None
    )
    if crystal is None or state.current is None:
        return []
    busy = [record for record in state.active() if record.task.kind != "explore"]
    limit = max(1, plan.executor.cores - 1) if busy else plan.executor.cores
    asleep = sum(
        attempt.waiting for record, attempt in state.running() if record.task.kind == "explore"
    )
    free = limit - len(state.active("explore")) + asleep
    if free <= 0:
        return []
    serve = state.current.name if state.active("train") else None
    if serve:
        if state.active("explore"):
            return []
        wanted = list(plan.exploration.conditions[-1:])
    else:
        wanted = [c for c in plan.exploration.conditions if _to_visit(plan, state, c)]
    return [_visit(plan, state, condition, crystal.task.id, serve) for condition in wanted[:free]]


def _to_visit(plan: Plan, state: CampaignState, condition: Condition) -> bool:
    """Not visited under the potential in force, nor about to be, and not given up."""
    assert state.current is not None
    records = visits(state, condition)
    if any(not record.ended for record in records):
        return False
    made = any(
        MdResult.from_json(record.result).potential == state.current.name
        for record in records
        if record.status == "done"
    )
    failed = sum(record.status == "quarantined" for record in records)
    return not made and failed < plan.rules.failed_visits


def _visit(
    plan: Plan, state: CampaignState, condition: Condition, crystal: str, serve: str | None
) -> Task:
    number = len(visits(state, condition))
    index = [item.name for item in plan.exploration.conditions].index(condition.name)
    seed = plan.seed + 1000 * (index + 1) + number
    payload = ExplorePayload(condition, number, seed, serve, volume_ratio(plan, state))
    return Task("explore", payload.to_json(), (crystal,), priority=PRIORITY["explore"])


def harvest(plan: Plan, state: CampaignState, *, closing: bool = False) -> list[Task]:
    """Judge what MD met under the potential in force, and choose what is labelled: once every
    condition was visited, or MD there broke and waits.

    Not while labels are on their way or a fit runs: the next potential may know it already.
    ``closing``: judge alone, label nothing.
    """
    if (
        state.current is None
        or state.active("harvest")
        or state.active("train")
        or any(not record.ended for record in state.labels("train"))
    ):
        return []
    moving = [
        attempt
        for record, attempt in state.running()
        if record.task.kind == "explore" and not attempt.waiting
    ]
    queued = [record for record in state.with_status("queued") if record.task.kind == "explore"]
    to_come = any(_to_visit(plan, state, c) for c in plan.exploration.conditions)
    ended = _unharvested(state)
    pending = state.pending_candidates()
    if moving or queued or to_come or not (ended or pending):
        return []
    left = 0 if closing else max(0, room(plan, state))
    chance = _by_chance(plan, state, left)
    batch = len(state.of_kind("harvest"))
    payload = HarvestPayload(
        batch=batch,
        files=tuple(candidate.file for candidate in pending),
        potential=state.current.folder,
        count=min(plan.selection.batch_count, left - sum(chance.values())),
        seed=plan.seed + batch,
        visits=tuple(record.task.id for record in ended),
        on_policy=chance,
    )
    needs = tuple(record.task.id for record in ended)
    return [Task("harvest", payload.to_json(), needs, priority=PRIORITY["harvest"])]


def _unharvested(state: CampaignState) -> list[TaskRecord]:
    """Ended visits that no harvest has judged."""
    taken = {
        name for record in state.of_kind("harvest") for name in record.asked(HarvestPayload).visits
    }
    return [
        record
        for record in state.of_kind("explore")
        if record.status == "done" and record.task.id not in taken
    ]


def _by_chance(plan: Plan, state: CampaignState, left: int) -> dict[str, int]:
    """Condition -> frames that are drawn there by chance: where the errors of the potential in
    force are not known well enough, or not yet small enough.
    """
    found: dict[str, int] = {}
    for condition in plan.exploration.conditions:
        if condition.role != "asked":
            continue
        errors = errors_at(state.current, condition.name)
        if within(errors, plan.convergence):
            continue
        count = min(plan.rules.on_policy_per_visit, left - sum(found.values()))
        if count > 0:
            found[condition.name] = count
    return found
