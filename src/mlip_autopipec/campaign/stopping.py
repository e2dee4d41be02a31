"""Whether this campaign may stop: the verdict of :mod:`mlip_autopipec.science.stopping` on it."""

from __future__ import annotations

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.exploring import passed
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.stopping import (
    ConditionProgress,
    Limits,
    Property,
    Round,
    Verdict,
    judge,
)

__all__ = ["validation_of", "verdict"]


def validation_of(state: CampaignState, potential: PotentialRef) -> Json | None:
    """Result of the validation of a potential, if it was done."""
    for record in state.of_kind("validate"):
        if record.status == "done" and record.task.payload["potential"] == potential.folder:
            return record.result
    return None


def verdict(plan: Plan, state: CampaignState) -> Verdict:
    """The verdict of :mod:`mlip_autopipec.science.stopping` on the potentials of the released
    kind.
    """
    limits = Limits(
        force_rmse_change=plan.convergence.force_rmse_change,
        energy_rmse_mev_per_atom=plan.convergence.energy_rmse_mev_per_atom,
        force_rmse_mev_per_a=plan.convergence.force_rmse_mev_per_a,
        tolerances={}
        if plan.validation.modes
        else {
            "lattice_constant_a": plan.validation.lattice_tolerance,
            "bulk_modulus_gpa": plan.validation.bulk_modulus_tolerance,
        },
        ceilings={}
        if not plan.validation.modes
        else {
            "geometry_rmsd_a": (plan.validation.geometry_tolerance_a, "Å"),
            "frequency_rmse_per_cm": (plan.validation.frequency_tolerance_per_cm, "1/cm"),
        },
        property_change=plan.convergence.property_change,
        rounds=plan.convergence.rounds,
    )
    released = [
        potential for potential in state.potentials if potential.trainer == plan.training.trainer
    ]
    conditions = [
        ConditionProgress(c.name, bool(released) and passed(plan, state, c))
        for c in plan.exploration.conditions
    ]
    return judge([_round(state, potential) for potential in released], conditions, limits)


def _round(state: CampaignState, potential: PotentialRef) -> Round:
    test = potential.metrics.get("test") or {}
    previous = potential.metrics.get("previous_test") or {}
    validation = validation_of(state, potential) or {}
    properties: dict[str, Property] = {
        name: Property(validation[name]["potential"], validation[name]["dft"])
        for name in ("lattice_constant_a", "bulk_modulus_gpa")
        if name in validation
    }
    return Round(
        potential.name,
        test.get("force_rmse_mev_per_a"),
        test.get("energy_rmse_mev_per_atom"),
        previous.get("force_rmse_mev_per_a"),
        properties,
        {
            name: validation[name]
            for name in ("geometry_rmsd_a", "frequency_rmse_per_cm")
            if name in validation
        },
    )
