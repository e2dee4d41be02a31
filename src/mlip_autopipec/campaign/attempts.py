"""What follows from an attempt that ended: done, tried again, or given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.tasks import ERROR, LOST, PERSON, STOPPED, Failure, Outcome
from mlip_autopipec.campaign.events import AttemptEnded
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.campaign.state import TaskRecord
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.config.plan import Plan

__all__ = ["Repair", "judge_attempt"]

Repair = Callable[[LabelJob, Sequence[Failure]], LabelJob | None]

# Workers that vanish say nothing of their task, so they cost no repair; after so many the task
# itself is what kills them.
MAX_LOST = 8
# An exception of Python may be the machine's (a full disk, a lost mount); the second is the
# program's.
MAX_ERRORS = 2


def judge_attempt(
    plan: Plan | LabelPlan, record: TaskRecord, outcome: Outcome, repair: Repair
) -> AttemptEnded:
    """The event for an attempt that ended with ``outcome``: done, tried again (with what changes),
    or quarantined.
    """
    attempt = record.attempts[-1].number
    if outcome.failure is None:
        return AttemptEnded(record.task.id, attempt, outcome, "done")
    failure, earlier = outcome.failure, record.failures
    if failure.kind == STOPPED:
        return AttemptEnded(record.task.id, attempt, outcome, "retry", salvage=True)
    if failure.kind == LOST:
        again = sum(item.kind == LOST for item in earlier) < MAX_LOST
        verdict, cure = ("retry", "same again") if again else ("quarantined", None)
        return AttemptEnded(record.task.id, attempt, outcome, verdict, salvage=True, cure=cure)  # type: ignore[arg-type]
    if failure.kind == PERSON:
        return AttemptEnded(record.task.id, attempt, outcome, "quarantined")
    if record.task.kind == "label" and failure.kind != ERROR:
        return _judge_label(plan, record, outcome, repair)
    again = sum(item.kind not in (LOST, STOPPED) for item in earlier) + 1 < MAX_ERRORS
    return AttemptEnded(
        record.task.id,
        attempt,
        outcome,
        "retry" if again else "quarantined",
        cure="same again" if again else None,
    )


def _judge_label(
    plan: Plan | LabelPlan, record: TaskRecord, outcome: Outcome, repair: Repair
) -> AttemptEnded:
    attempt = record.attempts[-1].number
    scientific = [f for f in record.failures if f.kind not in (LOST, STOPPED)]
    assert outcome.failure is not None
    failures = [*scientific, outcome.failure]
    label = LabelPayload.from_json(record.payload)
    job = label.job
    following = repair(job, failures) if len(failures) < plan.dft.max_attempts else None
    if following is None:
        return AttemptEnded(record.task.id, attempt, outcome, "quarantined")
    payload = replace(label, stored_job=following.to_json()).to_json()
    return AttemptEnded(
        record.task.id, attempt, outcome, "retry", payload, cure=_difference(job, following)
    )


def _difference(old: LabelJob, new: LabelJob) -> str:
    changed = {key: value for key, value in new.numerics.items() if old.numerics.get(key) != value}
    return ", ".join(f"{key}={value}" for key, value in changed.items()) or "same again"
