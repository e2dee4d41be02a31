"""``validate``: every property of the plan by one potential beside that of our own DFT, with its
spread over resampled fits where the trainer makes some; and whether the potential may be released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ase.calculators.calculator import Calculator

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.campaign.payloads import ValidatePayload
from mlip_autopipec.campaign.results import GenerateResult
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.potential_folder import calculator_of, ensemble_of
from mlip_autopipec.science.properties import stored
from mlip_autopipec.science.properties.port import Answer, Comparison, Found, Known, Property
from mlip_autopipec.science.release_gate import FreeAtom, Gate, release_gate
from mlip_autopipec.tasks.finished import candidate_of, outcome_of

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Compare the potential of a :class:`ValidatePayload` with the labels of each property; under
    ``gate`` the result says whether it may be released, where that was asked.

    A property without a value has the reason beside it. Failure
    ``validation_data`` where the labels make no property at all.
    """
    asked = ValidatePayload.from_json(spec.payload)
    potential = Path(spec.root) / asked.potential
    calculator = calculator_of(potential, plan.training.trainer)
    members = ensemble_of(potential, plan.training.trainer)
    found: dict[str, Comparison] = {}
    failures: list[Failure] = []
    for name in asked.labels:
        known = _known(spec, plan, name, asked)
        compared = (
            known if isinstance(known, Failure)
            else _compared(plan.validation.each[name], known, calculator, members)
        )  # fmt: skip
        if isinstance(compared, Failure):
            failures.append(compared)
            compared = Comparison(dft=Found(failure=compared.message))
        found[name] = compared
    if failures and len(failures) == len(found) and not asked.gate:
        return Outcome(None, failures[0])
    result = stored.comparisons_to_json(found)
    if asked.gate:
        gate = _gate(spec, plan, asked, calculator)
        if isinstance(gate, Failure):
            return Outcome(None, gate)
        result["gate"] = gate.to_json()
    write_json(folder / "validation.json", result)
    return Outcome(result)


def _gate(
    spec: TaskSpec, plan: Plan, asked: ValidatePayload, calculator: Calculator
) -> Gate | Failure:
    generated = _generated(spec, asked.source)
    if generated is None:
        return Failure("validation_data", "no structure to try the potential with")
    alone = []
    for task_id in asked.atoms:
        folder = spec.input_folder(task_id)
        result = outcome_of(folder).result
        if result is not None:
            label = Label.from_json(result)
            alone.append(FreeAtom(candidate_of(folder).atoms, label.energy_ev))
    return release_gate(
        calculator,
        generated.ground_state,
        plan.material.elements,
        max(one.temperature_k for one in plan.exploration.conditions if one.role == "asked"),
        plan.exploration.timestep_fs,
        alone,
        ps=plan.exploration.run_ps,
        seed=plan.seed,
    )


def _known(spec: TaskSpec, plan: Plan, name: str, asked: ValidatePayload) -> Known | Failure:
    """The labels of a property, all by one method, and what it started from."""
    answers = []
    for task_id in asked.labels[name]:
        source = spec.input_folder(task_id)
        outcome = outcome_of(source)
        if outcome.result is None:
            return Failure("validation_data", f"{task_id} has no label")
        answers.append(Answer(candidate_of(source), Label.from_json(outcome.result)))
    if not answers:
        return Failure("validation_data", f"no labels to validate {name} against")
    methods = {answer.label.method_hash for answer in answers if answer.label is not None}
    if len(methods) > 1:
        return Failure(
            "validation_data", f"labels of different DFT methods: {', '.join(sorted(methods))}"
        )
    generated = _generated(spec, asked.source)
    return Known(
        start=generated.ground_state if generated else answers[0].candidate.atoms,
        surrogate=plan.surrogate.engine,
        prepared=generated.prepared.get(name) if generated else None,
        answers=tuple(answers),
    )


def _generated(spec: TaskSpec, source: str | None) -> GenerateResult | None:
    """The result of the generate task; None for tasks of earlier versions that name none."""
    if source is None:
        return None
    return GenerateResult.from_json(outcome_of(spec.input_folder(source)).result or {})


def _compared(
    item: Property, known: Known, calculator: Calculator, members: Sequence[Calculator]
) -> Comparison | Failure:
    dft = item.from_labels(known)
    if isinstance(dft, Failure):
        return dft
    # Of the members the values alone: their curves would fill the log.
    spread = tuple(replace(_found(item, known, member), details={}) for member in members)
    return Comparison(dft, _found(item, known, calculator), spread)


def _found(item: Property, known: Known, calculator: Calculator) -> Found:
    found = item.from_calculator(known, calculator)
    return Found(failure=found.message) if isinstance(found, Failure) else found
