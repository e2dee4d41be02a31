"""The algorithm: given the plan and all that is known, what should be done next.

``decide`` is pure and is called again after every event, so each rule below only says which tasks
*should exist*; a task that exists already is skipped by its content hash. Read the rules from top
to bottom:

1. generate candidates with the surrogate, select a diverse few, label them (``seeding``);
2. label an equation of state (of a molecule: its minimum and vibrations) for validation, and a few
   structures that the screen rejected to check the surrogate (``auditing``); neither is ever
   trained on;
3. train whenever a batch of labels is complete, fast fits first (``training``);
4. MD explores every condition all the while and streams what it does not know (``exploration``);
5. harvest those frames: cut periodic cells, label them, train again, swap the potential into the
   running MD;
6. when MD is clean but errors are not yet small or steady, label more of the generated candidates
   (``widen``); also when a core would stand idle beside a large label and errors are not yet small
   (``fill``);
7. stop when nothing unknown is met, errors are within tolerance and properties agree with our own
DFT (``closing``).
"""

from __future__ import annotations

from mlip_autopipec.base.tasks import TaskKind
from mlip_autopipec.campaign.attempts import convergence
from mlip_autopipec.campaign.auditing import audited_labels, hit_rate
from mlip_autopipec.campaign.closing import close, closing_reason, trouble
from mlip_autopipec.campaign.commands import (
    CancelTask,
    Command,
    EndCampaign,
    PlanTask,
    PublishPotential,
)
from mlip_autopipec.campaign.exploring import explore, harvest
from mlip_autopipec.campaign.first_set import (
    fill,
    generate,
    harvested_labels,
    room,
    select,
    selected_labels,
    widen,
)
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.campaign.training import train, validate
from mlip_autopipec.campaign.validating import validation_labels
from mlip_autopipec.config.plan import Plan

__all__ = ["decide"]


def decide(plan: Plan, state: CampaignState, elapsed_s: float) -> list[Command]:
    """What to do next. ``elapsed_s``: wall time spent on the campaign so far, over all its
    drivers.
    """
    if state.end is not None:
        return []
    if reason := trouble(plan, state):
        return [EndCampaign("needs_attention", reason)]
    if fitted := _unpublished(state):
        return [PublishPotential(record.task.id) for record in fitted]
    if reason := closing_reason(plan, state, elapsed_s):
        return close(plan, state, reason)
    commands: list[Command] = []
    for rule in (
        generate,
        select,
        selected_labels,
        validation_labels,
        audited_labels,
        harvested_labels,
        train,
        explore,
        harvest,
        validate,
        hit_rate,
    ):
        commands += [PlanTask(task) for task in rule(plan, state) if task.id not in state.tasks]
    if commands:
        return commands
    verdict = convergence(plan, state)
    if any(check.kind == "error_size" and not check.met for check in verdict.checks):
        commands = [PlanTask(task) for task in fill(plan, state) if task.id not in state.tasks]
        if commands:
            return commands
    if verdict.converged and not _learning(state):
        return [
            *_cancel_all(state, "converged"),
            EndCampaign("converged", "; ".join(verdict.reasons)),
        ]
    if state.asleep():
        if room(plan, state) <= 0:
            reason = (
                f"{state.dft_calls} of {plan.budget.dft_calls} DFT calls used;"
                f" {'; '.join(verdict.reasons)}"
            )
            return [*_cancel_all(state, reason), EndCampaign("budget_exhausted", reason)]
        tasks = widen(plan, state)
        stalled = "; ".join(verdict.reasons)
        return [PlanTask(t) for t in tasks] or [
            *_cancel_all(state, "stalled"),
            EndCampaign("stalled", stalled),
        ]
    return []


def _learning(state: CampaignState) -> bool:
    """Whether something is on its way that would change the potential, or that the report has to
    tell.
    """
    kinds: tuple[TaskKind, ...] = ("label", "harvest", "train", "validate", "hit_rate")
    return bool(state.pending_candidates()) or any(state.active(kind) for kind in kinds)


def _cancel_all(state: CampaignState, reason: str) -> list[Command]:
    return [CancelTask(record.task.id, reason) for record in state.active()]


def _unpublished(state: CampaignState) -> list[TaskRecord]:
    return [
        r
        for r in state.of_kind("train")
        if r.status == "done" and r.task.id not in state.published_from
    ]
