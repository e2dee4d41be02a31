"""DFT calculations of candidates: what the first selection, every later one and the harvest of MD
chose.
"""

from __future__ import annotations

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import Task, TaskKind
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.campaign.schedule import PRIORITY_HARVEST_LABEL, PRIORITY_LABEL
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan

__all__ = ["harvested_labels", "label_task", "selected_labels"]


def selected_labels(plan: Plan, state: CampaignState) -> list[Task]:
    """Labels of what selections of the generated candidates chose."""
    return _labels_of(plan, state, "select", PRIORITY_LABEL)


def harvested_labels(plan: Plan, state: CampaignState) -> list[Task]:
    """Labels of what MD did not know."""
    return _labels_of(plan, state, "harvest", PRIORITY_HARVEST_LABEL)


def _labels_of(plan: Plan, state: CampaignState, source: TaskKind, priority: int) -> list[Task]:
    """Labels of the candidates that finished tasks of a kind proposed, as far as the budget of DFT
    calls goes.
    """
    tasks = [label_task(plan, item, "train", priority) for item in state.unlabelled(source)]
    new = [task for task in tasks if not state.is_planned(task)]
    return new[: max(0, room(plan, state))]


def label_task(
    plan: Plan,
    candidate: Json,
    purpose: str,
    priority: int,
    job: LabelJob | None = None,
    of_property: str | None = None,
) -> Task:
    """The DFT calculation of a candidate (as JSON) with the campaign's method; ``of_property``: the
    property that it belongs to.
    """
    job = job or LabelJob(Candidate.from_json(candidate).atoms, plan.dft.label_method())
    payload = LabelPayload(job.to_json(), purpose, candidate, of_property)
    return Task("label", payload.to_json(), cores=plan.dft.cores, priority=priority)
