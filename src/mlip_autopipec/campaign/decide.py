"""The algorithm: given the plan and all that is known, what should be done next.

``decide`` is pure and is called again after every event, so each rule below only says which tasks
*should exist*; a task that exists already is skipped by its content hash. Read the rules from top
to bottom, each in the file of its name:

1. ``first_set``: generate candidates with the surrogate and select a diverse few; ``labels``:
   label them, and later what further selections and the harvest chose;
2. ``validating``: label what the potential is validated against; ``auditing``: label a few
   structures that the screen rejected, to check the surrogate. Neither is ever trained on;
3. ``training``: train whenever a batch of labels is complete, fast fits first;
4. ``exploring``: MD explores every condition all the while and streams what it does not know; those
   frames are harvested: periodic cells are cut and labelled, the next fit learns them and is
   swapped into the running MD;
5. ``more``: label more of the generated candidates when MD is clean but errors are not yet small or
   steady, and when a core would stand idle beside a large label while errors are not yet small;
6. ``stopping``: converged when nothing unknown is met, errors are small and steady, and properties
   agree with our own DFT;
7. ``closing``: when a budget (``budget``) ends, or only a person can mend what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlip_autopipec.base.tasks import EndState, Task, TaskKind
from mlip_autopipec.campaign.auditing import audited_labels, hit_rate
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.closing import close, closing_reason, trouble
from mlip_autopipec.campaign.commands import (
    CancelTask,
    Command,
    EndCampaign,
    PlanTask,
    PublishPotential,
)
from mlip_autopipec.campaign.exploring import explore, harvest
from mlip_autopipec.campaign.first_set import generate, select
from mlip_autopipec.campaign.labels import harvested_labels, selected_labels
from mlip_autopipec.campaign.more import fill, widen
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.campaign.stopping import verdict
from mlip_autopipec.campaign.training import train
from mlip_autopipec.campaign.validating import validate, validation_labels
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.stopping import Verdict

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
    if reason := closing_reason(plan, state, elapsed_s):
        return close(plan, state, reason)
    if commands := _new(state, (task for rule in RULES for task in rule(plan, state))):
        return commands
    found = verdict(plan, state)
    if _errors_are_large(found) and (commands := _new(state, fill(plan, state))):
        return commands
    reasons = "; ".join(found.reasons)
    if found.converged and not _learning(state):
        return _end(state, "converged", reasons)
    return _when_asleep(plan, state, reasons) if state.asleep() else []


def _when_asleep(plan: Plan, state: CampaignState, reasons: str) -> list[Command]:
    """Nothing runs but MD that waits: another batch of the pool, or the end."""
    if room(plan, state) <= 0:
        used = f"{state.dft_calls} of {plan.budget.dft_calls} DFT calls used"
        return _end(state, "budget_exhausted", f"{used}; {reasons}")
    return [PlanTask(task) for task in widen(plan, state)] or _end(state, "stalled", reasons)


def _new(state: CampaignState, tasks: Iterable[Task]) -> list[Command]:
    return [PlanTask(task) for task in tasks if task.id not in state.tasks]


def _errors_are_large(found: Verdict) -> bool:
    return any(check.kind == "error_size" and not check.met for check in found.checks)


def _learning(state: CampaignState) -> bool:
    """Whether something is on its way that would change the potential, or that the report has to
    tell.
    """
    kinds: tuple[TaskKind, ...] = ("label", "harvest", "train", "validate", "hit_rate")
    return bool(state.pending_candidates()) or any(state.active(kind) for kind in kinds)


def _end(state: CampaignState, how: EndState, reason: str) -> list[Command]:
    """Cancel what is left, and end."""
    why = reason if how == "budget_exhausted" else how
    return [
        *(CancelTask(record.task.id, why) for record in state.active()),
        EndCampaign(how, reason),
    ]


def _unpublished(state: CampaignState) -> list[TaskRecord]:
    return [
        r
        for r in state.of_kind("train")
        if r.status == "done" and r.task.id not in state.published_from
    ]
