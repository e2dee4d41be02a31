"""What MD did at each condition of the plan, over all of its visits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlip_autopipec.campaign.exploring import explored, visits
from mlip_autopipec.campaign.results import HarvestResult, VisitJudged
from mlip_autopipec.campaign.state import CampaignState, MdCandidate, TaskRecord
from mlip_autopipec.config.plan import Condition, Plan
from mlip_autopipec.report.rows import ConditionRow

__all__ = ["conditions"]


def conditions(plan: Plan, state: CampaignState) -> tuple[ConditionRow, ...]:
    """MD at each condition of the plan."""
    judged = _judged(state)
    pending = state.pending_candidates()
    return tuple(_row(plan, state, c, judged, pending) for c in plan.exploration.conditions)


def _judged(state: CampaignState) -> dict[str, VisitJudged]:
    """Visit -> what its frames showed, by the last harvest that judged it."""
    done = (record for record in state.of_kind("harvest") if record.status == "done")
    return {
        told.visit: told
        for record in done
        for told in HarvestResult.from_json(record.result).explored
    }


def _row(
    plan: Plan,
    state: CampaignState,
    condition: Condition,
    judged: dict[str, VisitJudged],
    pending: Iterable[MdCandidate],
) -> ConditionRow:
    records = visits(state, condition)
    own = {record.task.id for record in records}
    told = [judged[name] for name in own if name in judged]
    newest = records[-1] if records else None
    asked_for = [item for item in state.md_candidates if item.task_id in own]
    return ConditionRow(
        name=condition.name,
        state=_word(plan, state, condition, newest),
        visits=len(records),
        clean_ps=None if newest is None else _newest(newest, "clean_ps"),
        ps=_sum(_time_ps(record) for record in records),
        gamma_max=_largest(_grade(record) for record in records),
        frames=sum(item.frames for item in told),
        unknown=sum(item.unknown for item in told) + len(asked_for),
        unjudged=sum(item.task_id in own for item in pending),
        potential=None if newest is None else _newest(newest, "potential"),
    )


def _word(plan: Plan, state: CampaignState, condition: Condition, newest: TaskRecord | None) -> str:
    if explored(plan, state, condition):
        return "explored"
    if newest is None:
        return "not visited"
    return newest.status if newest.status != "done" else "visited"


def _newest(record: TaskRecord, key: str) -> Any:
    """Of the result of a visit, else of its last line of progress."""
    if record.status == "done":
        return record.result.get(key)
    progress = record.attempts[-1].progress if record.attempts else None
    return getattr(progress, key, None)


def _time_ps(record: TaskRecord) -> float | None:
    """MD of all attempts; each begins anew."""
    last = _newest(record, "ps") if record.status == "done" else None
    earlier = record.attempts[:-1] if last is not None else record.attempts
    return _sum([last, *(a.progress.ps for a in earlier if a.progress is not None)])


def _grade(record: TaskRecord) -> float | None:
    """The largest that any attempt told of: results name that of the last potential alone."""
    last = record.result.get("gamma_max") if record.status == "done" else None
    return _largest([last, *(attempt.gamma_max for attempt in record.attempts)])


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
