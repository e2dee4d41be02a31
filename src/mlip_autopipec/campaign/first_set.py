"""Before anything is labelled: candidates by the surrogate, and the diverse few of them that are
labelled first.
"""

from __future__ import annotations

from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.payloads import GeneratePayload, SelectPayload
from mlip_autopipec.campaign.schedule import PRIORITY
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Plan

__all__ = ["generate", "generated", "select"]


def generate(plan: Plan, state: CampaignState) -> list[Task]:
    """One task for each batch of generation strategies; all of them side by side, so that they
    share the cores.
    """
    cores = min(plan.executor.cores, plan.executor.cores_per_node or plan.executor.cores)
    return [
        Task(
            "generate",
            GeneratePayload(i, tuple(batch), seed=plan.seed + i).to_json(),
            cores=max(1, cores // len(plan.generation.batches)),
            priority=PRIORITY["generate"],
        )
        for i, batch in enumerate(plan.generation.batches)
    ]


def generated(state: CampaignState) -> list[TaskRecord]:
    """Finished generation tasks; empty while any is still open."""
    records = state.of_kind("generate")
    if not records or not all(record.ended for record in records):
        return []
    return [record for record in records if record.status == "done"]


def select(plan: Plan, state: CampaignState) -> list[Task]:
    """Thin the candidates of all generation tasks to the first training set, by
    ``selection.method``.
    """
    needs = tuple(record.task.id for record in generated(state))
    if state.of_kind("select") or not needs:
        return []
    payload = SelectPayload(
        count=min(plan.selection.initial_count, room(plan, state)),
        method=plan.selection.method,
        random_fraction=plan.selection.random_fraction,
        seed=plan.seed,
    )
    return [Task("select", payload.to_json(), needs, priority=PRIORITY["select"])]
