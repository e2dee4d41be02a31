"""Both trainers on copper labelled by effective medium theory: real fits, real masks, real active
sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.commands.train import train_file
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import Trained, TrainJob
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings, PacemakerSettings

pytestmark = pytest.mark.real

# EMT counts its energies from the bulk; a shift of DFT size makes sure that it comes back in total
# energies.
SHIFT_EV = -1500.0
BUFFER_FORCE_EV_PER_A = 50.0


def copper(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", a=3.6 * (1 + rng.uniform(-0.03, 0.04)), cubic=True) * (2, 1, 1)
    atoms.positions += rng.normal(0.0, 0.08, atoms.positions.shape)
    return atoms


def labelled(seed: int) -> LabelledStructure:
    atoms = copper(seed)
    atoms.calc = EMT()
    energy = float(atoms.get_potential_energy()) + SHIFT_EV * len(atoms)
    label = Label(energy, atoms.get_forces(), None, "emt", 1, 0.0)
    return LabelledStructure(f"cu-{seed}", copper(seed), label, Provenance("rattle", f"cu-{seed}"))


def spoiled(item: LabelledStructure, *, masked: bool) -> LabelledStructure:
    """+50 eV/Å on the last third of the atoms, with or without a mask over them."""
    forces = item.label.forces.copy()
    forces[5:] += BUFFER_FORCE_EV_PER_A
    core = tuple(range(5)) if masked else None
    return replace(item, label=replace(item.label, forces=forces), core=core)


LINEAR = LinearSettings(cutoff_a=5.0, functions_per_element=40, kappa=0.1)
NONLINEAR = PacemakerSettings(**LINEAR.model_dump(), max_iterations=10, warm_iterations=10)


SMALL = {"functions_per_element": 30}


def copper_job(**changes: object) -> TrainJob:
    items = tuple(labelled(seed) for seed in range(18))
    values = {
        "elements": ("Cu",),
        "train": items[:15],
        "test": items[15:],
        "settings": LINEAR,
        "seed": 1,
        "masked_energy_weight": 1.0,
    }
    return TrainJob(**{**values, **changes})  # type: ignore[arg-type]


def train(name: str, job: TrainJob, folder: Path) -> Trained:
    trainer = registry.trainer(name)
    folder.mkdir()
    result = trainer.parse(job, folder, run_prepared(trainer.prepare(job, folder), folder, 600.0))
    assert not isinstance(result, Failure), result
    return result


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train("linear", copper_job(), tmp_path_factory.mktemp("linear") / "fit")


def forces_on(potential: Path, seed: int) -> np.ndarray:
    atoms = copper(seed)
    atoms.calc = registry.trainer("linear").calculator(potential)
    return np.asarray(atoms.get_forces())


def test_a_linear_fit_reproduces_its_labels(linear: Trained) -> None:
    assert linear.metrics["train"]["n_structures"] == 15
    assert linear.metrics["test"]["n_structures"] == 3
    assert linear.metrics["test"]["energy_rmse_mev_per_atom"] < 5.0
    assert linear.metrics["test"]["force_rmse_mev_per_a"] < 60.0


def test_slabs_are_learned_and_predicted_like_anything_else(tmp_path: Path) -> None:
    """python-ace refuses cells that are periodic in some directions only."""
    slabs = [on_a_slab(seed) for seed in range(4)]
    job = copper_job(train=tuple([labelled(seed) for seed in range(12)] + slabs[:3]))
    trained = train("linear", replace(job, test=(slabs[3],)), tmp_path / "fit")
    assert trained.metrics["train"]["n_structures"] == 15
    assert trained.metrics["test"]["force_rmse_mev_per_a"] < 150.0
    atoms = slabs[3].atoms.copy()
    atoms.calc = registry.trainer("linear").calculator(trained.folder)
    assert not atoms.pbc.all()
    assert atoms.get_potential_energy() == pytest.approx(
        slabs[3].label.energy_ev, abs=0.05 * len(atoms)
    )


def on_a_slab(seed: int) -> LabelledStructure:
    item = labelled(seed)
    atoms = fcc111("Cu", (2, 2, 4), a=3.61, vacuum=1.0)
    atoms.pbc = (True, True, False)
    atoms.rattle(0.08, seed=seed)
    calculated = atoms.copy()
    calculated.calc = EMT()
    label = replace(
        item.label,
        energy_ev=float(calculated.get_potential_energy()) + SHIFT_EV * len(atoms),
        forces=calculated.get_forces(),
        stress=None,
    )
    return replace(item, name=f"slab-{seed}", atoms=atoms, label=label)


def test_energies_are_total_and_agree_with_the_metrics(linear: Trained) -> None:
    item = labelled(16)
    atoms = item.atoms.copy()
    atoms.calc = registry.trainer("linear").calculator(linear.folder)
    energy = atoms.get_potential_energy()
    assert energy == pytest.approx(item.label.energy_ev, abs=0.02 * len(atoms))
    assert atoms.calc.results["energies"].sum() == pytest.approx(energy, abs=1e-8)
    rows = {row["name"]: row for row in read_json(linear.folder / "predictions.json")["test"]}
    row = rows["cu-16"]
    assert row["energy_potential_ev_per_atom"] == pytest.approx(energy / len(atoms), abs=1e-9)
    assert row["energy_dft_ev_per_atom"] == pytest.approx(
        item.label.energy_ev / len(atoms), abs=1e-9
    )
    np.testing.assert_allclose(
        row["forces_potential_ev_per_a"], atoms.get_forces().ravel(), atol=1e-5
    )
    step = 1e-4
    moved = [atoms.copy() for _ in range(2)]
    for sign, copy in zip((1, -1), moved, strict=True):
        copy.positions[3, 1] += sign * step
        copy.calc = atoms.calc
    slope = (moved[0].get_potential_energy() - moved[1].get_potential_energy()) / (2 * step)
    assert atoms.get_forces()[3, 1] == pytest.approx(-slope, abs=1e-4)


def test_the_lammps_file_agrees_with_the_calculator(linear: Trained) -> None:
    from pyace import PyACECalculator

    atoms = copper(17)
    atoms.calc = registry.trainer("linear").calculator(linear.folder)
    exported = copper(17)
    exported.calc = PyACECalculator(str(linear.folder / "potential.yace"))
    assert exported.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(exported.get_forces(), atoms.get_forces(), atol=1e-6)


def test_the_grade_is_one_inside_and_large_outside(linear: Trained) -> None:
    assert 0.9 < linear.metrics["gamma_train_max"] <= 1.002
    calculator = registry.trainer("linear").calculator(linear.folder)
    inside, outside = copper(3), bulk("Cu", "bcc", a=2.5, cubic=True) * (2, 2, 2)
    for atoms in (inside, outside):
        atoms.calc = calculator
        atoms.get_potential_energy()
        if atoms is inside:
            assert calculator.results["gamma"].max() <= 1.002
    assert calculator.results["gamma"].max() > 5.0


def test_atoms_repel_below_the_data(linear: Trained) -> None:
    calculator = registry.trainer("linear").calculator(linear.folder)
    energies = []
    for distance in (0.4, 0.8, 1.2, 1.6):
        dimer = Atoms(
            "Cu2", positions=[[5, 5, 5], [5 + distance, 5, 5]], cell=[12, 12, 12], pbc=True
        )
        dimer.calc = calculator
        energies.append(dimer.get_potential_energy())
    assert energies == sorted(energies, reverse=True)
    assert energies[0] - energies[-1] > 500.0


def test_masked_atoms_leave_the_fit_alone(tmp_path: Path) -> None:
    items = copper_job().train
    masked = [replace(item, core=tuple(range(5))) for item in items]
    fits = {
        "clean": masked,
        "masked": [spoiled(item, masked=True) for item in items],
        "unmasked": [spoiled(item, masked=False) for item in items],
    }
    forces = {
        name: forces_on(train("linear", copper_job(train=tuple(rows)), tmp_path / name).folder, 16)
        for name, rows in fits.items()
    }
    np.testing.assert_allclose(forces["masked"], forces["clean"], atol=1e-8)
    assert np.abs(forces["unmasked"] - forces["clean"]).max() > 1.0


def alloy(seed: int, gold: int | None = None) -> LabelledStructure:
    """Eight atoms, ``gold`` of them gold, else two to six."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", a=3.85, cubic=True) * (2, 1, 1)
    atoms.symbols[rng.permutation(8)[: gold or rng.integers(2, 7)]] = "Au"
    atoms.positions += rng.normal(0.0, 0.08, atoms.positions.shape)
    bare = atoms.copy()
    atoms.calc = EMT()
    shift = sum(-1500.0 if symbol == "Cu" else -900.0 for symbol in atoms.symbols)
    label = Label(
        float(atoms.get_potential_energy()) + shift, atoms.get_forces(), None, "emt", 1, 0.0
    )
    return LabelledStructure(f"cuau-{seed}", bare, label, Provenance("rattle", f"cuau-{seed}"))


