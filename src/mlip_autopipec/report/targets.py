"""What the plan promises, and what a potential reaches."""

from __future__ import annotations

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.judging import errors_at
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.report.properties import property_values
from mlip_autopipec.report.rows import Target
from mlip_autopipec.science.properties.port import PropertyValue

__all__ = ["targets"]


def targets(
    plan: Plan, potential: PotentialRef | None, validation: Json | None
) -> tuple[Target, ...]:
    """Every promise of the plan with what ``potential`` reaches."""
    asked = [item.name for item in plan.exploration.conditions if item.role == "asked"]
    return (
        *(target for name in asked for target in _errors(plan, potential, name)),
        *(_property(item) for item in property_values(plan, validation)),
    )


def _errors(plan: Plan, potential: PotentialRef | None, condition: str) -> tuple[Target, ...]:
    """The upper ends of the intervals of the errors at a condition."""
    errors, limits = errors_at(potential, condition), plan.convergence
    return (
        Target.of(
            f"energy_rmse_mev_per_atom_high.{condition}",
            f"energy RMSE at {condition}, at most",
            errors.energy_rmse_mev_per_atom_high if errors else None,
            limits.energy_rmse_mev_per_atom,
            "meV/atom",
        ),
        Target.of(
            f"force_rmse_mev_per_a_high.{condition}",
            f"force RMSE at {condition}, at most",
            errors.force_rmse_mev_per_a_high if errors else None,
            limits.force_rmse_mev_per_a,
            "meV/Å",
        ),
    )


def _property(item: PropertyValue) -> Target:
    """A tolerance as a target; a relative one in % of DFT's value."""
    relative, error = item.kind == "relative", item.error
    measure = f" ({item.measure})" if item.measure else ""
    return Target(
        key=item.key,
        name=f"{item.label} against our DFT{measure}",
        value=100 * error if relative and error is not None else error,
        limit=100 * item.tolerance if relative else item.tolerance,
        unit="% off" if relative else item.unit,
        met=item.met,
    )
