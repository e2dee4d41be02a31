"""When to train, from what, and with which trainer."""

from __future__ import annotations

from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.exploring import unexplored_conditions
from mlip_autopipec.campaign.fallback import fallback_due, given_up, may_be_released, standing_in
from mlip_autopipec.campaign.payloads import GeneratePayload, TrainPayload
from mlip_autopipec.campaign.schedule import PRIORITY
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan

__all__ = ["final_training", "train", "training_task"]


def done_labels(state: CampaignState) -> list[str]:
    """Ids of finished training labels, in the order they were planned."""
    return [record.task.id for record in state.labels("train") if record.status == "done"]


def train(plan: Plan, state: CampaignState) -> list[Task]:
    """A fit is due when a batch of labels is complete, when all fast rounds are clean and the real
    fit is owed, or when the real fit failed and the fast trainer has to stand in.
    """
    if state.active("train") or not _first_set_ended(state):
        return []
    labels = done_labels(state)
    if not labels:
        return []
    new = len(set(labels) - state.trained_labels())
    still_coming = bool(state.active("harvest")) or any(
        not record.ended for record in state.labels("train")
    )
    if fallback_due(plan, state):
        return [training_task(plan, state, labels, plan.training.fast_trainer)]
    owed = _final_trainer_owed(plan, state)
    due = (
        owed
        or (new > 0 and not still_coming)
        or new >= plan.rules.backlog_batches * plan.training.min_new_labels
    )
    return [training_task(plan, state, labels, _next_trainer(plan, state, owed))] if due else []


def _first_set_ended(state: CampaignState) -> bool:
    """Whether every label of the first selection has ended."""
    selections = state.of_kind("select")
    labels = state.labels("train")
    if not selections or not labels or not all(record.ended for record in selections):
        return False
    return bool(state.potentials) or all(record.ended for record in labels)


def _final_trainer_owed(plan: Plan, state: CampaignState) -> bool:
    """All conditions are explored under the fast potential, so the released kind is due even
    without new labels.
    """
    if not state.potentials or any(p.trainer == plan.training.trainer for p in state.potentials):
        return False
    return not standing_in(plan, state) and not unexplored_conditions(plan, state)


def _next_trainer(plan: Plan, state: CampaignState, final: bool) -> str:
    training = plan.training
    early = not final and len(state.of_kind("train")) < training.fast_rounds
    return training.fast_trainer if early or given_up(plan, state) else training.trainer


def training_task(plan: Plan, state: CampaignState, labels: list[str], trainer: str) -> Task:
    """A fit of all labels.

    Warm from the last potential of the same trainer, but for every ``rules.cold_every``-th fit.
    """
    number = len(state.of_kind("train"))
    training = plan.training
    same = [potential for potential in state.potentials if potential.trainer == trainer]
    warm = bool(same) and trainer == training.trainer and len(same) % plan.rules.cold_every != 0
    current = state.current
    generated = _surrogate_labels(plan, state)
    payload = TrainPayload(
        round=number,
        trainer=trainer,
        labels=tuple(labels),
        warm_start=same[-1].folder if warm else None,
        previous=current.folder if current else None,
        seed=plan.seed,
        generated=generated,
    )
    needs = payload.labels if generated is None else (*payload.labels, generated)
    return Task("train", payload.to_json(), needs, training.cores, priority=PRIORITY["train"])


def _surrogate_labels(plan: Plan, state: CampaignState) -> str | None:
    """The generate task whose folder holds the surrogate's own labels: the first one."""
    if not plan.surrogate.high_energy_structures:
        return None
    return next(
        (
            record.task.id
            for record in state.of_kind("generate")
            if record.status == "done" and record.asked(GeneratePayload).batch == 0
        ),
        None,
    )


def final_training(plan: Plan, state: CampaignState) -> list[Task]:
    """The last fit of a campaign that ends: owed when labels were not learned or the real trainer
    has not run.
    """
    labels = done_labels(state)
    current = state.current
    if labels and fallback_due(plan, state):
        return [training_task(plan, state, labels, plan.training.fast_trainer)]
    learned = current is not None and current.trainer in may_be_released(plan, state)
    if not labels or (learned and not set(labels) - state.trained_labels()):
        return []
    failed = [record for record in state.of_kind("train") if record.status == "quarantined"]
    if failed and list(failed[-1].asked(TrainPayload).labels) == labels:
        return []
    return [training_task(plan, state, labels, _next_trainer(plan, state, final=True))]
