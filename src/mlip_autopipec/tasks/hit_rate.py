"""Task ``hit_rate``: the surrogate beside DFT, on the first labels and on those made to check the
screen.
"""

from __future__ import annotations

from pathlib import Path

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.proposing import strategies
from mlip_autopipec.runtime.layout import OUTCOME, SPEC
from mlip_autopipec.science.hit_rate import Judged, hit_rate, predict
from mlip_autopipec.science.screening import by_own_limit

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Payload {"accepted", "audited"}: ids of ended label tasks; the result is
    ``HitRate.to_json()``.

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
    ended = [
        (candidate, label, key == "audited")
        for key in ("accepted", "audited")
        for candidate, label in (_ended(spec, name) for name in spec.payload[key])
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
    outcome = Outcome.from_json(read_json(folder / OUTCOME))
    candidate = Candidate.from_json(read_json(folder / SPEC)["payload"]["candidate"])
    return candidate, outcome.failure or Label.from_json(outcome.result or {})