def test_an_alloy_has_two_reference_energies(tmp_path: Path) -> None:
    from pyace import PyACECalculator

    items = tuple(alloy(seed) for seed in range(40))
    job = copper_job(elements=("Cu", "Au"), train=items[:34], test=items[34:])
    result = train("linear", job, tmp_path / "alloy")
    references = result.metrics["reference_energy_ev"]
    assert references["Cu"] == pytest.approx(-1500.0, abs=5.0)
    assert references["Au"] == pytest.approx(-900.0, abs=5.0)
    assert result.metrics["test"]["energy_rmse_mev_per_atom"] < 15.0
    assert result.metrics["gamma_train_max"] <= 1.002
    atoms = items[35].atoms.copy()
    atoms.calc = registry.trainer("linear").calculator(result.folder)
    exported = items[35].atoms.copy()
    exported.calc = PyACECalculator(str(result.folder / "potential.yace"))
    assert exported.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)


def test_a_rare_element_is_guarded_by_fewer_functions_than_a_common_one(tmp_path: Path) -> None:
    """Gold comes first in the alphabet, which is where python-ace expects the most functions."""
    items = tuple(alloy(seed, gold=1) for seed in range(40))
    job = copper_job(elements=("Cu", "Au"), train=items[:34], test=items[34:])
    result = train("linear", job, tmp_path / "dilute")
    assert result.metrics["basis"]["functions_per_element"] == 40
    assert result.metrics["guard_functions"] == {"Au": 34 // 3, "Cu": 40}
    assert result.metrics["test"]["force_rmse_mev_per_a"] < 100.0
    assert result.metrics["gamma_train_max"] <= 1.002


def test_pacemaker_learns_starts_warm_and_honours_the_mask(tmp_path: Path) -> None:
    """One cold fit (ladder) and one warm refit on data whose masked forces are spoiled."""
    cold = train("pacemaker", copper_job(settings=NONLINEAR), tmp_path / "cold")
    assert cold.metrics["test"]["force_rmse_mev_per_a"] < 150.0
    assert cold.metrics["test"]["energy_rmse_mev_per_atom"] < 30.0
    assert cold.metrics["gamma_train_max"] <= 1.002
    rows = tuple(spoiled(item, masked=True) for item in copper_job().train)
    job = copper_job(train=rows, warm_start=cold.folder, settings=NONLINEAR)
    warm = train("pacemaker", job, tmp_path / "warm")
    assert warm.metrics["warm_start"] == str(cold.folder)
    assert warm.metrics["reference_energy_ev"] == cold.metrics["reference_energy_ev"]
    assert (
        warm.metrics["train"]["force_rmse_mev_per_a"]
        < 1.05 * cold.metrics["train"]["force_rmse_mev_per_a"]
    )
    assert (
        warm.metrics["test"]["force_rmse_mev_per_a"]
        < 1.5 * cold.metrics["test"]["force_rmse_mev_per_a"]
    )
    atoms = copper(17)
    atoms.calc = registry.trainer("pacemaker").calculator(warm.folder)
    assert atoms.get_potential_energy() == pytest.approx(
        labelled(17).label.energy_ev, abs=0.05 * len(atoms)
    )


def write_file(
    path: Path, seeds: range, change: Callable[[Atoms], None] = lambda atoms: None
) -> Path:
    frames = []
    for seed in seeds:
        item = labelled(seed)
        atoms = item.atoms.copy()
        atoms.calc = SinglePointCalculator(
            atoms, energy=item.label.energy_ev, forces=item.label.forces
        )
        change(atoms)
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return path


def test_a_file_of_labels_becomes_a_potential(tmp_path: Path) -> None:
    data = write_file(tmp_path / "data.extxyz.gz", range(14))
    test = write_file(tmp_path / "test.extxyz", range(14, 16))
    result = train_file(
        data, test, tmp_path / "out", trainer="linear", settings={"functions_per_element": 30}
    )
    assert result["test"]["n_structures"] == 2
    assert result["test"]["force_rmse_mev_per_a"] < 100.0
    assert (Path(result["potential"]) / "potential.yace").is_file()
    held = train_file(
        data, None, tmp_path / "held", trainer="linear", settings={"functions_per_element": 30}
    )
    assert held["test"]["n_structures"] >= 1
    assert held["test"]["n_structures"] + held["train"]["n_structures"] == 14
    with pytest.raises(InputError, match="not empty"):
        train_file(data, test, tmp_path / "out", trainer="linear")
