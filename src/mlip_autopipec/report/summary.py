"""From the log of a campaign to what the result folder is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.structures import atoms_from_json
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.auditing import AUDIT, hit_rate_of
from mlip_autopipec.campaign.events import (
    AttemptEnded,
    AttemptPlanned,
    Event,
    MdBroke,
    MdEvent,
    MdProgressed,
    MdResumed,
    MdStreamed,
    MdSwapped,
    PotentialPublished,
    TaskCancelled,
)
from mlip_autopipec.campaign.labelled import labelled_structures
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.campaign.stopping import validation_of, verdict
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.report import status as snapshot
from mlip_autopipec.report.result_folder import CampaignSummary, write_result

__all__ = ["campaign_summary", "write_campaign_result"]

History = Sequence[tuple[float, Event]]


def write_campaign_result(
    root: Path, plan: Plan, state: CampaignState, history: History, wall_s: float
) -> Json:
    """Write ``root/result`` and return its summary."""
    return write_result(root, plan, campaign_summary(plan, state, history, wall_s))


def campaign_summary(
    plan: Plan, state: CampaignState, history: History, wall_s: float
) -> CampaignSummary:
    """Everything that is known of the campaign, as plain values."""
    released = _released(plan, state)
    done = [record for record in state.of_kind("generate") if record.status == "done"]
    status = snapshot.status(plan, state, history, wall_s)
    return CampaignSummary(
        end_state=state.end.end_state if state.end else None,
        reason=state.end.reason if state.end else "not ended",
        wall_s=wall_s,
        dft_calls=state.dft_calls,
        convergence_calls=state.settings_checked.calculations if state.settings_checked else 0,
        potentials=tuple(state.potentials),
        published_at={
            e.potential.name: when for when, e in history if isinstance(e, PotentialPublished)
        },
        released=released.name if released else None,
        swaps=state.swaps,
        cutouts=snapshot.cutouts(state),
        validation=validation_of(state, released) if released else None,
        train=tuple(labelled_structures(state, "train")),
        validate=tuple(labelled_structures(state, "validate")),
        audit=tuple(labelled_structures(state, AUDIT)),
        screen=_screen(plan, state),
        failures=_failures(state),
        rounds=_rounds(state),
        gamma=_gamma(history),
        timeline=_timeline(state, history),
        core_hours=snapshot.core_hours(state),
        conditions=tuple(status["conditions"]),
        checks=verdict(plan, state).to_json(),
        ground_state=atoms_from_json(done[0].result["ground_state"]) if done else None,
    )


def _released(plan: Plan, state: CampaignState) -> PotentialRef | None:
    """The newest potential of the released kind, else the newest of any."""
    kind = [
        potential for potential in state.potentials if potential.trainer == plan.training.trainer
    ]
    return kind[-1] if kind else state.current


def _screen(plan: Plan, state: CampaignState) -> Json | None:
    """What the surrogate's screen let pass and how right it was; None before the candidates are
    there.
    """
    done = [record.result for record in state.of_kind("generate") if record.status == "done"]
    if not done:
        return None
    counts = [result.get("hit") or {} for result in done]
    return {
        "surrogate": plan.surrogate.engine,
        "model": plan.surrogate.model,
        "proposed": sum(count.get("proposed", 0) for count in counts),
        "accepted": sum(count.get("accepted", 0) for count in counts),
        "geometry_only": any(result.get("geometry_only", False) for result in done),
        "hit_rate": hit_rate_of(state),
    }


def _failures(state: CampaignState) -> tuple[Json, ...]:
    rows: list[Json] = []
    for record in state.tasks.values():
        for attempt in record.attempts:
            failure = attempt.outcome.failure if attempt.outcome else None
            if failure:
                last = attempt is record.attempts[-1]
                verdict = "quarantined" if record.status == "quarantined" and last else "retried"
                rows.append(
                    {
                        "task": record.task.id,
                        "kind": failure.kind,
                        "message": failure.message,
                        "cure": attempt.cure,
                        "verdict": verdict,
                    }
                )
    return tuple(rows)


def _rounds(state: CampaignState) -> tuple[Json, ...]:
    return tuple(
        {
            "round": number,
            "potential": potential.name,
            "trainer": potential.trainer,
            "labels": potential.labels,
            "train": potential.metrics.get("train"),
            "test": potential.metrics.get("test"),
        }
        for number, potential in enumerate(state.potentials)
    )


def _gamma(history: History) -> dict[str, list[float]]:
    """Extrapolation grades that MD reported, by the potential in force."""
    found: dict[str, list[float]] = {}
    for _, event in history:
        match event:
            case MdProgressed():
                gamma = event.gamma_max
            case MdStreamed() | MdBroke():
                gamma = event.gamma
            case _:
                continue
        if gamma and event.potential:  # 0: nothing was evaluated yet
            found.setdefault(event.potential, []).append(gamma)
    return found


def _timeline(state: CampaignState, history: History) -> tuple[Json, ...]:
    """One row an attempt; ``waits``: spans in which MD waited for a better potential."""
    open_rows: dict[str, Json] = {}
    rows: list[Json] = []
    for when, event in history:
        match event:
            case AttemptPlanned(task_id, _):
                kind = state.tasks[task_id].task.kind
                open_rows[task_id] = {
                    "kind": kind,
                    "id": task_id,
                    "start": when,
                    "end": when,
                    "ok": True,
                    "waits": [],
                }
                rows.append(open_rows[task_id])
            case AttemptEnded(task_id, _, outcome):
                _close(open_rows.pop(task_id, None), when, outcome.ok)
            case TaskCancelled(task_id, _):
                _close(open_rows.pop(task_id, None), when, True)
            case (
                MdProgressed(task_id) | MdBroke(task_id) | MdSwapped(task_id) | MdResumed(task_id)
            ) if task_id in open_rows:
                _mark_wait(open_rows[task_id]["waits"], when, event)
    for row in open_rows.values():
        _close(row, history[-1][0], True)
    return tuple(rows)


def _close(row: Json | None, when: float, ok: bool) -> None:
    if row is not None:
        row["end"], row["ok"] = when, ok
        if row["waits"] and row["waits"][-1][1] is None:
            row["waits"][-1][1] = when


def _mark_wait(waits: list[list[float | None]], when: float, event: MdEvent) -> None:
    waiting = bool(waits) and waits[-1][1] is None
    match event:
        case MdBroke() | MdProgressed(waiting=True) if not waiting:
            waits.append([when, None])
        case MdSwapped() | MdResumed() if waiting:
            waits[-1][1] = when
