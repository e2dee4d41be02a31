"""More of the generated candidates: another batch, when nothing else is left to learn."""

from __future__ import annotations

from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.first_set import generated
from mlip_autopipec.campaign.payloads import LabelPayload, SelectPayload
from mlip_autopipec.campaign.results import SelectResult
from mlip_autopipec.campaign.schedule import PRIORITY
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan

__all__ = ["widen"]


def widen(plan: Plan, state: CampaignState) -> list[Task]:
    """Another batch of generated candidates, by ``selection.later_method``."""
    labelled = tuple(record.task.id for record in state.labels("train") if record.status == "done")
    count = min(plan.selection.batch_count, room(plan, state))
    pool_is_empty = any(
        record.status == "done" and not SelectResult.from_json(record.result).stored_candidates
        for record in state.of_kind("select")
    )
    if not labelled or count <= 0 or pool_is_empty:
        return []
    batch = len(state.of_kind("select"))
    payload = SelectPayload(
        count=count,
        method=plan.selection.later_method,
        random_fraction=plan.selection.random_fraction,
        seed=plan.seed + batch,
        existing=labelled,
        refused=tuple(
            record.asked(LabelPayload).atoms_hash
            for record in state.labels("train")
            if record.status == "quarantined"
        ),
    )
    pool = tuple(record.task.id for record in generated(state))
    return [Task("select", payload.to_json(), (*pool, *labelled), priority=PRIORITY["select"])]
