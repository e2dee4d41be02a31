"""Which queued tasks to start now: a pure choice by priority and free cores."""

from __future__ import annotations

from mlip_autopipec.base.tasks import TaskKind
from mlip_autopipec.campaign.state import CampaignState, TaskRecord

__all__ = [
    "PRIORITY",
    "PRIORITY_AUDIT_LABEL",
    "PRIORITY_FIRST_ANSWER",
    "PRIORITY_HARVEST_LABEL",
    "PRIORITY_LABEL",
    "PRIORITY_VALIDATION_LABEL",
    "startable",
]

# Smaller runs first. A fit is what everything waits for; MD comes next, so that it runs while
# labels are made. Labels are between the tasks that choose them and those that judge: what MD met
# first, what checks the screen last, after everything that the first fit and its validation wait
# for.
PRIORITY: dict[TaskKind, int] = {
    "train": 4,
    "explore": 5,
    "generate": 10,
    "select": 10,
    "harvest": 12,
    "validate": 20,
    "hit_rate": 80,
}
# What MD met, then what was selected, then what is validated against; what checks the screen
# last.
PRIORITY_HARVEST_LABEL = 30
PRIORITY_FIRST_ANSWER = 49
"""Of a validation label whose answer says what else has to be calculated."""
# Of a candidate that was selected.
PRIORITY_LABEL = 50
# Of a label that potentials are validated against: nothing waits for it before the first fit.
PRIORITY_VALIDATION_LABEL = 60
# Of a label that checks the screen: after everything that the first fit and its validation wait
# for.
PRIORITY_AUDIT_LABEL = 70


def startable(state: CampaignState, cores: int) -> list[TaskRecord]:
    """Queued tasks that fit on the free cores, by priority, then age. MD that waits for a potential
    uses no core.

    A task larger than the machine is started when nothing else runs. Fits come first and MD second,
    so that exploration goes on while labels are made.
    """
    used = state.cores_in_use
    chosen: list[TaskRecord] = []
    for record in state.queue():
        if used >= cores:
            break
        if used == 0 or used + record.task.cores <= cores:
            chosen.append(record)
            used += record.task.cores
    return chosen
