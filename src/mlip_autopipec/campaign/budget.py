"""How many DFT calls may still be planned."""

from __future__ import annotations

from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan

__all__ = ["room"]


def room(plan: Plan, state: CampaignState) -> int:
    """DFT calls that may still be planned: the budget less calls made, calls queued and the
    validation to come.
    """
    queued = sum(record.task.kind == "label" for record in state.with_status("queued"))
    return plan.budget.dft_calls - state.dft_calls - queued - _owed_to_validation(plan, state)


def _owed_to_validation(plan: Plan, state: CampaignState) -> int:
    """DFT calls of the validation that are not planned yet: those of a molecule follow its first
    one.
    """
    planned = state.labels("validate")
    molecular = (
        plan.validation.modes > 0 and len(planned) == 1 and planned[0].status != "quarantined"
    )
    return plan.validation.calls - len(planned) if not planned or molecular else 0
