"""The trainer on ace-jax beyond the suite of its port: masks, stress, the core, LAMMPS, what a
user without it is told.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.md.lammps.evaluators import evaluator_of
from mlip_autopipec.engines.md.lammps.simulation import Dynamics, Simulation
from mlip_autopipec.engines.ports import (
    PREDICTIONS,
    PredictsErrors,
    Resamples,
    Trained,
    TrainJob,
)
from mlip_autopipec.engines.train.ace_jax import jaxed
from mlip_autopipec.science.predictions import Predictions
from mlip_autopipec.testing.contracts.running import execute

pytestmark = pytest.mark.real

TRAINER = registry.trainer("ace")
SETTINGS = TRAINER.schema.model_validate({"cutoff_a": 4.5, "max_degree": 6})


def labelled(seed: int, strain: float = 0.0) -> LabelledStructure:
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    shear = np.random.default_rng(seed).normal(0.0, 0.02, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) * (1 + strain) + shear), scale_atoms=True)
    atoms.rattle(0.1, seed=seed)
    probe = atoms.copy()
    probe.calc = EMT()
    label = Label(
        probe.get_potential_energy(), probe.get_forces(), probe.get_stress(), "emt", 1, 0.0
    )
    return LabelledStructure(f"s{seed}", atoms, label, Provenance("rattle", f"g{seed}"))


ITEMS = tuple(labelled(seed, 0.03 * (seed % 3 - 1)) for seed in range(12))


def fit(items: tuple[LabelledStructure, ...], folder: Path) -> Trained:
    folder.mkdir(exist_ok=True)
    job = TrainJob(("Cu",), items, (), SETTINGS, seed=0)
    trained = TRAINER.parse(job, folder, execute(TRAINER.prepare(job, folder), folder))
    assert isinstance(trained, Trained), trained
    return trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return fit(ITEMS, tmp_path_factory.mktemp("ace-jax"))


def test_forces_of_masked_atoms_and_energies_of_cutouts_teach_nothing(tmp_path: Path) -> None:
    """Two fits whose labels differ only where the mask lies are the same."""
    core = tuple(range(4))
    one = replace(ITEMS[0], core=core)
    wrong = np.array(one.label.forces)
    wrong[4:] += 50.0
    other = replace(
        one, label=replace(one.label, forces=wrong, energy_ev=one.label.energy_ev + 30.0)
    )
    made = [fit((item, *ITEMS[1:]), tmp_path / str(n)) for n, item in enumerate((one, other))]
    forces = []
    for each in made:
        atoms = ITEMS[5].atoms.copy()
        atoms.calc = TRAINER.calculator(each.folder)
        forces.append(atoms.get_forces())
    assert np.allclose(forces[0], forces[1], atol=1e-4)
    known = np.array(one.label.forces)
    known[:4] += 50.0  # where the mask does not lie it tells
    ruined = fit(
        (replace(one, label=replace(one.label, forces=known)), *ITEMS[1:]), tmp_path / "ruined"
    )
    atoms.calc = TRAINER.calculator(ruined.folder)
    assert np.abs(atoms.get_forces() - forces[0]).max() > 0.1


def test_it_learns_energies_forces_and_stress(trained: Trained) -> None:
    """Of a cell that it has not seen; and every label is predicted by a fit without it."""
    fresh = labelled(99)
    atoms = fresh.atoms.copy()
    atoms.calc = TRAINER.calculator(trained.folder)
    label = fresh.label
    assert abs(atoms.get_potential_energy() - label.energy_ev) / len(atoms) < 0.01
    assert np.abs(atoms.get_forces() - label.forces).std() < 0.2 * np.std(label.forces)
    assert label.stress is not None
    assert np.abs(atoms.get_stress() - label.stress).max() < 0.1 * np.abs(label.stress).max()
    assert trained.metrics["test"]["n_structures"] == len(ITEMS)
    both = [trained.metrics[part]["force_rmse_mev_per_a"] for part in ("train", "test")]
    assert both[1] > both[0]


def test_the_stress_is_the_derivative_of_the_energy_and_atoms_repel(trained: Trained) -> None:
    calculator, step, energies = TRAINER.calculator(trained.folder), 1e-4, []
    for sign in (1, -1):
        atoms = ITEMS[3].atoms.copy()
        strain = np.eye(3)
        strain[0, 1] = strain[1, 0] = sign * step / 2
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    atoms = ITEMS[3].atoms.copy()
    atoms.calc = calculator
    slope = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
    assert slope == pytest.approx(atoms.get_stress()[5], abs=1e-6)
    close = []
    for distance in (1.0, 0.6, 0.3):
        pair = Atoms("Cu2", [(0, 0, 0), (0, 0, distance)])
        pair.calc = calculator
        close.append(pair.get_potential_energy())
    assert close[2] > close[1] + 100 and close[1] > close[0]


def test_the_grade_is_about_one_inside_and_large_far_from_what_was_taught(
    trained: Trained,
) -> None:
    calculator = TRAINER.calculator(trained.folder)
    calculator.calculate(ITEMS[2].atoms.copy())
    assert 0.1 < calculator.results["gamma"].max() < 1.05
    far = ITEMS[2].atoms.copy()
    far.set_cell(0.75 * far.cell.array, scale_atoms=True)
    calculator.calculate(far)
    assert calculator.results["gamma"].max() > 10


def test_lammps_runs_it_as_ase_does(trained: Trained) -> None:
    start = ITEMS[3].atoms.repeat((2, 3, 3))
    start.set_cell(np.diag(start.cell.lengths()), scale_atoms=True)
    evaluator = evaluator_of(trained.folder, "ace", ("Cu",))
    still = np.zeros((len(start), 3))
    md = Simulation(start, still, ("Cu",), Dynamics("nve", 300.0, 0.0, 1.0, 1), evaluator)
    md.run(0)
    atoms, energy, forces = md.atoms(), md.thermo("pe"), md.forces()
    pressure_bar, gamma = md.thermo("press"), md.potential.gamma
    md.close()
    atoms.calc = TRAINER.calculator(trained.folder)
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert np.allclose(forces, atoms.get_forces(), atol=1e-6)
    expected_bar = -atoms.get_stress()[:3].mean() * 1.602176634e6
    assert pressure_bar == pytest.approx(expected_bar, rel=1e-5)
    assert np.allclose(gamma, atoms.calc.results["gamma"], rtol=1e-6)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jaxed, "find_spec", lambda name: None)
    job = TrainJob(("Cu",), ITEMS, (), SETTINGS, seed=0)
    with pytest.raises(MissingProgramError, match=r"mlip-autopipec\[ace\]"):
        TRAINER.prepare(job, tmp_path)


def test_it_knows_how_wrong_its_forces_are(trained: Trained) -> None:
    assert isinstance(TRAINER, PredictsErrors)
    fresh = [labelled(200 + seed, 0.03 * (seed % 3 - 1)) for seed in range(6)]
    told = np.concatenate(TRAINER.force_errors(trained.folder, [item.atoms for item in fresh]))
    true = []
    for item in fresh:
        atoms = item.atoms.copy()
        atoms.calc = TRAINER.calculator(trained.folder)
        true.append(((atoms.get_forces() - item.label.forces) ** 2).mean(axis=1))
    size = float(np.sqrt(np.concatenate(true).mean()))
    assert size / 3 < np.sqrt(np.mean(told**2)) < 3 * size
    battered = fresh[0].atoms.copy()
    battered.rattle(0.4, seed=1)
    far, slab = TRAINER.force_errors(trained.folder, [battered, bulk("Cu", cubic=True)])
    assert far.shape == (len(battered),) and far.mean() > 5 * slab.mean()
    rows = Predictions.from_json(read_json(trained.folder / PREDICTIONS)).test
    for row in rows:
        assert 3 * len(row.force_errors_ev_per_a or ()) == len(row.forces_dft_ev_per_a)
    with pytest.raises(InputError, match="does not know an element"):
        TRAINER.force_errors(trained.folder, [bulk("Si")])


def test_resampled_fits_scatter_about_the_fit_of_all(trained: Trained) -> None:
    assert isinstance(TRAINER, Resamples)
    fresh = labelled(300)
    calculators = [TRAINER.calculator(trained.folder), *TRAINER.ensemble(trained.folder)]
    assert len(calculators) == 9
    energies = []
    for calculator in calculators:
        atoms = fresh.atoms.copy()
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy() / len(atoms))
    scatter = np.std(energies[1:])
    assert 1e-6 < scatter < 0.02
    assert abs(np.mean(energies[1:]) - energies[0]) < 4 * scatter + 1e-4


def test_a_label_that_nobody_can_learn_is_set_aside_by_name(tmp_path: Path) -> None:
    broken = replace(ITEMS[0], label=replace(ITEMS[0].label, energy_ev=float("nan")))
    made = fit((broken, *ITEMS[1:]), tmp_path)
    assert made.metrics["set_aside"] == {"s0": "the energy is not finite"}
    assert made.metrics["train"]["n_structures"] == len(ITEMS) - 1
