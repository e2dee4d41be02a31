"""A potential fitted to what a baseline leaves: fit + baseline in ASE, in LAMMPS, in the rows that
are judged, in the resampled fits and in what is handed out.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from linear_fits_for_tests import copper, fitted, job

from mlip_autopipec.base.files import read_json
from mlip_autopipec.engines.md.lammps.evaluators.ace import AceEvaluator
from mlip_autopipec.engines.md.lammps.examples import export
from mlip_autopipec.engines.md.lammps.simulation import Dynamics, Simulation
from mlip_autopipec.engines.ports import PREDICTIONS, MdExample, Trained, TrainJob
from mlip_autopipec.engines.train.pacemaker.data import fit_rows
from mlip_autopipec.engines.train.pacemaker.engine import LinearAce
from mlip_autopipec.engines.train.pacemaker.inputs import settings_of
from mlip_autopipec.science.baseline import BASELINE, Zbl
from mlip_autopipec.science.predictions import Predictions

SQUEEZED = 0.82  # of the lattice constant: many pairs are within the radii


def squeezed_job() -> TrainJob:
    items = [copper(seed, 0.15, SQUEEZED if seed % 2 else 1.0) for seed in range(14)]
    asked = job(items, functions=40)
    return replace(asked, settings=asked.settings.model_copy(update={"baseline": "zbl"}))


def free_atom_ev(trained: Trained) -> float:
    """What LAMMPS does not count."""
    return float(trained.metrics["reference_energy_ev"]["Cu"])


def close() -> Atoms:
    return copper(31, 0.15, SQUEEZED).atoms


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return fitted(squeezed_job(), tmp_path_factory.mktemp("baseline"))


def test_the_potential_is_fit_and_baseline(trained: Trained, tmp_path: Path) -> None:
    zbl = Zbl.load(trained.folder)
    assert zbl == Zbl.of(["Cu"])
    alone = Path(shutil.copytree(trained.folder, tmp_path / "alone"))
    (alone / BASELINE).unlink()
    atoms = close()
    terms = zbl.terms(atoms)
    assert terms.energy_ev > 0.5 and terms.stress is not None, "too wide to tell"
    found = []
    for folder in (trained.folder, alone):
        atoms.calc = LinearAce().calculator(folder)
        energy = atoms.get_potential_energy()
        found.append(
            (energy, atoms.get_potential_energies(), atoms.get_forces(), atoms.get_stress())
        )
    whole, fit = found
    assert whole[0] - fit[0] == pytest.approx(terms.energy_ev)
    assert whole[1].sum() == pytest.approx(whole[0])
    assert np.allclose(whole[2] - fit[2], terms.forces)
    assert np.allclose(whole[3] - fit[3], terms.stress)


def test_labels_come_back_from_fit_and_baseline(trained: Trained) -> None:
    """A baseline that is subtracted and not added, or added twice, is off by eV."""
    assert trained.metrics["train"]["energy_rmse_mev_per_atom"] < 100
    rows = Predictions.from_json(read_json(trained.folder / PREDICTIONS))
    assert len(rows.test) == 14
    for row in (*rows.train, *rows.test):
        assert row.energy_potential_ev_per_atom == pytest.approx(
            row.energy_dft_ev_per_atom, abs=0.4
        )
    item = copper(33, 0.15, SQUEEZED)
    item.atoms.calc = LinearAce().calculator(trained.folder)
    assert item.atoms.get_potential_energy() == pytest.approx(item.label.energy_ev, abs=0.4)
    stress = item.atoms.get_stress()
    assert item.label.stress is not None
    assert np.allclose(stress, item.label.stress, atol=0.15 * np.abs(item.label.stress).max())


def test_resampled_fits_have_it_too(trained: Trained) -> None:
    item = copper(35, 0.15, SQUEEZED)
    for calculator in LinearAce().ensemble(trained.folder):
        item.atoms.calc = calculator
        assert item.atoms.get_potential_energy() == pytest.approx(item.label.energy_ev, abs=1.0)


def test_lammps_adds_it(trained: Trained) -> None:
    atoms = close() * (3, 3, 3)
    plain = {"ensemble": "nve", "temperature_k": 300.0, "pressure_gpa": 0.0, "timestep_fs": 1.0}
    simulation = Simulation(
        atoms,
        np.zeros((len(atoms), 3)),
        ("Cu",),
        Dynamics(**plain, seed=1),  # type: ignore[arg-type]
        AceEvaluator(trained.folder, ["Cu"]),
    )
    try:
        simulation.run(0)
        same = simulation.atoms()
        same.calc = LinearAce().calculator(trained.folder)
        bound = same.get_potential_energy() - len(atoms) * free_atom_ev(trained)
        assert simulation.thermo("pe") == pytest.approx(bound, abs=1e-6)
        assert np.allclose(simulation.forces(), same.get_forces(), atol=1e-6)
        pressure = -same.get_stress()[:3].mean() * 1.6021765e6
        assert simulation.thermo("press") == pytest.approx(pressure, rel=1e-5)
    finally:
        simulation.close()


def test_a_swap_between_potentials_takes_the_baseline_along(
    trained: Trained, tmp_path: Path
) -> None:
    alone = Path(shutil.copytree(trained.folder, tmp_path / "alone"))
    (alone / BASELINE).unlink()
    atoms = close() * (3, 3, 3)
    simulation = Simulation(
        atoms,
        np.zeros((len(atoms), 3)),
        ("Cu",),
        Dynamics("nve", 300.0, 0.0, 1.0, 1),
        AceEvaluator(alone, ["Cu"]),
    )
    try:
        simulation.run(0)
        before = simulation.thermo("pe")
        simulation.swap(AceEvaluator(trained.folder, ["Cu"]))
        simulation.run(0)
        terms = Zbl.of(["Cu"]).terms(simulation.atoms())
        assert simulation.thermo("pe") - before == pytest.approx(terms.energy_ev, abs=1e-6)
        simulation.swap(AceEvaluator(alone, ["Cu"]))
        simulation.run(0)
        assert simulation.thermo("pe") == pytest.approx(before, abs=1e-6)
    finally:
        simulation.close()


def test_atoms_that_fall_together_meet_one_repulsion(trained: Trained) -> None:
    """Below the core the expansion is off and the baseline alone is left: not two of them."""
    calculator = LinearAce().calculator(trained.folder)
    zbl = Zbl.of(["Cu"])
    box = {"cell": [15.0] * 3, "pbc": True}
    far = Atoms("Cu2", [[0, 0, 0], [0, 0, 7.0]], **box)  # type: ignore[arg-type]
    far.calc = calculator
    energies = []
    for distance in (1.1, 0.9, 0.6, 0.3):
        pair = Atoms("Cu2", [[0, 0, 0], [0, 0, distance]], **box)  # type: ignore[arg-type]
        pair.calc = calculator
        energies.append(pair.get_potential_energy() - far.get_potential_energy())
        assert energies[-1] == pytest.approx(zbl.terms(pair).energy_ev, rel=1e-6, abs=1e-4)
    assert energies == sorted(energies)


def test_what_is_handed_out_says_it(trained: Trained, tmp_path: Path) -> None:
    start = close() * (3, 3, 3)
    shutil.copytree(trained.folder, tmp_path / "fit")
    export(MdExample(tmp_path / "fit", start, tmp_path, tmp_path, 300.0, ("Cu",)))
    inner, outer = Zbl.of(["Cu"]).radii_a["Cu", "Cu"]
    script = (tmp_path / "in.lammps").read_text()
    assert f"pair_style      hybrid/overlay pace zbl {inner!r} {outer!r} ${{grader}}\n" in script
    assert "pair_coeff      * * pace ${here}/fit/potential.yace ${element1}\n" in script
    assert "pair_coeff      1 1 zbl 29 29\n" in script
    # Alone the fit lacks its repulsion: at the top of the folder nobody takes it for the whole.
    assert not (tmp_path / "potential.yace").exists()


def test_a_nonlinear_fit_sees_the_same_remainder() -> None:
    asked = squeezed_job()
    zbl = settings_of(asked, "pacemaker").subtracted
    assert zbl == Zbl.of(["Cu"])
    plain, less = (fit_rows(asked.train, {"Cu": 0.0}, 0.0, given) for given in (None, zbl))
    for number, item in enumerate(asked.train):
        terms = zbl.terms(item.atoms)
        assert plain.energies_ev[number] - less.energies_ev[number] == pytest.approx(
            terms.energy_ev
        )
        assert np.allclose(plain.forces[number] - less.forces[number], terms.forces)
    # What is unlikely is so by its whole energy.
    assert np.array_equal(plain.energy_weights, less.energy_weights)


def test_a_potential_with_another_baseline_is_no_start() -> None:
    asked = squeezed_job()
    without = replace(asked, settings=asked.settings.model_copy(update={"baseline": "none"}))
    bases = [settings_of(item, "linear").basis for item in (asked, without)]
    assert bases[0] != bases[1] and "baseline" not in bases[1]
