"""How a campaign ends when it does not converge: budgets, and what only a person can mend."""

from __future__ import annotations

from mlip_autopipec.base.tasks import PERSON, EndState
from mlip_autopipec.campaign.auditing import AUDIT, hit_rate
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.commands import CancelTask, Command, EndCampaign, PlanTask
from mlip_autopipec.campaign.exploring import explore, harvest
from mlip_autopipec.campaign.payloads import TrainPayload
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.campaign.stopping import verdict
from mlip_autopipec.campaign.training import final_training
from mlip_autopipec.campaign.validating import validate
from mlip_autopipec.config.plan import Plan

__all__ = ["close", "closing_reason", "end", "trouble"]

# Purposes of labels that are given up when the campaign closes; validation is owed.
SPARED = ("train", AUDIT)


def trouble(plan: Plan, state: CampaignState) -> str | None:
    """Why a person must act, or None."""
    quarantined = sorted(state.with_status("quarantined"), key=lambda record: record.order)
    for record in quarantined:
        if record.failures[-1].kind == PERSON:
            return record.failures[-1].message
    # Not those that check the screen: it rejected them because DFT might fail.
    ended = [
        record for record in state.of_kind("label") if record.ended and record.purpose != AUDIT
    ]
    lost = [record for record in ended if record.status == "quarantined"]
    most = plan.rules.quarantined_share * len(ended)
    if len(ended) >= plan.rules.fewest_judged and len(lost) > most:
        return (
            f"{len(lost)} of {len(ended)} DFT calculations were quarantined; last:"
            f" {lost[-1].failures[-1].message}"
        )
    for kind in ("generate", "select"):
        records = state.of_kind(kind)  # type: ignore[arg-type]
        if records and all(record.status == "quarantined" for record in records):
            return f"{kind} failed: {records[-1].failures[-1].message}"
    return _no_fit(plan, state)


def _no_fit(plan: Plan, state: CampaignState) -> str | None:
    """Why no potential can be fitted any more, or None. For the released trainer the fast one can
    stand in, so that only failures of that one count.
    """
    if state.active("train"):
        return None
    failed = []
    for record in reversed(state.of_kind("train")):
        if record.status != "quarantined":
            break
        if record.asked(TrainPayload).trainer == plan.training.fast_trainer:
            failed.append(record)
    if len(failed) >= plan.rules.failed_fits:
        return f"training failed {len(failed)} times in a row: {failed[0].failures[-1].message}"
    if failed and not state.potentials:
        return f"training failed: {failed[0].failures[-1].message}"
    return None


def closing_reason(plan: Plan, state: CampaignState, elapsed_s: float) -> str | None:
    """Which budget is used up, or None."""
    limit_s = plan.budget.wall_minutes * 60
    if elapsed_s > plan.rules.exploration_share * limit_s:
        return (
            f"wall time: {elapsed_s / 60:.0f} of {plan.budget.wall_minutes:g} minutes used before"
            " the last fit"
        )
    wants_labels = bool(state.unlabelled("harvest")) and not state.active("harvest")
    open_labels = any(not record.ended for record in state.of_kind("label"))
    if wants_labels and not open_labels and room(plan, state) <= 0 and not state.active("train"):
        return f"DFT calls: {state.dft_calls} of {plan.budget.dft_calls} used"
    return None


def close(
    plan: Plan,
    state: CampaignState,
    reason: str,
    elapsed_s: float,
    how: EndState = "budget_exhausted",
) -> list[Command]:
    """End what looks for more, fit what was labelled, judge that potential like any other, end.

    Called again until nothing is left to do. The verdict may still be that it has converged.
    """
    stop: list[Command] = [
        CancelTask(record.task.id, reason)
        for record in state.active()
        if record.task.kind in ("generate", "select")
        or (record.task.kind == "label" and record.status == "queued" and record.purpose in SPARED)
    ]
    if stop or state.active("label") or state.active("train"):
        return [*stop, *_cancelled_md(state, reason)]
    late = elapsed_s >= plan.budget.wall_minutes * 60
    tasks = final_training(plan, state)
    if late:
        stop = _cancelled_md(state, reason)
    elif not tasks:
        tasks = [*explore(plan, state), *harvest(plan, state, closing=True)]
    moving = not late and _moving(state)
    if not tasks and not moving:
        tasks = [*validate(plan, state, closing=True), *hit_rate(plan, state)]
    commands = [*stop, *(PlanTask(task) for task in tasks if task.id not in state.tasks)]
    if commands or moving or any(record.task.kind != "explore" for record in state.active()):
        return commands
    found = verdict(plan, state)
    if found.converged:
        return end(state, "converged", "; ".join(found.reasons))
    return end(state, how, "; ".join([reason, *found.reasons]))


def _moving(state: CampaignState) -> bool:
    """Whether MD runs, or is about to, that does not wait for a potential that will not come."""
    return any(
        record.status == "queued" or not record.attempts[-1].waiting
        for record in state.active("explore")
    )


def _cancelled_md(state: CampaignState, reason: str) -> list[Command]:
    """MD under a potential that is about to be replaced."""
    return [CancelTask(record.task.id, reason) for record in state.active("explore")]


def end(state: CampaignState, how: EndState, reason: str) -> list[Command]:
    """Cancel what is left, and end."""
    why = reason if how == "budget_exhausted" else how
    return [
        *(CancelTask(record.task.id, why) for record in state.active()),
        EndCampaign(how, reason),
    ]
