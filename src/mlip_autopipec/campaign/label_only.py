"""The decisions of a campaign that only labels: every structure that was asked for, each until it
is done or given up.

Pure, and each call costs the same however many structures there are: the driver asks after every
event.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlip_autopipec.base.tasks import PERSON, Task
from mlip_autopipec.campaign.commands import Command, EndCampaign, PlanTask
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.label_plan import LabelPlan

__all__ = ["decide_labels", "spent", "startable_attempts"]


def decide_labels(
    plan: LabelPlan, missing: Sequence[Task], state: CampaignState, elapsed_s: float
) -> list[Command]:
    """What to do next. ``missing``: tasks that were asked for and are not in ``state``;
    ``elapsed_s`` of all drivers.

    A quarantined structure never stops the others; what only a person can mend (a missing program)
    stops them all, once nothing runs any more.
    """
    if state.end is not None:
        return []
    if missing:
        return [PlanTask(task) for task in missing]
    running, queued = state.count("running"), state.count("queued")
    person = [
        r.failures[-1].message
        for r in state.with_status("quarantined")
        if r.failures[-1].kind == PERSON
    ]
    if person:
        return [] if running else [EndCampaign("needs_attention", person[-1])]
    if not running and not queued:
        reason = f"{state.count('done')} labelled, {state.count('quarantined')} quarantined"
        return [EndCampaign("converged", reason)]
    limit = spent(plan, state, elapsed_s)
    if limit and not running:
        return [EndCampaign("budget_exhausted", f"{limit}; {queued} structures left")]
    return []


def startable_attempts(plan: LabelPlan, state: CampaignState, elapsed_s: float) -> int | None:
    """How many attempts may still be started; None where no limit was given."""
    if spent(plan, state, elapsed_s) or any(
        r.failures[-1].kind == PERSON for r in state.with_status("quarantined")
    ):
        return 0
    return None if plan.budget.dft_calls is None else plan.budget.dft_calls - state.dft_calls


def spent(plan: LabelPlan, state: CampaignState, elapsed_s: float) -> str | None:
    """Which limit is reached, in words."""
    calls, minutes = plan.budget.dft_calls, plan.budget.wall_minutes
    if calls is not None and state.dft_calls >= calls:
        return f"{state.dft_calls} of {calls} calculations made"
    if minutes is not None and elapsed_s >= 60 * minutes:
        return f"{elapsed_s / 60:.0f} of {minutes:g} minutes used"
    return None
