"""From the log of a campaign to its status, and the progress line."""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.tasks import TaskKind
from mlip_autopipec.campaign.auditing import AUDIT, hit_rate_of
from mlip_autopipec.campaign.events import AttemptPlanned, Event, PotentialPublished
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.campaign.properties import validation_of
from mlip_autopipec.campaign.state import Attempt, CampaignState, TaskRecord
from mlip_autopipec.campaign.time_left import TimeLeft
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.report.failures import failure_rows
from mlip_autopipec.report.rows import (
    LabelCounts,
    PotentialRow,
    RunningTask,
    TimedText,
)
from mlip_autopipec.report.targets import targets
from mlip_autopipec.report.values import Budget, Status, TaskCounts, from_json
from mlip_autopipec.report.visits import conditions
from mlip_autopipec.report.words import describe, task_words
from mlip_autopipec.science.hit_rate import HitRate
from mlip_autopipec.science.predictions import errors_of

__all__ = [
    "core_hours",
    "cutouts",
    "hit_rate",
    "line",
    "phase",
    "potential_rows",
    "status",
    "task_counts",
]

LAST_EVENTS = 15

History = Sequence[tuple[float, Event]]


def status(
    plan: Plan,
    state: CampaignState,
    history: History,
    elapsed_s: float,
    left: TimeLeft | None = None,
) -> Status:
    """Everything that ``mlip-auto status`` shows of a campaign. ``left``: kept from call to call,
    lest it asks the DFT code again what each label costs.
    """
    current, tasks = state.current, task_counts(state, history)
    running_s = {item.id: item.elapsed_s for item in tasks.running if item.elapsed_s is not None}
    return Status(
        name=plan.name,
        phase=phase(state),
        end_state=state.end.end_state if state.end else None,
        reason=state.end.reason if state.end else None,
        started=history[0][0] if history else None,
        updated=time.time(),
        pid=os.getpid(),
        wall_s=elapsed_s,
        budget=Budget(
            dft_calls=plan.budget.dft_calls,
            wall_minutes=plan.budget.wall_minutes,
            dft_calls_used=state.dft_calls,
        ),
        tasks=tasks,
        labels=LabelCounts(
            train=_done(state, "train"),
            masked=cutouts(state),
            validate=_done(state, "validate"),
            audit=_done(state, AUDIT),
        ),
        targets=targets(plan, current, validation_of(state, current) if current else None),
        potentials=potential_rows(state.potentials, published_at(history)),
        conditions=conditions(plan, state),
        hit_rate=hit_rate(state),
        swaps=state.swaps,
        cutouts=cutouts(state),
        failures=failure_rows(state),
        core_hours=core_hours(state),
        eta_s=(left or TimeLeft(plan)).seconds(state, running_s, elapsed_s),
        events=_last_events(state, history),
    )


def line(shown: Status) -> str:
    """The progress line of a campaign."""
    budget, tasks = shown.budget, shown.tasks
    running = ", ".join(item.detail for item in tasks.running) or "nothing"
    known = [
        item.value
        for item in shown.targets
        if item.value is not None and item.key.startswith("force_rmse_mev_per_a_high")
    ]
    errors = f" | at most {max(known):.0f} meV/Å off in MD" if known else ""
    return (
        f"{shown.phase} | DFT {budget.dft_calls_used}/{budget.dft_calls} calls | queue"
        f" {tasks.queued} | running: {running}{errors} | {shown.wall_s / 60:.0f} min{_to_go(shown)}"
    )


def _to_go(shown: Status) -> str:
    """Time to convergence, and what the budget leaves where that is more."""
    if shown.eta_s is None or shown.end_state:
        return ""
    left_s = max(0.0, (shown.budget.wall_minutes or 0.0) * 60 - shown.wall_s)
    most = f", at most {left_s / 60:.0f}" if left_s > shown.eta_s + 30 else ""
    return f", about {shown.eta_s / 60:.0f} to go{most}"


def phase(state: CampaignState) -> str:
    """One word for where the campaign stands."""
    if state.end:
        return "ended"
    if not state.potentials:
        return (
            "training"
            if state.active("train")
            else "labelling"
            if state.of_kind("label")
            else "generating"
        )
    return "exploring"


