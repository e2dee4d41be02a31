"""Whether this campaign may stop: the verdict of :mod:`mlip_autopipec.science.stopping` on it."""

from __future__ import annotations

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.campaign.exploring import explored
from mlip_autopipec.campaign.fallback import may_be_released
from mlip_autopipec.campaign.judging import errors_at
from mlip_autopipec.campaign.properties import compared, gate_of, property_values
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.stopping import ConditionProgress, Progress, Verdict, judge

__all__ = ["verdict"]


def verdict(plan: Plan, state: CampaignState, potential: PotentialRef | None = None) -> Verdict:
    """The verdict on ``potential``; the one in force where none is named. Only the released trainer
    can converge, or the one that stands in for it.
    """
    asked = potential or state.current
    if asked is None or asked.trainer not in may_be_released(plan, state):
        return judge(Progress(None, ()), plan.convergence)
    conditions = [
        ConditionProgress(
            c.name,
            explored(plan, state, c, asked.name),
            asked=c.role == "asked",
            errors=errors_at(asked, c.name),
        )
        for c in plan.exploration.conditions
    ]
    properties = property_values(plan, compared(state, asked))
    progress = Progress(asked.name, conditions, properties, gate_of(state, asked))
    return judge(progress, plan.convergence)
