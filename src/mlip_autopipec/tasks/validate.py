"""``validate``: every property of the plan by one potential beside that of our own DFT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.structures import Candidate, atoms_from_json
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.potential_folder import calculator_of
from mlip_autopipec.science.properties import stored
from mlip_autopipec.science.properties.port import Answer, Comparison, Found, Known, Property

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Compare the potential ``payload["potential"]`` (folder relative to the root) with the labels
    of each property.

    ``payload``: ``labels``, property -> ids of label tasks; ``source``, the generate task whose
    start structure they come from. A property without a value has the reason beside it. Failure
    ``validation_data`` where the labels make no property at all.
    """
    potential = Path(spec.root) / spec.payload["potential"]
    calculator = calculator_of(potential, plan.training.trainer)
    found: dict[str, Comparison] = {}
    failures: list[Failure] = []
    for name, ids in stored.labels_of(spec.payload).items():
        known = _known(spec, plan, name, ids)
        compared = (
            known if isinstance(known, Failure)
            else _compared(plan.validation.each[name], known, calculator)
        )  # fmt: skip
        if isinstance(compared, Failure):
            failures.append(compared)
            compared = Comparison(dft=Found(failure=compared.message))
        found[name] = compared
    if failures and len(failures) == len(found):
        return Outcome(None, failures[0])
    result = stored.comparisons_to_json(found)
    write_json(folder / "validation.json", result)
    return Outcome(result)


def _known(spec: TaskSpec, plan: Plan, name: str, ids: list[str]) -> Known | Failure:
    """The labels of a property, all by one method, and what it started from."""
    answers = []
    for task_id in ids:
        source = spec.input_folder(task_id)
        outcome = Outcome.from_json(read_json(source / "outcome.json"))
        if outcome.result is None:
            return Failure("validation_data", f"{task_id} has no label")
        payload = read_json(source / "spec.json")["payload"]
        answers.append(
            Answer(Candidate.from_json(payload["candidate"]), Label.from_json(outcome.result))
        )
    if not answers:
        return Failure("validation_data", f"no labels to validate {name} against")
    methods = {answer.label.method_hash for answer in answers if answer.label is not None}
    if len(methods) > 1:
        return Failure(
            "validation_data", f"labels of different DFT methods: {', '.join(sorted(methods))}"
        )
    generated = _generated(spec)
    return Known(
        start=(
            atoms_from_json(generated["ground_state"]) if generated else answers[0].candidate.atoms
        ),
        surrogate=plan.surrogate.engine,
        prepared=stored.prepared(generated).get(name),
        answers=tuple(answers),
    )


def _generated(spec: TaskSpec) -> Mapping[str, Any]:
    """The result of the generate task; empty for tasks of earlier versions that name none."""
    source = stored.source_of(spec.payload)
    return {} if source is None else read_json(spec.input_folder(source) / "outcome.json")["result"]


def _compared(item: Property, known: Known, calculator: Calculator) -> Comparison | Failure:
    dft = item.from_labels(known)
    if isinstance(dft, Failure):
        return dft
    potential = item.from_calculator(known, calculator)
    if isinstance(potential, Failure):
        potential = Found(failure=potential.message)
    return Comparison(dft, potential)
