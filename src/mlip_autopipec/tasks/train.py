"""Task ``train``: from finished labels to a potential folder.

What it asks and answers: :class:`~mlip_autopipec.campaign.payloads.TrainPayload` and
:class:`~mlip_autopipec.campaign.results.TrainResult`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.judging import CONDITIONS, KINDS
from mlip_autopipec.campaign.payloads import TrainPayload
from mlip_autopipec.campaign.results import TrainResult
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import PREDICTIONS, PredictsErrors, TrainJob
from mlip_autopipec.engines.potential_folder import calculator_of, sign
from mlip_autopipec.science.dataset import group_split, one_method
from mlip_autopipec.science.judgement import ON_POLICY, Unseen, by_condition, by_kind, unseen
from mlip_autopipec.science.predictions import Predictions, prediction
from mlip_autopipec.tasks.finished import SURROGATE_LABELS, candidate_of, outcome_of

__all__ = ["run"]

# What may be held out: drawn at random, or seen by no selector (frames of MD). A selector looks for
# corners or centres of what was proposed, so an error on its picks says nothing about the rest.
UNBIASED = (None, "random", ON_POLICY)

#: File of a potential folder: labels as the potentials that asked for them predicted them.
WHEN_ASKED = "when_asked.json"


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Read the labels, fit, and judge by what was not learned.

    Labels that are new are predicted by the previous potential first. A trainer that predicts its
    errors cross-validates, and is given every label; for others some groups are held out.
    """
    asked = TrainPayload.from_json(spec.payload)
    name = asked.trainer
    previous = _potential(spec, asked.previous)
    items, forced = _labelled(spec, asked.labels)
    if not one_method(items):
        return Outcome(
            None, failure=Failure("mixed_methods", "the labels come from more than one DFT method")
        )
    trainer = registry.trainer(name)
    train: tuple[LabelledStructure, ...] = tuple(items)
    test: tuple[LabelledStructure, ...] = ()
    if not isinstance(trainer, PredictsErrors):
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
        prior=_prior(spec, asked.generated),
    )
    asked_before = _when_asked(previous, items)
    exit_code = run_prepared(trainer.prepare(job, folder), folder, plan.training.walltime_s)
    trained = trainer.parse(job, folder, exit_code)
    if isinstance(trained, Failure):
        return Outcome(None, failure=trained)
    sign(trained.folder, name, job.elements)
    write_json(trained.folder / WHEN_ASKED, [row.to_json() for row in asked_before])
    metrics = {**trained.metrics, **_judged(trained.folder, items, test, asked_before)}
    return Outcome(TrainResult(name, metrics, len(items)).to_json())


def _judged(
    potential: Path,
    items: Sequence[LabelledStructure],
    test: Sequence[LabelledStructure],
    asked_before: Sequence[Unseen],
) -> Json:
    """Errors on what was not learned, by condition and by kind of structure.

    A fit that cross-validated tells them of itself; for another the predictions of the potentials
    that asked stand, which are those of its predecessors, and by kind its held-out set.
    """
    item_of = {item.name: item for item in items}
    rows = [
        unseen(item_of[row.name], row)
        for row in Predictions.from_json(read_json(potential / PREDICTIONS)).test
        if row.name in item_of
    ]
    by_itself = rows if not test else []
    return {
        CONDITIONS: [found.to_json() for found in by_condition(by_itself or asked_before)],
        KINDS: [found.to_json() for found in by_kind(rows)],
        "when_asked": [found.to_json() for found in by_condition(asked_before)],
    }


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


def _prior(spec: TaskSpec, generated: str | None) -> tuple[LabelledStructure, ...]:
    """The surrogate's own labels; none where a run from before they were made goes on."""
    file = None if generated is None else spec.input_folder(generated) / SURROGATE_LABELS
    if file is None or not file.is_file():
        return ()
    return tuple(LabelledStructure.from_json(row) for row in read_json(file))


def _potential(spec: TaskSpec, relative: str | None) -> Path | None:
    """Absolute folder of a potential, or None where none is named."""
    return None if relative is None else Path(spec.root) / relative


def _held_out_before(previous: Path | None) -> set[str]:
    """Names of the structures that the previous potential was tested on."""
    file = None if previous is None else previous / PREDICTIONS
    if file is None or not file.is_file():
        return set()
    return {row.name for row in Predictions.from_json(read_json(file)).test}


def _when_asked(previous: Path | None, items: Sequence[LabelledStructure]) -> list[Unseen]:
    """Every label that was predicted by the potential of its day before it was learned: those that
    are new since ``previous``, and what that one knew of earlier ones.

    Only labels that MD asked for: others were chosen whatever a potential said.
    """
    if previous is None:
        return []
    file = previous / WHEN_ASKED
    known = [Unseen.from_json(row) for row in read_json(file)] if file.is_file() else []
    learned = {row.name for row in known}
    if (previous / PREDICTIONS).is_file():
        told = Predictions.from_json(read_json(previous / PREDICTIONS))
        learned |= {row.name for row in (*told.train, *told.test)}
    new = [
        item for item in items if item.name not in learned and item.provenance.potential is not None
    ]
    if not new:
        return known
    calculator = calculator_of(previous)
    for item in new:
        atoms = item.atoms.copy()
        atoms.calc = calculator
        row = prediction(item, atoms.get_potential_energy(), atoms.get_forces())
        known.append(unseen(item, row))
    return known
