"""``validate``: the potential's equation of state beside the DFT one, on the same cells (a
molecule: see :mod:`mlip_autopipec.tasks.validate_molecule`).

Both are evaluated at the geometries that DFT computed (scaled cells with fixed fractional
coordinates), so that their difference is the potential's error alone. Where symmetry does not fix
the internal coordinates, the bulk modulus is therefore the clamped-ion one, for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.science.properties.equation_of_state import (
    EquationOfState,
    fit_birch_murnaghan,
    lattice_constant,
)
from mlip_autopipec.tasks import validate_molecule

__all__ = ["run"]


@dataclass(frozen=True, slots=True)
class _Point:
    atoms: Atoms
    label: Label

    @property
    def volume_a3_per_atom(self) -> float:
        return float(self.atoms.get_volume()) / len(self.atoms)

    @property
    def energy_ev_per_atom(self) -> float:
        return self.label.energy_ev / len(self.atoms)


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Compare the potential ``payload["potential"]`` (folder relative to the root) with labels
    ``eos_labels``.

    The result has, per property, the potential's and the DFT value (None where the curve has no
    minimum, with the reason under ``eos.fits``). Failure ``validation_data``: the labels themselves
    do not make an equation of state.
    """
    if "molecule_labels" in spec.payload:
        return validate_molecule.run(spec, plan, folder)
    points = _points(spec)
    if isinstance(points, Failure):
        return Outcome(None, points)
    volumes = [point.volume_a3_per_atom for point in points]
    dft_energies = [point.energy_ev_per_atom for point in points]
    dft = fit_birch_murnaghan(volumes, dft_energies)
    if isinstance(dft, Failure):
        return Outcome(None, Failure("validation_data", f"DFT equation of state: {dft.message}"))

    potential_folder = Path(spec.root) / spec.payload["potential"]
    energies, gammas = _evaluate(points, plan.training.trainer, potential_folder)
    result = _result(points[len(points) // 2].atoms, dft, fit_birch_murnaghan(volumes, energies))
    result["eos"] |= {
        "volumes_a3_per_atom": volumes,
        "dft_ev_per_atom": dft_energies,
        "potential_ev_per_atom": energies,
        "gamma_max": gammas,
    }
    write_json(folder / "validation.json", result)
    return Outcome(result)


def _points(spec: TaskSpec) -> list[_Point] | Failure:
    """Labelled cells by rising volume; all by one method and of one composition."""
    points = []
    for task_id in spec.payload["eos_labels"]:
        source = spec.input_folder(task_id)
        outcome = Outcome.from_json(read_json(source / "outcome.json"))
        if outcome.result is None:
            return Failure("validation_data", f"{task_id} has no label")
        job = LabelJob.from_json(TaskSpec.from_json(read_json(source / "spec.json")).payload["job"])
        points.append(_Point(job.atoms, Label.from_json(outcome.result)))
    if not points:
        return Failure("validation_data", "no labels to validate against")
    methods = {point.label.method_hash for point in points}
    if len(methods) > 1:
        return Failure(
            "validation_data", f"labels of different DFT methods: {', '.join(sorted(methods))}"
        )
    compositions = {point.atoms.get_chemical_formula(empirical=True) for point in points}
    if len(compositions) > 1:
        return Failure(
            "validation_data",
            f"labels of different compositions: {', '.join(sorted(compositions))}",
        )
    return sorted(points, key=lambda point: point.volume_a3_per_atom)


def _evaluate(
    points: list[_Point], trainer: str, potential: Path
) -> tuple[list[float], list[float | None]]:
    """Energy (eV/atom) and largest extrapolation grade of every cell by the potential."""
    calculator = registry.trainer(trainer).calculator(potential)
    energies: list[float] = []
    gammas: list[float | None] = []
    for point in points:
        atoms = point.atoms.copy()
        atoms.calc = calculator
        energies.append(float(atoms.get_potential_energy()) / len(atoms))
        gamma: Any = calculator.results.get("gamma")
        gammas.append(None if gamma is None else float(np.max(gamma)))
    return energies, gammas


def _result(crystal: Atoms, dft: EquationOfState, potential: EquationOfState | Failure) -> Json:
    fits = {"dft": _fit(crystal, dft), "potential": _fit(crystal, potential)}
    properties = {
        name: {source: fits[source].get(name) for source in ("potential", "dft")}
        for name in ("lattice_constant_a", "bulk_modulus_gpa")
    }
    return {**properties, "eos": {"fits": fits}}


def _fit(crystal: Atoms, curve: EquationOfState | Failure) -> Json:
    if isinstance(curve, Failure):
        return {"failure": curve.message}
    return {
        **curve.to_json(),
        "lattice_constant_a": lattice_constant(curve.volume_a3_per_atom, crystal),
    }
