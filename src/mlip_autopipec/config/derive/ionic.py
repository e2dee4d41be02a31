"""First structures of strong ionics, whose ions keep their charges."""

from __future__ import annotations

from mlip_autopipec.config.plan import Generation, StrategyPlan

__all__ = ["for_ions"]

# An atom more, or one in the place of another, is no ion any longer. NaCl: the antisite of 16
# atoms took DFT more than ten minutes and the interstitial 160 s, a rattled cell of 8 atoms 65.
LEFT_OUT = {
    "antisite": "left out: ions of opposite charge do not swap",
    "interstitial": "left out: an ion more needs its charge, which the cell would lack",
}
# A single vacancy of NaCl, spin-polarised for its odd electron, took DFT 427 s.
WHOLE_UNITS = "ions leave in whole formula units: no electron is left over"


def for_ions(generation: Generation) -> tuple[Generation, dict[str, str]]:
    """The same without what would need charged defects, and the reasons by the plan's key."""
    batches = [
        [_whole_units(item) for item in batch if item.name not in LEFT_OUT]
        for batch in generation.batches
    ]
    reasons = {"vacancy": WHOLE_UNITS, **LEFT_OUT}
    return Generation(batches=batches), {
        f"generation.batches.{name}": reason for name, reason in reasons.items()
    }


def _whole_units(item: StrategyPlan) -> StrategyPlan:
    if item.name != "vacancy":
        return item
    return item.model_copy(update={"options": {**item.options, "whole_units": True}})
