"""What finished tasks left in their attempt folders, for the tasks that need them."""

from __future__ import annotations

from pathlib import Path

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import Outcome
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.runtime.layout import OUTCOME, SPEC

__all__ = ["SURROGATE_LABELS", "candidate_of", "outcome_of"]

#: File of the first generate task: structures far above the ground state with surrogate labels.
SURROGATE_LABELS = "surrogate_labels.json"


def candidate_of(folder: Path) -> Candidate:
    """The candidate that a label task calculated."""
    # Not the whole specification: naming its task would hash the structure once more.
    return LabelPayload.from_json(read_json(folder / SPEC)["payload"]).candidate


def outcome_of(folder: Path) -> Outcome:
    """How the attempt ended."""
    return Outcome.from_json(read_json(folder / OUTCOME))
