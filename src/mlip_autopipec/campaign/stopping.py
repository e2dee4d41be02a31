"""Whether this campaign may stop: the verdict of :mod:`mlip_autopipec.science.stopping` on it."""

from __future__ import annotations

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.campaign.exploring import passed
from mlip_autopipec.campaign.properties import compared, property_values
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.predictions import errors_of
from mlip_autopipec.science.stopping import ConditionProgress, Round, Verdict, judge

__all__ = ["verdict"]


def verdict(plan: Plan, state: CampaignState) -> Verdict:
    """The verdict of :mod:`mlip_autopipec.science.stopping` on the potentials of the released
    kind.
    """
    released = [
        potential for potential in state.potentials if potential.trainer == plan.training.trainer
    ]
    conditions = [
        ConditionProgress(c.name, bool(released) and passed(plan, state, c))
        for c in plan.exploration.conditions
    ]
    rounds = [_round(plan, state, potential) for potential in released]
    return judge(rounds, conditions, plan.convergence)


def _round(plan: Plan, state: CampaignState, potential: PotentialRef) -> Round:
    test = errors_of(potential, "test")
    return Round(
        potential.name,
        test.force_rmse_mev_per_a,
        test.energy_rmse_mev_per_atom,
        errors_of(potential, "previous_test").force_rmse_mev_per_a,
        property_values(plan, compared(state, potential)),
    )
