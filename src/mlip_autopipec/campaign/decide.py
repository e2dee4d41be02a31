"""The algorithm: given the plan and all that is known, what should be done next.

``decide`` is pure and is called again after every event, so each rule below only says which tasks
*should exist*; a task that exists already is skipped by its content hash. Read the rules from top
to bottom, each in the file of its name:

1. ``first_set``: generate candidates with the surrogate and select a diverse few; ``labels``:
   label them, and later what further selections and the harvest chose;
2. ``validating``: label what the potential is validated against; ``auditing``: label a few
   structures that the screen rejected, to check the surrogate. Neither is ever trained on;
3. ``training``: train whenever a batch of labels is complete, fast fits first;
4. ``exploring``: MD visits every condition under every potential; its frames are harvested: what
   the potential does not know is labelled, and a few by chance, to learn how wrong it is where it
   is used; the next fit learns them and is swapped into MD that waits or runs beside the fit;
5. ``more``: label more of the generated candidates when nothing else is left to learn;
6. ``stopping``: converged when every condition is explored, errors met there are small with their
   whole interval, properties agree with our own DFT and are steady, and the release gate is
   passed. It is asked before any budget speaks, and again at the end;
7. ``closing``: when a budget (``budget``) ends, or only a person can mend what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlip_autopipec.base.tasks import Task, TaskKind
from mlip_autopipec.campaign.auditing import audited_labels, hit_rate
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.closing import close, closing_reason, end, trouble
from mlip_autopipec.campaign.commands import (
    Command,
    EndCampaign,
    PlanTask,
    PublishPotential,
)
from mlip_autopipec.campaign.exploring import explore, harvest
from mlip_autopipec.campaign.first_set import generate, select
from mlip_autopipec.campaign.labels import harvested_labels, selected_labels
from mlip_autopipec.campaign.more import widen
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.campaign.stopping import verdict
from mlip_autopipec.campaign.training import train
from mlip_autopipec.campaign.validating import validate, validation_labels
from mlip_autopipec.config.plan import Plan

__all__ = ["decide"]

RULES = (
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
)


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
    found = verdict(plan, state)
    if found.converged and not _learning(state):
        return end(state, "converged", "; ".join(found.reasons))
    if reason := closing_reason(plan, state, elapsed_s):
        return close(plan, state, reason, elapsed_s)
    if commands := _new(state, (task for rule in RULES for task in rule(plan, state))):
        return commands
    return _when_asleep(plan, state, elapsed_s) if state.asleep() else []


def _when_asleep(plan: Plan, state: CampaignState, elapsed_s: float) -> list[Command]:
    """Nothing runs but MD that waits: another batch of the pool, or the end."""
    if room(plan, state) <= 0:
        used = f"DFT calls: {state.dft_calls} of {plan.budget.dft_calls} used"
        return close(plan, state, used, elapsed_s)
    if commands := _new(state, widen(plan, state)):
        return commands
    nothing = "nothing is left to label"
    return close(plan, state, nothing, elapsed_s, how="stalled")


def _new(state: CampaignState, tasks: Iterable[Task]) -> list[Command]:
    return [PlanTask(task) for task in tasks if task.id not in state.tasks]


def _learning(state: CampaignState) -> bool:
    """Whether something is on its way that would change the potential, or that the report has to
    tell.
    """
    kinds: tuple[TaskKind, ...] = ("label", "harvest", "train", "validate", "hit_rate")
    return bool(state.pending_candidates()) or any(state.active(kind) for kind in kinds)


def _unpublished(state: CampaignState) -> list[TaskRecord]:
    return [
        r
        for r in state.of_kind("train")
        if r.status == "done" and r.task.id not in state.published_from
    ]
