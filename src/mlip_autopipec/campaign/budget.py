"""How many DFT calls may still be planned."""

from __future__ import annotations

from mlip_autopipec.campaign.properties import owed
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan

__all__ = ["room"]


def room(plan: Plan, state: CampaignState) -> int:
    """DFT calls that may still be planned: the budget less calls made, calls queued and the
    validation to come.
    """
    queued = sum(record.task.kind == "label" for record in state.with_status("queued"))
    return plan.budget.dft_calls - state.dft_calls - queued - owed(plan, state)
