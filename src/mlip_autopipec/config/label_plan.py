"""The plan of a labelling campaign: one DFT method, limits and cores; no loop around it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mlip_autopipec.base.errors import CampaignStateError, InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.problems import validate
from mlip_autopipec.config.plan import DftPlan, ExecutorPlan, Plan
from mlip_autopipec.config.upgrade import upgraded

__all__ = ["LabelBudget", "LabelPlan", "read_plan"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelBudget(_Model):
    """Limits, None for none. ``dft_calls`` counts every started attempt, repairs included."""

    dft_calls: Annotated[int, Field(ge=1)] | None = None
    wall_minutes: Annotated[float, Field(gt=0)] | None = None


class LabelPlan(_Model):
    """How the structures of one folder are labelled. ``elements``: those the method was made for,
    sorted.
    """

    version: Literal[4] = 4
    kind: Literal["labels"] = "labels"
    name: str
    elements: tuple[str, ...]
    dft: DftPlan
    budget: LabelBudget = LabelBudget()
    executor: ExecutorPlan

    @property
    def hash(self) -> str:
        """Identity of the plan: the method alone, so that structures, limits and cores may be
        added.
        """
        return self.dft.method_hash


def read_plan(path: Path) -> Plan | LabelPlan:
    """The plan of a run folder (``plan.json``), of either kind and of any version so far.

    Raises CampaignStateError where it is of a later version than this program knows, or no plan.
    """
    data = upgraded(read_json(path), path)
    try:
        if data.get("kind") == "labels":
            return validate(LabelPlan, data, path)
        return validate(Plan, data, path)
    except InputError as error:
        raise CampaignStateError(f"not a plan that can be gone on with: {error}") from None
