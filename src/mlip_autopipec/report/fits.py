"""What fits left out, and which of them failed, as lines for the reader of a report."""

from __future__ import annotations

from collections.abc import Iterable

from mlip_autopipec.base.labels import LabelledStructure, PotentialRef
from mlip_autopipec.campaign.payloads import TrainPayload
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan

__all__ = ["failed_fits", "left_out"]


def failed_fits(plan: Plan, state: CampaignState) -> tuple[str, ...]:
    """A line for every fit that was given up, oldest first: trainer, reason, what follows."""
    training, lines = plan.training, []
    for record in state.of_kind("train"):
        if record.status != "quarantined":
            continue
        asked = record.asked(TrainPayload)
        stood_in = asked.trainer == training.trainer != training.fast_trainer
        following = f"; {training.fast_trainer} stands in for it" if stood_in else ""
        lines.append(
            f"the fit of {len(asked.labels)} labels by {asked.trainer} failed"
            f" ({record.failures[-1].message}){following}"
        )
    return tuple(lines)


def left_out(potential: PotentialRef | None, labels: Iterable[LabelledStructure]) -> list[str]:
    """A line for every label that the trainer of a potential could not use: name, kind, reason."""
    reasons = potential.metrics.get("set_aside", {}) if potential else {}
    strategy = {item.name: item.provenance.strategy for item in labels}
    return [
        f"label {name} ({strategy.get(name, 'unknown')}) was not learned: {reason}"
        for name, reason in reasons.items()
    ]
