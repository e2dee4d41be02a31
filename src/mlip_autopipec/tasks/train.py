"""Task ``train``: from finished labels to a potential folder.

What it asks and answers: :class:`~mlip_autopipec.campaign.payloads.TrainPayload` and
:class:`~mlip_autopipec.campaign.results.TrainResult`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.payloads import TrainPayload
from mlip_autopipec.campaign.results import TrainResult
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import TrainJob
from mlip_autopipec.engines.potential_folder import calculator_of, sign
from mlip_autopipec.science.dataset import group_split, one_method
from mlip_autopipec.science.predictions import Predictions, errors, prediction
from mlip_autopipec.tasks.finished import candidate_of, outcome_of

__all__ = ["run"]

# What may be held out: drawn at random, or seen by no selector (frames of MD). A selector looks for
# corners or centres of what was proposed, so an error on its picks says nothing about the rest.
UNBIASED = (None, "random")


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Read the labels, hold out groups, fit, and judge the previous potential on the same held-out
    set.
    """
    asked = TrainPayload.from_json(spec.payload)
    name = asked.trainer
    previous = _potential(spec, asked.previous)
    items, forced = _labelled(spec, asked.labels)
    if not one_method(items):
        return Outcome(
            None, failure=Failure("mixed_methods", "the labels come from more than one DFT method")
        )
    train, test = group_split(
        items,
        plan.training.held_out_fraction,
        plan.seed,
        train_only=forced,
        keep_test=_held_out_before(previous),
    )
    if not train:
        return Outcome(
            None, failure=Failure("no_labels", "there is no labelled structure to train on")
        )
    job = TrainJob(
        elements=plan.material.elements,
        train=train,
        test=test,
        settings=plan.training.settings_of(name),
        seed=asked.seed,
        masked_energy_weight=plan.embedding.energy_weight,
        warm_start=_potential(spec, asked.warm_start),
        threads=plan.training.cores,
    )
    trainer = registry.trainer(name)
    exit_code = run_prepared(trainer.prepare(job, folder), folder, plan.training.walltime_s)
    trained = trainer.parse(job, folder, exit_code)
    if isinstance(trained, Failure):
        return Outcome(None, failure=trained)
    sign(trained.folder, name, job.elements)
    metrics = {**trained.metrics, "previous_test": _previous_errors(previous, test)}
    return Outcome(TrainResult(name, metrics, len(items)).to_json())


def _labelled(spec: TaskSpec, labels: Sequence[str]) -> tuple[list[LabelledStructure], set[str]]:
    """The finished labels in the order of their ids, and the names of those that may not be held
    out.
    """
    items: list[LabelledStructure] = []
    forced: set[str] = set()
    for task_id in labels:
        folder = spec.input_folder(task_id)
        candidate = candidate_of(folder)
        label = Label.from_json(outcome_of(folder).result or {})
        items.append(
            LabelledStructure(task_id, candidate.atoms, label, candidate.provenance, candidate.core)
        )
        if candidate.forced or candidate.provenance.parameters.get("picked") not in UNBIASED:
            forced.add(task_id)
    return items, forced


def _potential(spec: TaskSpec, relative: str | None) -> Path | None:
    """Absolute folder of a potential, or None where none is named."""
    return None if relative is None else Path(spec.root) / relative


def _held_out_before(previous: Path | None) -> set[str]:
    """Names of the structures that the previous potential was tested on."""
    file = None if previous is None else previous / "predictions.json"
    if file is None or not file.is_file():
        return set()
    return {row.name for row in Predictions.from_json(read_json(file)).test}


def _previous_errors(previous: Path | None, test: Sequence[LabelledStructure]) -> Json | None:
    """Errors of the previous potential on this held-out set."""
    if previous is None or not test:
        return None
    calculator = calculator_of(previous)
    rows = []
    for item in test:
        atoms = item.atoms.copy()
        atoms.calc = calculator
        rows.append(prediction(item, atoms.get_potential_energy(), atoms.get_forces()))
    return errors(rows).to_json()
