"""What the potential is validated against, calculated by DFT and never fitted; and the validation
of each potential.

Properties say which structures they need, some of them in steps: what comes next follows from the
answers.
"""

from __future__ import annotations

from mlip_autopipec.base.labels import LabelJob, PotentialRef
from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.labels import label_task
from mlip_autopipec.campaign.payloads import ValidatePayload
from mlip_autopipec.campaign.properties import labels_of, next_questions, owed, source_of
from mlip_autopipec.campaign.schedule import (
    PRIORITY,
    PRIORITY_FIRST_ANSWER,
    PRIORITY_VALIDATION_LABEL,
)
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.properties.port import Question

__all__ = ["validate", "validation_labels"]


def validation_labels(plan: Plan, state: CampaignState) -> list[Task]:
    """What of the validation's calculations can be planned now."""
    return [
        _label_task(plan, name, question)
        for name, asked in labels_of(plan, state).items()
        for question in next_questions(plan, state, name, asked)
    ]


def _label_task(plan: Plan, name: str, question: Question) -> Task:
    candidate, cell = question.candidate, question.mesh_of
    mesh = None
    if cell is not None:
        periodic = (bool(cell.pbc[0]), bool(cell.pbc[1]), bool(cell.pbc[2]))
        mesh = plan.dft.method.kmesh(cell.cell.array, periodic)
    job = LabelJob(candidate.atoms, plan.dft.label_method(), kmesh=mesh)
    priority = PRIORITY_FIRST_ANSWER if question.first else PRIORITY_VALIDATION_LABEL
    return label_task(plan, candidate.to_json(), "validate", priority, job=job, of_property=name)


def validate(plan: Plan, state: CampaignState, *, closing: bool = False) -> list[Task]:
    """Compare the last two potentials with what DFT says of every property, once all its labels
    have ended.

    ``closing``: with the labels there are, also when others were still to be planned.
    """
    points = state.labels("validate")
    if not state.potentials or not points or not all(record.ended for record in points):
        return []
    if not closing and owed(plan, state):
        return []
    labels = {
        name: tuple(record.task.id for record in asked if record.status == "done")
        for name, asked in labels_of(plan, state).items()
    }
    labels = {name: ids for name, ids in labels.items() if ids}
    # Every property that was asked starts from the same generation task.
    sources = (source_of(state, plan.validation.each[name]) for name in labels)
    source = next((record for record in sources if record is not None), None)
    if source is None:
        return []
    return [
        _validation_task(potential, labels, source.task.id) for potential in state.potentials[-2:]
    ]


def _validation_task(
    potential: PotentialRef, labels: dict[str, tuple[str, ...]], source: str
) -> Task:
    payload = ValidatePayload(potential.folder, labels, source).to_json()
    needs = (*(task_id for ids in labels.values() for task_id in ids), source)
    return Task("validate", payload, needs, priority=PRIORITY["validate"])
