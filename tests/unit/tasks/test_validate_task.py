"""The validate task for crystals: the potential's equation of state beside that of the labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Outcome, Task, TaskSpec
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.potential_folder import sign
from mlip_autopipec.science.properties.equation_of_state import strained_cells
from mlip_autopipec.science.properties.stored import comparisons
from mlip_autopipec.tasks import validate
from mlip_autopipec.testing import simulated_plan

PLAN = simulated_plan()
STRAINS = [0.06, -0.06, 0.04, -0.04, 0.02, -0.02, 0.0]
CUBE = bulk("Cu", cubic=True)


def emt_energy_ev(atoms: Atoms) -> float:
    copy = atoms.copy()
    copy.calc = EMT()
    return float(copy.get_potential_energy())


def write_label(
    root: Path, name: str, atoms: Atoms, energy_ev: float, *, method: str = "m"
) -> None:
    """A finished label task of the run folder."""
    job = LabelJob(atoms, PLAN.dft.label_method())
    candidate = Candidate(atoms, Provenance("equation_of_state", "validation"))
    payload = {"candidate": candidate.to_json(), "job": job.to_json(), "purpose": "validate"}
    folder = root / "tasks" / name / "attempt-1"
    spec = TaskSpec(Task("label", payload), 1, str(root), payload, {})
    write_json(folder / "spec.json", spec.to_json())
    label = Label(energy_ev, np.zeros((len(atoms), 3)), np.zeros(6), method, 9, 1.0)
    write_json(folder / "outcome.json", Outcome(label.to_json()).to_json())


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Outcome]:
    """Validate the simulated potential (effective-medium theory) against labels of ``energy``."""

    def validated(
        energy: Callable[[Atoms], float] = emt_energy_ev,
        cells: list[Atoms] | None = None,
        methods: str = "mmmmmmm",
        plan: Plan = PLAN,
    ) -> Outcome:
        cells = strained_cells(CUBE, STRAINS) if cells is None else cells
        names = [f"label-{number}" for number in range(len(cells))]
        for name, atoms, method in zip(names, cells, methods, strict=False):
            write_label(tmp_path, name, atoms, energy(atoms), method=method)
        potential = tmp_path / "potentials" / "000"
        potential.mkdir(parents=True, exist_ok=True)
        sign(potential, plan.training.trainer, ["Cu"])
        payload: dict[str, Any] = {"potential": "potentials/000", "eos_labels": names}
        task = Task("validate", payload, tuple(names))
        inputs = {name: f"tasks/{name}/attempt-1" for name in names}
        folder = tmp_path / "tasks" / "validate" / "attempt-1"
        folder.mkdir(parents=True, exist_ok=True)
        return validate.run(TaskSpec(task, 1, str(tmp_path), payload, inputs), plan, folder)

    return validated


def result_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.result is not None, outcome.failure
    found = comparisons(json.loads(json.dumps(outcome.result)))["equation_of_state"]
    assert found.dft is not None and found.potential is not None
    pairs = {key: found.value(key) for key in ("lattice_constant_a", "bulk_modulus_gpa")}
    assert (
        found.dft.details["volumes_a3_per_atom"] == found.potential.details["volumes_a3_per_atom"]
    )
    eos = {
        "volumes_a3_per_atom": found.dft.details["volumes_a3_per_atom"],
        "dft_ev_per_atom": found.dft.details["energies_ev_per_atom"],
        "potential_ev_per_atom": found.potential.details["energies_ev_per_atom"],
    }
    return {
        "eos": eos,
        **{key: {"potential": ours, "dft": dft} for key, (ours, dft) in pairs.items()},
    }


def test_a_potential_that_is_the_labels_method_agrees_with_it(run: Any) -> None:
    result = result_of(run())
    for name in ("lattice_constant_a", "bulk_modulus_gpa"):
        assert result[name]["potential"] == pytest.approx(result[name]["dft"], rel=1e-5)
    assert result["lattice_constant_a"]["dft"] == pytest.approx(3.59, abs=0.02)
    assert result["bulk_modulus_gpa"]["dft"] == pytest.approx(134, rel=0.05)


def test_energies_are_those_of_an_atom_by_rising_volume(run: Any) -> None:
    eos = result_of(run())["eos"]
    assert eos["potential_ev_per_atom"] == pytest.approx(eos["dft_ev_per_atom"], abs=1e-9)
    ordered = strained_cells(CUBE, sorted(STRAINS))
    assert eos["volumes_a3_per_atom"] == pytest.approx([c.get_volume() / 4 for c in ordered])
    assert eos["potential_ev_per_atom"] == pytest.approx([emt_energy_ev(c) / 4 for c in ordered])


def test_how_many_atoms_the_cell_has_changes_nothing(run: Any) -> None:
    cube = result_of(run())
    eight = result_of(run(cells=strained_cells(CUBE * (2, 1, 1), STRAINS)))
    for name in ("lattice_constant_a", "bulk_modulus_gpa"):
        assert eight[name]["potential"] == pytest.approx(cube[name]["potential"], rel=1e-6)
        assert eight[name]["dft"] == pytest.approx(cube[name]["dft"], rel=1e-6)


def test_a_stiffer_method_is_told_from_the_potential(run: Any) -> None:
    """Labels with twice the potential's energies: same volume, twice the bulk modulus."""
    result = result_of(run(energy=lambda atoms: 2 * emt_energy_ev(atoms)))
    lattice, modulus = result["lattice_constant_a"], result["bulk_modulus_gpa"]
    assert lattice["potential"] == pytest.approx(lattice["dft"], rel=1e-6)
    assert modulus["dft"] == pytest.approx(2 * modulus["potential"], rel=1e-6)


def test_labels_that_make_no_curve_are_a_failure_that_says_why(run: Any) -> None:
    mixed = run(methods="mmmmmmn")
    assert mixed.failure is not None and mixed.failure.kind == "validation_data"
    assert "different DFT methods: m, n" in mixed.failure.message
    downhill = run(energy=lambda atoms: -atoms.get_volume())
    assert downhill.failure is not None and downhill.failure.kind == "validation_data"
    assert "minimum" in downhill.failure.message
    two = run(cells=[CUBE, bulk("Ag", cubic=True)])
    assert two.failure is not None and "different compositions" in two.failure.message
