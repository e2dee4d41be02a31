"""Task ``hit_rate``: the surrogate beside DFT, on the first labels and on those made to check the
screen.
"""

from __future__ import annotations

from pathlib import Path

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.campaign.payloads import HitRatePayload
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.proposing import strategies
from mlip_autopipec.science.hit_rate import Judged, hit_rate, predict
from mlip_autopipec.science.screening import by_own_limit
from mlip_autopipec.tasks.finished import candidate_of, outcome_of

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """What :class:`HitRatePayload` asks of ended label tasks; the result is ``HitRate.to_json()``.

    Structures whose strategy set a limit of its own (dimers, lone atoms) are left out: the
    surrogate did not judge them. Failure ``no_surrogate`` where it lacks an element. Nothing is
    written into ``folder``.
    """
    calculator = strategies.calculator(plan)
    if calculator is None:
        return Outcome(
            None, Failure("no_surrogate", f"{plan.surrogate.engine} does not know every element")
        )
    limits = strategies.limits(plan.surrogate)
    asked = HitRatePayload.from_json(spec.payload)
    ended = [
        (candidate, label, rejected)
        for names, rejected in ((asked.accepted, False), (asked.audited, True))
        for candidate, label in (_ended(spec, name) for name in names)
        if by_own_limit(candidate, limits) is None
    ]
    predictions = predict([candidate.atoms for candidate, _, _ in ended], calculator)
    judged = [
        Judged(candidate.atoms, label, prediction, rejected)
        for (candidate, label, rejected), prediction in zip(ended, predictions, strict=True)
    ]
    return Outcome(hit_rate(judged, limits).to_json())


def _ended(spec: TaskSpec, task_id: str) -> tuple[Candidate, Label | Failure]:
    folder = spec.input_folder(task_id)
    outcome = outcome_of(folder)
    return candidate_of(folder), outcome.failure or Label.from_json(outcome.result or {})
