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
from pathlib import Path
from typing import Any

from mlip_autopipec.base.files import atomic_write, write_json
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.ports import METRICS, POTENTIAL_FOLDER, PREDICTIONS
from mlip_autopipec.engines.train.pacemaker.active_set import write_active_set
from mlip_autopipec.engines.train.pacemaker.config import ASI, YAML
from mlip_autopipec.engines.train.pacemaker.data import FitRows, fit_rows, reference_energies
from mlip_autopipec.engines.train.pacemaker.evaluate import predict
from mlip_autopipec.engines.train.pacemaker.fit_linear import fit_linear
from mlip_autopipec.engines.train.pacemaker.fit_nonlinear import fit_nonlinear
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings, read_job
from mlip_autopipec.engines.train.pacemaker.potential import (
    add_core_repulsion,
    core_radii,
    load_calculator,
    read_references,
    save,
)
from mlip_autopipec.science.predictions import Predictions, errors

__all__ = ["fit", "main", "run"]


def fit(settings: FitSettings, rows: FitRows, folder: Path) -> Any:
    """The fitted expansion (BBasisConfiguration, no core yet) by the trainer that the settings
    name.
    """
    if settings.trainer == "linear":
        return fit_linear(settings, rows)
    return fit_nonlinear(settings, rows, folder)


def run(job: Path) -> Json:
    """Fit, core repulsion, active set, export, errors; returns the metrics.

    Works in the folder of ``job``.
    """
    folder = job.resolve().parent
    settings, train, test = read_job(job)
    if settings.warm_start is None:
        references = reference_energies(train, settings.elements, settings.cutoff_a)
    else:
        references = read_references(Path(settings.warm_start))
    configuration = fit(
        settings, fit_rows(train, references, settings.masked_energy_weight), folder
    )
    radii = core_radii(train, settings.elements)
    add_core_repulsion(configuration, radii)

    partial = folder / f"{POTENTIAL_FOLDER}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save(configuration, references, partial)
    gamma = write_active_set(partial / YAML, train, partial / ASI)
    metrics = _evaluate(settings, train, test, partial)
    metrics.update(
        {
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


def _evaluate(
    settings: FitSettings,
    train: list[LabelledStructure],
    test: list[LabelledStructure],
    potential: Path,
) -> Json:
    calculator = load_calculator(potential)
    rows = Predictions(tuple(predict(calculator, train)), tuple(predict(calculator, test)))
    atomic_write(potential / PREDICTIONS, json.dumps(rows.to_json()))
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "trainer": settings.trainer,
        "basis": settings.basis,
        "warm_start": settings.warm_start,
        "train": errors(rows.train).to_json(),
        "test": errors(rows.test).to_json(),
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
