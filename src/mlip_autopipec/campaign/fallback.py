"""When a fit of the released trainer fails, the fast trainer stands in for it."""

from __future__ import annotations

from collections.abc import Sequence

from mlip_autopipec.campaign.payloads import TrainPayload
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Plan

__all__ = ["fallback_due", "fits_of", "given_up", "may_be_released", "standing_in"]


def fits_of(state: CampaignState, trainer: str) -> list[TaskRecord]:
    """Fits by a trainer, oldest first."""
    return [
        record for record in state.of_kind("train") if record.asked(TrainPayload).trainer == trainer
    ]


def standing_in(plan: Plan, state: CampaignState) -> bool:
    """Whether the latest ended fit of the released trainer failed, and another can stand in."""
    training = plan.training
    ended = [record for record in fits_of(state, training.trainer) if record.ended]
    failed = bool(ended) and ended[-1].status == "quarantined"
    return failed and training.trainer != training.fast_trainer


def may_be_released(plan: Plan, state: CampaignState) -> tuple[str, ...]:
    """The trainers whose potentials the campaign may hand out."""
    training = plan.training
    if standing_in(plan, state):
        return training.trainer, training.fast_trainer
    return (training.trainer,)


def given_up(plan: Plan, state: CampaignState) -> bool:
    """Whether so many fits of the released trainer failed in a row that none is tried again."""
    ended = [record for record in fits_of(state, plan.training.trainer) if record.ended]
    last = ended[-plan.rules.failed_fits :]
    return (
        standing_in(plan, state)
        and len(last) == plan.rules.failed_fits
        and all(record.status == "quarantined" for record in last)
    )


def fallback_due(plan: Plan, state: CampaignState) -> bool:
    """Whether the labels of a failed fit of the released trainer wait for one by the fast trainer:
    it was never asked to fit them.
    """
    if not standing_in(plan, state):
        return False
    failed = fits_of(state, plan.training.trainer)[-1]
    return not _asked_to_fit(state, plan.training.fast_trainer, failed.asked(TrainPayload).labels)


def _asked_to_fit(state: CampaignState, trainer: str, labels: Sequence[str]) -> bool:
    wanted = set(labels)
    fits = fits_of(state, trainer)
    return any(wanted <= set(record.asked(TrainPayload).labels) for record in fits)
