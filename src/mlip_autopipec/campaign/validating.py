"""What the potential is validated against, calculated by DFT and never fitted; and the validation
of each potential.

Properties say which structures they need, some of them in steps: what comes next follows from the
answers.
"""

from __future__ import annotations

from mlip_autopipec.base.labels import LabelJob, PotentialRef
from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.labels import label_task
from mlip_autopipec.campaign.payloads import LabelPayload, ValidatePayload
from mlip_autopipec.campaign.properties import labels_of, next_questions, owed, source_of
from mlip_autopipec.campaign.schedule import (
    PRIORITY,
    PRIORITY_FIRST_ANSWER,
    PRIORITY_VALIDATION_LABEL,
)
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.campaign.stopping import verdict
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
    """Compare the potential in force with what DFT says of every property, once all its labels have
    ended; and try it at the release gate once nothing else is missing.

    ``closing``: with the labels there are, also when others were still to be planned, and the gate
    in any case.
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
    potential = state.potentials[-1]
    gate = closing or verdict(plan, state, potential).gate_alone_is_missing
    return [_validation_task(plan, state, potential, labels, source.task.id, gate=gate)]


def _validation_task(
    plan: Plan,
    state: CampaignState,
    potential: PotentialRef,
    labels: dict[str, tuple[str, ...]],
    source: str,
    *,
    gate: bool,
) -> Task:
    atoms = _isolated_atoms(state) if gate else ()
    payload = ValidatePayload(potential.folder, labels, source, gate=gate, atoms=atoms).to_json()
    needs = (*(task_id for ids in labels.values() for task_id in ids), source, *atoms)
    return Task("validate", payload, needs, priority=PRIORITY["validate"])


def _isolated_atoms(state: CampaignState) -> tuple[str, ...]:
    """Ids of finished labels of single atoms in empty space."""
    return tuple(
        record.task.id
        for record in state.labels("train")
        if record.status == "done"
        and len(record.asked(LabelPayload).numbers) == 1
        and not record.asked(LabelPayload).candidate.atoms.pbc.any()
    )
