"""One fit, from job.json to a finished potential folder: ``python -m ...engines.train.pacemaker.run
job.json``.

The potential is built in ``potential.partial/`` and renamed when it is complete, so ``potential/``
is never half done.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlip_autopipec.base.files import atomic_write, write_json
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.ports import METRICS, POTENTIAL_FOLDER, PREDICTIONS
from mlip_autopipec.engines.train.pacemaker.active_set import grades_out_of_fold, write_guard
from mlip_autopipec.engines.train.pacemaker.basis import empty_basis
from mlip_autopipec.engines.train.pacemaker.config import POSTERIOR
from mlip_autopipec.engines.train.pacemaker.data import (
    fit_rows,
    guard_functions,
    is_free_atom,
    reference_energies,
)
from mlip_autopipec.engines.train.pacemaker.evaluate import predict
from mlip_autopipec.engines.train.pacemaker.fit_linear import fit_linear
from mlip_autopipec.engines.train.pacemaker.fit_nonlinear import fit_nonlinear, refusals
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings, read_job, read_prior
from mlip_autopipec.engines.train.pacemaker.posterior import Posterior
from mlip_autopipec.engines.train.pacemaker.potential import (
    add_core_repulsion,
    core_radii,
    load_calculator,
    read_references,
    save,
)
from mlip_autopipec.engines.train.pacemaker.regression import IntArray
from mlip_autopipec.science.baseline import save_baseline
from mlip_autopipec.science.dataset import refusal
from mlip_autopipec.science.predictions import Predicted, Predictions, errors

__all__ = ["Fitted", "fit", "main", "run"]


@dataclass(frozen=True)
class Fitted:
    """The expansion (BBasisConfiguration, no core yet) and what else the fit says.

    ``out_of_fold``: every label as predicted by a fit without its group, ``folds``: of each of
    these rows, the few by which choices were made; ``metrics``: what joins the metrics of the
    potential; ``set_aside``: name of a label that could not be used -> reason.
    """

    configuration: Any
    out_of_fold: tuple[Predicted, ...] = ()
    folds: IntArray | None = None
    posterior: Posterior | None = None
    metrics: Json = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)


def fit(
    settings: FitSettings,
    items: list[LabelledStructure],
    references: dict[str, float],
    folder: Path,
    prior: list[LabelledStructure],
) -> Fitted:
    """The fit by the trainer that the settings name; ``prior``: for the linear one."""
    if settings.trainer != "linear":
        # A free atom is the reference itself; without a neighbour it teaches nothing.
        bound = [item for item in items if not is_free_atom(item, settings.cutoff_a)]
        refused = refusals(settings, bound)
        bound = [item for item in bound if item.name not in refused]
        rows = fit_rows(bound, references, settings.masked_energy_weight, settings.subtracted)
        return Fitted(fit_nonlinear(settings, rows, folder), set_aside=refused)
    made = fit_linear(settings, items, references, prior)
    return Fitted(
        made.configuration,
        made.out_of_fold,
        made.folds,
        made.posterior,
        {"chosen": made.chosen.to_json(), "limits": made.limits},
        made.set_aside,
    )


def run(job: Path) -> Json:
    """Fit, core repulsion, guard, export, errors; returns the metrics.

    Works in the folder of ``job``. A label that cannot be used is set aside by name.
    """
    folder = job.resolve().parent
    settings, given, test = read_job(job)
    set_aside = {item.name: why for item in given if (why := refusal(item)) is not None}
    train = [item for item in given if item.name not in set_aside]
    if settings.warm_start is None:
        references = reference_energies(train, settings.elements, settings.cutoff_a)
    else:
        references = read_references(Path(settings.warm_start))
    fitted = fit(settings, train, references, folder, read_prior(job))
    set_aside |= fitted.set_aside
    train = [item for item in train if item.name not in set_aside]
    radii = core_radii(train, settings.elements)
    baseline = settings.subtracted
    add_core_repulsion(fitted.configuration, radii, alone=baseline is None)

    partial = folder / f"{POTENTIAL_FOLDER}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save(fitted.configuration, references, partial)
    save_baseline(baseline, partial)
    if fitted.posterior is not None:
        fitted.posterior.save(partial / POSTERIOR)
    asked = max(settings.functions_per_element.values())
    few = guard_functions(train, settings.elements, asked)
    guard = empty_basis(replace(settings, functions_per_element=few))
    gamma = write_guard(guard, train, partial)
    unseen = _graded(train, fitted, partial)
    metrics = _evaluate(settings, train, test, unseen, partial)
    metrics.update(fitted.metrics)
    metrics.update(
        {
            "set_aside": set_aside,
            "guard_functions": few,
            "gamma_train_max": gamma,
            "reference_energy_ev": references,
            "core_radius_a": {
                f"{settings.elements[i]}-{settings.elements[j]}": radius
                for (i, j), radius in radii.items()
            },
        }
    )
    write_json(partial / METRICS, metrics)
    partial.rename(folder / POTENTIAL_FOLDER)
    return metrics


def _graded(
    train: list[LabelledStructure], fitted: Fitted, potential: Path
) -> tuple[Predicted, ...]:
    """The out-of-fold rows with the grades that a guard without their folds gives."""
    out_of_fold, folds = fitted.out_of_fold, fitted.folds
    if not out_of_fold or folds is None:
        return out_of_fold
    item_of = {item.name: item for item in train}
    items = [item_of[row.name] for row in out_of_fold]
    grades = grades_out_of_fold(potential, items, folds)
    return tuple(
        replace(row, gamma=np.round(found, 4).tolist())
        for row, found in zip(out_of_fold, grades, strict=True)
    )


def _evaluate(
    settings: FitSettings,
    train: list[LabelledStructure],
    test: list[LabelledStructure],
    out_of_fold: tuple[Predicted, ...],
    potential: Path,
) -> Json:
    """Errors in training, and of ``test``; where nothing was withheld, of the out-of-fold
    predictions.
    """
    calculator = load_calculator(potential)
    unseen = tuple(predict(calculator, test)) if test else out_of_fold
    rows = Predictions(tuple(predict(calculator, train)), unseen)
    atomic_write(potential / PREDICTIONS, json.dumps(rows.to_json()))
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "trainer": settings.trainer,
        "basis": settings.basis,
        "warm_start": settings.warm_start,
        "train": errors(rows.train).to_json(),
        "test": errors(rows.test).to_json(),
        "cross_validated": not test and bool(out_of_fold),
        "cpu_s": round(sum(item.ru_utime + item.ru_stime for item in usage), 1),
    }


def main() -> int:
    """Exit code 0 with a potential, otherwise a traceback on standard error."""
    metrics = run(Path(sys.argv[1]))
    print(
        json.dumps(
            {key: metrics[key] for key in ("trainer", "train", "test", "gamma_train_max", "cpu_s")}
        )
    )
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of pyace and TensorFlow have nothing left to say; a crash on their way out must not
    # spoil the exit code.
    os._exit(code)
