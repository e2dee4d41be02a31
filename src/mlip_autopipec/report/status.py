"""The campaign in words and numbers for people: ``status.json``, the progress line and the log
lines.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.auditing import AUDIT, hit_rate_of
from mlip_autopipec.campaign.events import (
    AttemptEnded,
    AttemptPlanned,
    CampaignEnded,
    DriverStarted,
    Event,
    MdBroke,
    MdEvent,
    MdStreamed,
    MdSwapped,
    PotentialPublished,
    SettingsChecked,
    TaskCancelled,
)
from mlip_autopipec.campaign.exploring import passed, visits
from mlip_autopipec.campaign.state import Attempt, CampaignState, TaskRecord
from mlip_autopipec.config.plan import Plan

__all__ = ["core_hours", "cures", "describe", "failures", "line", "phase", "status"]

LAST_EVENTS = 15


def status(
    plan: Plan, state: CampaignState, history: Sequence[tuple[float, Event]], elapsed_s: float
) -> Json:
    """Everything that ``mlip-auto status`` shows."""
    starts = _starts(history)
    return {
        "name": plan.name,
        "phase": phase(state),
        "end_state": state.end.end_state if state.end else None,
        "reason": state.end.reason if state.end else None,
        "started": history[0][0] if history else None,
        "updated": time.time(),
        "pid": os.getpid(),
        "wall_s": elapsed_s,
        "budget": {**plan.budget.model_dump(mode="json"), "dft_calls_used": state.dft_calls},
        "tasks": {
            "queued": sum(record.status == "queued" for record in state.tasks.values()),
            "running": [
                _running(state, record, attempt, starts) for record, attempt in state.running()
            ],
            "done": dict(Counter(r.task.kind for r in state.tasks.values() if r.status == "done")),
            "quarantined": sum(record.status == "quarantined" for record in state.tasks.values()),
        },
        "labels": {
            "train": _done(state, "train"),
            "validate": _done(state, "validate"),
            "audit": _done(state, AUDIT),
            "masked": cutouts(state),
        },
        "potentials": [_potential(potential, history) for potential in state.potentials],
        "conditions": [
            _condition(plan, state, index) for index in range(len(plan.exploration.conditions))
        ],
        "hit_rate": hit_rate_of(state),
        "swaps": state.swaps,
        "cutouts": cutouts(state),
        "failures": dict(Counter(failure.kind for failure in failures(state))),
        "cures": cures(state),
        "core_hours": core_hours(state),
        "events": _last_events(state, history),
    }


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


def failures(state: CampaignState) -> list[Failure]:
    """Failures of all attempts, quarantined or cured."""
    return [failure for record in state.tasks.values() for failure in record.failures]


def cures(state: CampaignState) -> Json:
    """cure -> how often it was tried and how often the next attempt succeeded."""
    table: Json = {}
    for record in state.tasks.values():
        for attempt, following in zip(record.attempts, record.attempts[1:], strict=False):
            if attempt.cure and following.outcome is not None:
                entry = table.setdefault(attempt.cure, {"tried": 0, "worked": 0})
                entry["tried"] += 1
                entry["worked"] += following.outcome.ok
    return table


def core_hours(state: CampaignState) -> Json:
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
        record.status == "done" and record.task.payload["candidate"]["core"] is not None
        for record in state.labels("train")
    )


def line(snapshot: Json) -> str:
    """The progress line."""
    budget, tasks = snapshot["budget"], snapshot["tasks"]
    running = ", ".join(f"{item['detail']}" for item in tasks["running"]) or "nothing"
    newest = snapshot["potentials"][-1] if snapshot["potentials"] else None
    errors = ""
    if newest and newest["test"].get("force_rmse_mev_per_a") is not None:
        errors = f" | held out {newest['test']['force_rmse_mev_per_a']:.0f} meV/Å"
    left_s = max(0.0, budget["wall_minutes"] * 60 - snapshot["wall_s"])
    return (
        f"{snapshot['phase']} | DFT {budget['dft_calls_used']}/{budget['dft_calls']} calls | queue"
        f" {tasks['queued']} | running: {running}{errors} | {snapshot['wall_s'] / 60:.0f} min, at"
        f" most {left_s / 60:.0f} to go"
    )


def describe(event: Event, state: CampaignState) -> str | None:
    """An event in a line, or None when it is not worth one."""
    match event:
        case DriverStarted(_, elapsed_s, _):
            return f"going on after {elapsed_s / 60:.0f} min" if elapsed_s else "started"
        case SettingsChecked(calculations, _):
            return f"DFT settings were checked before, with {calculations} calculations"
        case AttemptEnded():
            return _describe_end(event, state.tasks[event.task_id])
        case TaskCancelled(task_id, reason):
            return f"{task_id} cancelled: {reason}"
        case PotentialPublished(_, potential):
            return (
                f"potential {potential.name} ({potential.trainer}, {potential.labels} labels):"
                f" {_errors(potential)}"
            )
        case CampaignEnded(end_state, reason):
            return f"{end_state}: {reason}"
        case MdSwapped() | MdBroke() | MdStreamed():
            return _describe_md(event, state.tasks[event.task_id])
    return None


def _describe_end(event: AttemptEnded, record: TaskRecord) -> str:
    what = detail(record)
    if event.verdict == "done":
        return f"{what} done in {event.outcome.wall_s:.0f} s"
    failure = event.outcome.failure
    assert failure is not None
    if event.verdict == "quarantined":
        return f"{what} quarantined, {failure.kind}: {failure.message}"
    return f"{what} failed, {failure.kind}: {failure.message}; next: {event.cure or 'same again'}"


def _describe_md(event: MdEvent, record: TaskRecord) -> str | None:
    name = record.task.payload["condition"]["name"]
    match event:
        case MdSwapped():
            return f"MD {name}: swapped {event.old} for {event.new} at step {event.step}"
        case MdBroke():
            return (
                f"MD {name}: gamma {event.gamma:.1f} at step {event.step}, rewound, waits for a"
                " potential"
            )
        case MdStreamed():
            return f"MD {name}: unknown environment, gamma {event.gamma:.1f} at step {event.step}"
    return None


def _errors(potential: PotentialRef) -> str:
    test = potential.metrics.get("test") or {}
    energy, force = test.get("energy_rmse_mev_per_atom"), test.get("force_rmse_mev_per_a")
    parts = []
    if energy is not None:
        parts.append(f"{energy:.1f} meV/atom")
    if force is not None:
        parts.append(f"{force:.0f} meV/Å")
    return "held out " + ", ".join(parts) if parts else "no held-out errors"


def detail(record: TaskRecord) -> str:
    """A task in a few words."""
    payload = record.task.payload
    match record.task.kind:
        case "label":
            provenance = payload["candidate"]["provenance"]
            why = " (rejected, to check the screen)" if payload["purpose"] == AUDIT else ""
            return (
                f"DFT {provenance['strategy']} ({len(payload['candidate']['atoms']['numbers'])}"
                f" atoms){why}"
            )
        case "train":
            return f"fit {payload['round']} ({payload['trainer']}, {len(payload['labels'])} labels)"
        case "explore":
            return f"MD {payload['condition']['name']}"
        case "generate":
            return "generate " + "+".join(item["name"] for item in payload["strategies"])
        case "harvest":
            return f"cut {len(payload['files'])} frames"
        case "validate":
            return f"validate {payload['potential'].rpartition('/')[2]}"
        case "hit_rate":
            return f"surrogate against DFT ({len(payload['accepted'])} labels)"
    return str(record.task.kind)


def _running(
    state: CampaignState, record: TaskRecord, attempt: Attempt, starts: dict[tuple[str, int], float]
) -> Json:
    started = starts.get((record.task.id, attempt.number), time.time())
    past = [
        a.outcome.wall_s
        for r in state.of_kind(record.task.kind)
        for a in r.attempts
        if a.outcome and a.outcome.ok
    ]
    elapsed = time.time() - started
    return {
        "id": record.task.id,
        "kind": record.task.kind,
        "detail": detail(record),
        "started": started,
        "elapsed_s": elapsed,
        "eta_s": _remaining_s(past, elapsed),
        "state": "waiting" if attempt.waiting else "running",
    }


def _remaining_s(past: list[float], elapsed_s: float) -> float | None:
    """Median of the earlier ones that took longer than this one has already, less what it has; None
    without any.
    """
    longer = [wall_s for wall_s in past if wall_s > elapsed_s]
    return statistics.median(longer) - elapsed_s if longer else None


def _done(state: CampaignState, purpose: str) -> int:
    return sum(record.status == "done" for record in state.labels(purpose))


def _potential(potential: PotentialRef, history: Sequence[tuple[float, Event]]) -> Json:
    when = next(
        (
            t
            for t, e in history
            if isinstance(e, PotentialPublished) and e.potential.name == potential.name
        ),
        0,
    )
    return {
        "name": potential.name,
        "trainer": potential.trainer,
        "labels": potential.labels,
        "test": potential.metrics.get("test") or {},
        "train": potential.metrics.get("train") or {},
        "published_at": when,
    }


def _condition(plan: Plan, state: CampaignState, index: int) -> Json:
    condition = plan.exploration.conditions[index]
    records = visits(state, condition)
    newest = records[-1] if records else None
    progress = newest.attempts[-1].progress if newest and newest.attempts else None
    latest = progress.line() if progress else {}
    if newest is not None and newest.status == "done":
        latest = {**latest, **newest.result}
    if passed(plan, state, condition):
        word = "clean"
    elif newest is None:
        word = "not visited"
    else:
        word = newest.status if newest.status != "done" else "visited"
    keys = ("clean_ps", "ps", "gamma_max", "potential")
    return {"name": condition.name, "state": word, **{key: latest.get(key) for key in keys}}


def _starts(history: Sequence[tuple[float, Event]]) -> dict[tuple[str, int], float]:
    return {(e.task_id, e.attempt): when for when, e in history if isinstance(e, AttemptPlanned)}


def _last_events(state: CampaignState, history: Sequence[tuple[float, Event]]) -> list[Json]:
    found: list[Json] = []
    for when, event in reversed(history):
        if text := describe(event, state):
            found.append({"time": when, "text": text})
            if len(found) == LAST_EVENTS:
                break
    return found[::-1]
