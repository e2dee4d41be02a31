"""What the plan promises, and what a potential reaches."""

from __future__ import annotations

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.report.properties import property_values
from mlip_autopipec.report.rows import Target
from mlip_autopipec.science.predictions import errors_of
from mlip_autopipec.science.properties.port import PropertyValue

__all__ = ["targets"]


def targets(
    plan: Plan, potential: PotentialRef | None, validation: Json | None
) -> tuple[Target, ...]:
    """Every promise of the plan with what ``potential`` reaches."""
    test, asked = errors_of(potential, "test"), plan.convergence
    return (
        Target.of(
            "energy_rmse_mev_per_atom",
            "held-out energy RMSE",
            test.energy_rmse_mev_per_atom,
            asked.energy_rmse_mev_per_atom,
            "meV/atom",
        ),
        Target.of(
            "force_rmse_mev_per_a",
            "held-out force RMSE",
            test.force_rmse_mev_per_a,
            asked.force_rmse_mev_per_a,
            "meV/Å",
        ),
        *(_property(item) for item in property_values(plan, validation)),
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
