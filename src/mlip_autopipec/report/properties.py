"""What the validation of a potential found, as values and as things to show: no property by its
name.
"""

from __future__ import annotations

from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign import properties
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.properties import stored
from mlip_autopipec.science.properties.port import Comparison, PropertyValue, Shown

__all__ = ["property_values", "shown_properties"]


def property_values(plan: Plan, validation: Json | None) -> tuple[PropertyValue, ...]:
    """The numbers of the validation, each with its tolerance; also (as None) before it was done."""
    return properties.property_values(plan, _found(validation))


def shown_properties(plan: Plan, validation: Json | None) -> tuple[Shown, ...]:
    """Figures and tables of the validation, with the reason for every value that is missing."""
    found = _found(validation)
    return tuple(
        item.shown(found.get(name, Comparison())) for name, item in plan.validation.each.items()
    )


def _found(validation: Json | None) -> dict[str, Comparison]:
    return {} if validation is None else stored.comparisons(validation)
