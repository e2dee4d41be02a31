"""Which potential a campaign hands out: the best that may be released, not the newest."""

from __future__ import annotations

import math

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.campaign.fallback import may_be_released
from mlip_autopipec.campaign.judging import errors_at
from mlip_autopipec.campaign.properties import gate_of
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.campaign.stopping import verdict
from mlip_autopipec.config.plan import Plan

__all__ = ["released", "score"]

# More labels make a better potential: an older one has to be better by more than chance.
CLEARLY = 1.1


def released(plan: Plan, state: CampaignState) -> PotentialRef | None:
    """The newest that meets every condition of convergence; where none does, of the potentials of
    the released trainer, or what stands in for it (else of all), that did not fail the gate (else
    of all) the newest whose errors are not clearly above the smallest.
    """
    converged = (item for item in reversed(state.potentials) if _converged(plan, state, item))
    if (found := next(converged, None)) is not None:
        return found
    kind = [item for item in state.potentials if item.trainer in may_be_released(plan, state)]
    kind = kind or list(state.potentials)
    passing = [item for item in kind if (gate_of(state, item) or (True, ""))[0]] or kind
    if not passing:
        return None
    # Within the targets one is as good as another, and the newest has learned most.
    scores = {item.name: max(1.0, score(plan, item)) for item in passing}
    best = min(scores.values())
    return next(
        item
        for item in reversed(passing)
        if scores[item.name] <= CLEARLY * best or math.isinf(best)
    )


def _converged(plan: Plan, state: CampaignState, potential: PotentialRef) -> bool:
    """Only what passed the gate is worth the verdict."""
    return gate_of(state, potential) is not None and verdict(plan, state, potential).converged


def score(plan: Plan, potential: PotentialRef) -> float:
    """The largest of the errors at asked conditions, upper ends of their intervals in units of the
    targets; infinite where one is not known.
    """
    limits, found = plan.convergence, [0.0]
    for condition in plan.exploration.conditions:
        if condition.role != "asked":
            continue
        errors = errors_at(potential, condition.name)
        force = errors.force_rmse_mev_per_a_high if errors else None
        energy = errors.energy_rmse_mev_per_atom_high if errors else None
        if force is None or energy is None:
            return math.inf
        found += [force / limits.force_rmse_mev_per_a, energy / limits.energy_rmse_mev_per_atom]
    return max(found)
