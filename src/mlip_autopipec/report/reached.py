"""What the released potential reached at each condition of MD."""

from __future__ import annotations

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.campaign.exploring import explored
from mlip_autopipec.campaign.judging import errors_at
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Condition, Plan
from mlip_autopipec.report.rows import ConditionReached
from mlip_autopipec.science.judgement import JudgedErrors

__all__ = ["conditions_reached"]


def conditions_reached(
    plan: Plan, state: CampaignState, potential: PotentialRef | None
) -> tuple[ConditionReached, ...]:
    """One row for each condition of the plan; empty without a potential."""
    if potential is None:
        return ()
    return tuple(_reached(plan, state, potential, c) for c in plan.exploration.conditions)


def _reached(
    plan: Plan, state: CampaignState, potential: PotentialRef, condition: Condition
) -> ConditionReached:
    errors = errors_at(potential, condition.name) or JudgedErrors(name=condition.name, n=0)
    newest = state.judged.get((condition.name, potential.name))
    predicted = newest.force_error_ev_per_a if newest else None
    return ConditionReached(
        **errors.to_json(),
        role=condition.role,
        explored=explored(plan, state, condition, potential.name),
        frames=newest.frames if newest else 0,
        unknown=newest.unknown if newest else 0,
        predicted_force_error_mev_per_a=None if predicted is None else 1000 * predicted,
    )