def core_hours(state: CampaignState) -> dict[str, float]:
    """CPU hours that ended attempts used, by kind of task; ``convergence``: of the check before."""
    check = state.settings_checked
    hours: dict[str, float] = {"convergence": check.cpu_s / 3600} if check else {}
    for record in state.tasks.values():
        for attempt in record.attempts:
            if attempt.outcome is not None:
                hours[record.task.kind] = (
                    hours.get(record.task.kind, 0.0) + attempt.outcome.cpu_s / 3600
                )
    return hours


def cutouts(state: CampaignState) -> int:
    """Masked cells that were labelled."""
    return sum(
        record.status == "done" and record.asked(LabelPayload).masked
        for record in state.labels("train")
    )


def hit_rate(state: CampaignState) -> HitRate | None:
    """What the surrogate's screen was worth, if it was found."""
    found = hit_rate_of(state)
    return None if found is None else from_json(HitRate, found)


def published_at(history: History) -> dict[str, float]:
    """Potential -> when it was put in force (s since the epoch)."""
    return {e.potential.name: when for when, e in history if isinstance(e, PotentialPublished)}


def potential_rows(
    potentials: Sequence[PotentialRef], published: dict[str, float]
) -> tuple[PotentialRow, ...]:
    return tuple(
        PotentialRow(
            name=potential.name,
            trainer=potential.trainer,
            labels=potential.labels,
            test=errors_of(potential, "test"),
            train=errors_of(potential, "train"),
            published_at=published.get(potential.name),
        )
        for potential in potentials
    )


def task_counts(
    state: CampaignState,
    history: History,
    name: Callable[[TaskRecord], str] = task_words,
) -> TaskCounts:
    """Tasks by what became of them; ``name``: what a running one is called."""
    running = list(state.running())
    starts = _starts(running, history)
    past = {record.task.kind: _past_s(state, record.task.kind) for record, _ in running}
    return TaskCounts(
        all=len(state.tasks),
        queued=state.count("queued"),
        running=tuple(
            _running(record, attempt, name(record), starts, past[record.task.kind])
            for record, attempt in running
        ),
        done=dict(Counter(record.task.kind for record in state.with_status("done"))),
        quarantined=state.count("quarantined"),
    )


def _starts(
    running: Sequence[tuple[TaskRecord, Attempt]], history: History
) -> dict[tuple[str, int], float]:
    """When the running attempts were planned (s since the epoch)."""
    wanted = {(record.task.id, attempt.number) for record, attempt in running}
    found: dict[tuple[str, int], float] = {}
    for when, event in reversed(history):
        if len(found) == len(wanted):
            break
        if isinstance(event, AttemptPlanned) and (event.task_id, event.attempt) in wanted:
            found[event.task_id, event.attempt] = when
    return found


def _past_s(state: CampaignState, kind: TaskKind) -> list[float]:
    """Wall times of all successful attempts of a kind of task."""
    return [
        attempt.outcome.wall_s
        for record in state.of_kind(kind)
        for attempt in record.attempts
        if attempt.outcome and attempt.outcome.ok
    ]


def _running(
    record: TaskRecord,
    attempt: Attempt,
    name: str,
    starts: dict[tuple[str, int], float],
    past_s: list[float],
) -> RunningTask:
    started = starts.get((record.task.id, attempt.number))
    elapsed = None if started is None else time.time() - started
    return RunningTask(
        id=record.task.id,
        kind=record.task.kind,
        detail=name,
        state="waiting" if attempt.waiting else "running",
        started=started,
        elapsed_s=elapsed,
        eta_s=None if elapsed is None else _remaining_s(past_s, elapsed),
    )


def _remaining_s(past: list[float], elapsed_s: float) -> float | None:
    """Median of the earlier ones that took longer than this one has already, less what it has; None
    without any.
    """
    longer = [wall_s for wall_s in past if wall_s > elapsed_s]
    return statistics.median(longer) - elapsed_s if longer else None


def _done(state: CampaignState, purpose: str) -> int:
    return sum(record.status == "done" for record in state.labels(purpose))


def _last_events(state: CampaignState, history: History) -> tuple[TimedText, ...]:
    found: list[TimedText] = []
    for when, event in reversed(history):
        if text := describe(event, state):
            found.append(TimedText(time=when, text=text))
            if len(found) == LAST_EVENTS:
                break
    return tuple(found[::-1])
