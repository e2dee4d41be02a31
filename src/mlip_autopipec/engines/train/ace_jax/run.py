"""One fit, from job.json to a finished potential folder: ``python -m ...engines.train.ace_jax.run
job.json``.

The potential is built in ``potential.partial/`` and renamed when it is complete.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlip_autopipec.base.files import atomic_write, write_json
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.engines.ports import METRICS, POTENTIAL_FOLDER, PREDICTIONS
from mlip_autopipec.engines.train.ace_jax.core import core_repulsion
from mlip_autopipec.engines.train.ace_jax.design import Basis, Rows, build_basis, design_rows
from mlip_autopipec.engines.train.ace_jax.guard import active_set, grades, guard_columns
from mlip_autopipec.engines.train.ace_jax.job import Job, read_job
from mlip_autopipec.engines.train.ace_jax.neighbours import around
from mlip_autopipec.engines.train.ace_jax.posterior import Posterior, calibrated
from mlip_autopipec.engines.train.ace_jax.potential import GUARD, MODEL, POSTERIOR
from mlip_autopipec.engines.train.ace_jax.references import reference_energies
from mlip_autopipec.engines.train.ace_jax.regression import (
    Fit,
    Weights,
    cross_validated,
    folds_of,
    weighted_rows,
)
from mlip_autopipec.science.dataset import core_mask, refusal
from mlip_autopipec.science.predictions import Predicted, Predictions, errors, prediction

__all__ = ["main", "run"]


def run(path: Path) -> Json:
    """Fit, active set, predictions; returns the metrics. Works in the folder of ``path``."""
    folder = path.resolve().parent
    job, set_aside = _usable(read_job(path))
    settings = job.settings
    basis = build_basis(job.elements, settings.order, settings.max_degree, settings.cutoff_a)
    references = reference_energies(job.train, job.elements, basis.cutoff_a)
    items = [*job.train, *job.test]
    rows = design_rows(basis, [item.atoms for item in items])
    taught = len(job.train)
    known = [_beside_the_expansion(item, basis, references) for item in items]
    folds = folds_of([item.provenance.group for item in job.train])
    fit = _fitted(job, rows[:taught], known[:taught], folds, basis)
    left = [
        np.asarray(item.label.forces) - own[1]
        for item, own in zip(job.train, known[:taught], strict=True)
    ]
    knots, told = calibrated(job.train, rows[:taught], left, folds, fit)

    partial = folder / f"{POTENTIAL_FOLDER}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    basis.save(fit.coefficients, references, partial / MODEL)
    Posterior(fit.factor, *knots, fit.resampled, settings.order, settings.max_degree).save(
        partial / POSTERIOR
    )
    gamma = _guarded(basis, items, rows, taught, partial / GUARD)

    def predicted(numbers: Sequence[int], coefficients: Sequence[FloatArray]) -> list[Predicted]:
        return [
            _predicted(items[n], rows[n], known[n], c, gamma[n])
            for n, c in zip(numbers, coefficients, strict=True)
        ]

    train = predicted(range(taught), [fit.coefficients] * taught)
    if job.test:
        test = predicted(range(taught, len(items)), [fit.coefficients] * len(job.test))
    else:  # every label as it is predicted by the fit that leaves its fold out
        test = [
            replace(row, force_errors_ev_per_a=np.round(own, 5).tolist())
            for row, own in zip(
                predicted(range(taught), [fit.without[fold] for fold in folds]), told, strict=True
            )
        ]
    atomic_write(
        partial / PREDICTIONS, json.dumps(Predictions(tuple(train), tuple(test)).to_json())
    )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    metrics: Json = {
        "trainer": "ace",
        "basis": {
            "elements": list(basis.elements),
            "cutoff_a": basis.cutoff_a,
            "functions_per_element": basis.many_body + basis.pair,
        },
        "train": errors(train).to_json(),
        "test": errors(test).to_json(),
        "gamma_train_max": max((row.gamma_max or 0.0 for row in train), default=0.0),
        "reference_energy_ev": references,
        "ridge": fit.strength,
        "set_aside": set_aside,
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
    }
    write_json(partial / METRICS, metrics)
    partial.rename(folder / POTENTIAL_FOLDER)
    return metrics


def _usable(job: Job) -> tuple[Job, dict[str, str]]:
    """The job without labels that nobody can learn, and name -> reason of those.

    Raises RuntimeError where none is left.
    """
    reasons = {item.name: why for item in job.train if (why := refusal(item)) is not None}
    train = tuple(item for item in job.train if item.name not in reasons)
    if not train:
        raise RuntimeError(f"no structure could be used: {next(iter(reasons.values()))}")
    return replace(job, train=train), reasons


Known = tuple[float, FloatArray, FloatArray]
"""Energy (eV), forces (n, 3) and virial (6,), of what is not in the expansion."""


def _beside_the_expansion(
    item: LabelledStructure, basis: Basis, references: dict[str, float]
) -> Known:
    """Reference energies and core repulsion."""
    near = around(item.atoms, basis.elements, basis.cutoff_a)
    core, derivative, _ = core_repulsion(near, basis.elements)
    forces = derivative.sum(axis=1)
    np.add.at(forces, near.index.ravel(), -derivative.reshape(-1, 3))
    strain = np.einsum("nka,nkb->ab", derivative, near.vectors)
    own = sum(references[symbol] for symbol in item.atoms.get_chemical_symbols())
    return own + core, forces, -strain.ravel()[[0, 4, 8, 5, 2, 1]]


def _fitted(
    job: Job, rows: Sequence[Rows], known: Sequence[Known], folds: Sequence[int], basis: Basis
) -> Fit:
    settings = job.settings
    energies, forces = [], []
    virials: list[FloatArray | None] = []
    for item, (own, core_forces, core_virial) in zip(job.train, known, strict=True):
        energies.append(item.label.energy_ev - own)
        forces.append(np.asarray(item.label.forces) - core_forces)
        if item.label.stress is None or not (item.atoms.pbc.all() and item.atoms.cell.rank == 3):
            virials.append(None)  # a slab's stress is of its vacuum, too
        else:
            virials.append(-item.label.stress * item.atoms.get_volume() - core_virial)
    weights = Weights(
        settings.energy_weight,
        settings.stress_weight,
        settings.half_weight_ev,
        job.masked_energy_weight,
    )
    blocks = weighted_rows(job.train, rows, energies, forces, virials, weights)
    return cross_validated(blocks, folds, basis.penalty)


def _guarded(
    basis: Basis, items: Sequence[LabelledStructure], rows: Sequence[Rows], taught: int, path: Path
) -> list[FloatArray]:
    """Write the active set of the first ``taught`` structures; gamma of every atom of all."""
    # Columns: the many-body functions of every element, then the pair functions of every element.
    penalty = np.append(basis.penalty[: basis.many_body], basis.penalty[-basis.pair :])
    arrays: dict[str, Any] = {}
    gamma = [np.zeros(len(item.atoms)) for item in items]
    for element in basis.elements:
        ours = [np.array(item.atoms.get_chemical_symbols()) == element for item in items]
        learned = np.concatenate(
            [rows[n].descriptors[ours[n] & core_mask(items[n])] for n in range(taught)]
        )
        columns = guard_columns(penalty, len(learned))
        inverse = active_set(learned[:, columns])
        arrays[f"columns_{element}"], arrays[f"inverse_{element}"] = columns, inverse
        for n, mask in enumerate(ours):
            gamma[n][mask] = grades(rows[n].descriptors[np.ix_(mask, columns)], inverse)
    np.savez(path, **arrays)
    return gamma


def _predicted(
    item: LabelledStructure, row: Rows, known: Known, coefficients: FloatArray, gamma: FloatArray
) -> Predicted:
    energy = float(row.energy @ coefficients) + known[0]
    return prediction(item, energy, row.forces @ coefficients + known[1], gamma)


def main() -> int:
    """Exit code 0 with a potential, otherwise a traceback on standard error."""
    metrics = run(Path(sys.argv[1]))
    print(json.dumps({key: metrics[key] for key in ("train", "test", "gamma_train_max", "cpu_s")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
