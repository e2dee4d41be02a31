"""Which queued tasks to start now: a pure choice by priority and free cores."""

from __future__ import annotations

from mlip_autopipec.campaign.state import CampaignState, TaskRecord

__all__ = ["startable"]


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
