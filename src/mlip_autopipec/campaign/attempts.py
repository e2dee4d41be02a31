"""Judgements: what follows from a failed attempt, and whether the campaign has converged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlip_autopipec.base.labels import LabelJob, PotentialRef
from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.events import AttemptEnded
from mlip_autopipec.campaign.exploring import passed
from mlip_autopipec.campaign.state import PERSON, CampaignState, TaskRecord
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.stopping import (
    ConditionProgress,
    Limits,
    Property,
    Round,
    Verdict,
    judge,
)

__all__ = ["LOST", "STOPPED", "Repair", "convergence", "judge_attempt", "validation_of"]

Repair = Callable[[LabelJob, Sequence[Failure]], LabelJob | None]

LOST = "lost"
"""The worker vanished without an outcome (killed, machine restarted)."""
STOPPED = "stopped"
"""The driver ended the attempt because the user stopped the run; never counted against the task."""
MAX_LOST = 8
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
    if record.task.kind == "label" and failure.kind != "error":
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
    job = LabelJob.from_json(record.payload["job"])
    following = repair(job, failures) if len(failures) < plan.dft.max_attempts else None
    if following is None:
        return AttemptEnded(record.task.id, attempt, outcome, "quarantined")
    payload: Json = {**record.payload, "job": following.to_json()}
    return AttemptEnded(
        record.task.id, attempt, outcome, "retry", payload, cure=_difference(job, following)
    )


def _difference(old: LabelJob, new: LabelJob) -> str:
    changed = {key: value for key, value in new.numerics.items() if old.numerics.get(key) != value}
    return ", ".join(f"{key}={value}" for key, value in changed.items()) or "same again"


def validation_of(state: CampaignState, potential: PotentialRef) -> Json | None:
    """Result of the validation of a potential, if it was done."""
    for record in state.of_kind("validate"):
        if record.status == "done" and record.task.payload["potential"] == potential.folder:
            return record.result
    return None


def convergence(plan: Plan, state: CampaignState) -> Verdict:
    """The verdict of :mod:`mlip_autopipec.science.stopping` on the potentials of the released
    kind.
    """
    limits = Limits(
        force_rmse_change=plan.convergence.force_rmse_change,
        energy_rmse_mev_per_atom=plan.convergence.energy_rmse_mev_per_atom,
        force_rmse_mev_per_a=plan.convergence.force_rmse_mev_per_a,
        tolerances={}
        if plan.validation.modes
        else {
            "lattice_constant_a": plan.validation.lattice_tolerance,
            "bulk_modulus_gpa": plan.validation.bulk_modulus_tolerance,
        },
        ceilings={}
        if not plan.validation.modes
        else {
            "geometry_rmsd_a": (plan.validation.geometry_tolerance_a, "Å"),
            "frequency_rmse_per_cm": (plan.validation.frequency_tolerance_per_cm, "1/cm"),
        },
        property_change=plan.convergence.property_change,
        rounds=plan.convergence.rounds,
    )
    released = [
        potential for potential in state.potentials if potential.trainer == plan.training.trainer
    ]
    conditions = [
        ConditionProgress(c.name, bool(released) and passed(plan, state, c))
        for c in plan.exploration.conditions
    ]
    return judge([_round(state, potential) for potential in released], conditions, limits)


def _round(state: CampaignState, potential: PotentialRef) -> Round:
    test = potential.metrics.get("test") or {}
    previous = potential.metrics.get("previous_test") or {}
    validation = validation_of(state, potential) or {}
    properties: dict[str, Property] = {
        name: Property(validation[name]["potential"], validation[name]["dft"])
        for name in ("lattice_constant_a", "bulk_modulus_gpa")
        if name in validation
    }
    return Round(
        potential.name,
        test.get("force_rmse_mev_per_a"),
        test.get("energy_rmse_mev_per_atom"),
        previous.get("force_rmse_mev_per_a"),
        properties,
        {
            name: validation[name]
            for name in ("geometry_rmsd_a", "frequency_rmse_per_cm")
            if name in validation
        },
    )
