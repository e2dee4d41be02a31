"""Finished label tasks as structures with their labels."""

from __future__ import annotations

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.campaign.state import CampaignState, TaskRecord

__all__ = ["labelled_structure", "labelled_structures"]


def labelled_structure(record: TaskRecord) -> LabelledStructure:
    """The structure and label of a finished label task."""
    candidate = record.asked(LabelPayload).candidate
    label = Label.from_json(record.result)
    return LabelledStructure(
        record.task.id, candidate.atoms, label, candidate.provenance, candidate.core
    )


def labelled_structures(state: CampaignState, purpose: str) -> list[LabelledStructure]:
    return [
        labelled_structure(record) for record in state.labels(purpose) if record.status == "done"
    ]
