"""What a campaign hands out: ASE, pyace, LAMMPS and the stored DFT label say one energy.

The labels are by effective medium theory with large energies of the isolated atoms, as those of
pseudopotentials are: whoever forgets them is far off, and for an alloy by another amount in every
composition.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read
from ase.io.lammpsdata import write_lammps_data

from mlip_autopipec.base.labels import Label, LabelledStructure, PotentialRef
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines.md.lammps.library import mpi_library
from mlip_autopipec.engines.md.lammps.plugin.build import build
from mlip_autopipec.engines.ports import Trained, TrainJob
from mlip_autopipec.engines.potential_folder import calculator_of, ensemble_of
from mlip_autopipec.engines.train.pacemaker.engine import LinearAce
from mlip_autopipec.engines.train.pacemaker.inputs import usable_warm_start
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings
from mlip_autopipec.report.findings import Findings
from mlip_autopipec.report.result_folder import write_result
from mlip_autopipec.testing import simulated_plan
from mlip_autopipec.testing.contracts.running import execute

pytestmark = pytest.mark.real

ELEMENTS = ("Al", "Cu")
ATOM_EV = {"Al": -537.3, "Cu": -1819.4}
LAMMPS = Path(sys.prefix) / "bin" / "lmp"


def labelled(name: str, atoms: Atoms) -> LabelledStructure:
    probe = atoms.copy()
    probe.calc = EMT()
    energy = probe.get_potential_energy()
    free = sum(ATOM_EV[symbol] for symbol in atoms.get_chemical_symbols())
    stress = probe.get_stress() if atoms.pbc.all() else None
    label = Label(energy + free, probe.get_forces(), stress, "emt", 1, 0.0)
    return LabelledStructure(name, atoms, label, Provenance("rattle", f"g-{name}"))


def alloy(seed: int) -> Atoms:
    """Four atoms of an fcc cell, any composition."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", a=3.8, cubic=True)
    atoms.symbols = rng.choice(ELEMENTS, size=4)
    atoms.set_cell(atoms.cell.array * (1 + 0.03 * rng.uniform(-1, 1)), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.08, size=(4, 3))
    return atoms


def free_atom(symbol: str) -> Atoms:
    return Atoms(symbol, [[6.0] * 3], cell=[12.0] * 3)


@dataclass
class HandedOut:
    folder: Path
    labels: list[LabelledStructure]
    energy_rmse_ev_per_atom: float


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory) -> HandedOut:
    root = tmp_path_factory.mktemp("a run")
    labels = [labelled(f"s{seed}", alloy(seed)) for seed in range(28)]
    labels += [labelled(f"atom-{symbol}", free_atom(symbol)) for symbol in ELEMENTS]
    settings = LinearSettings(cutoff_a=4.5, functions_per_element=40)
    job = TrainJob(ELEMENTS, tuple(labels), (), settings, seed=0)
    work = root / "work"
    work.mkdir()
    trainer = LinearAce()
    trained = trainer.parse(job, work, execute(trainer.prepare(job, work), work))
    assert isinstance(trained, Trained), trained
    shutil.copytree(trained.folder, root / "potentials/000-abc")
    metrics = trained.metrics
    potential = PotentialRef(
        "000-abc", "potentials/000-abc", "linear", ELEMENTS, len(labels), metrics
    )
    plan = simulated_plan()
    exploration = plan.exploration.model_copy(update={"engine": "lammps"})
    start = bulk("Cu", a=3.85, cubic=True)
    start.symbols = ["Cu", "Al", "Al", "Al"]
    found = Findings(
        *("converged", "it has", 60.0, 30),
        potentials=(potential,),
        train=tuple(labels),
        ground_state=start,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlip_autopipec.report.page.render", lambda *_: "no drawing")
        patch.setattr("mlip_autopipec.report.result_folder.EXAMPLE_ATOMS", 32)
        summary = write_result(root, plan.model_copy(update={"exploration": exploration}), found)
    assert not summary.notes
    moved = tmp_path_factory.mktemp("elsewhere") / "result"
    shutil.copytree(root / "result", moved)
    shutil.rmtree(root)  # what is handed out needs nothing of the run
    return HandedOut(moved, labels, metrics["train"]["energy_rmse_mev_per_atom"] / 1000)


@pytest.fixture(scope="module")
def plugin() -> Path:
    """The pair styles; compiled once for a machine."""
    return build()


def by_ase(folder: Path, atoms: Atoms, cwd: Path) -> tuple[float, float]:
    """Energy and largest grade by ``potential.py`` from another folder, in a process of its own."""
    atoms.write(cwd / "asked.extxyz", write_results=False)
    text = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from ase.io import read; from potential import calculator\n"
        "atoms = read('asked.extxyz'); atoms.calc = calculator()\n"
        "print(f'{atoms.get_potential_energy():.9f}', atoms.calc.results['gamma'].max())"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    energy, gamma = done.stdout.split()
    return float(energy), float(gamma)


def by_pyace(folder: Path, atoms: Atoms) -> float:
    """By what the top of the folder offers to pyace."""
    from pyace import PyACECalculator

    (file,) = [*folder.glob("*.yace"), *folder.glob("*.yaml")]
    probe = atoms.copy()
    probe.calc = PyACECalculator(str(file))
    return float(probe.get_potential_energy())


def lammps(plugin: Path, cwd: Path, *arguments: str, processes: int = 1, code: int = 0) -> str:
    start = [] if processes == 1 else [str(LAMMPS.with_name("mpiexec")), "-n", str(processes)]
    paths = {"LAMMPS_PLUGIN_PATH": str(plugin), "LD_LIBRARY_PATH": str(mpi_library().parent)}
    done = subprocess.run(
        [*start, str(LAMMPS), "-log", "none", *arguments],
        cwd=cwd,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (code == 0), done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def first_row(text: str) -> tuple[float, float]:
    """Energy and grade before the first step."""
    row = next(line.split() for line in text.splitlines() if re.match(r"\s+0\s+\d", line))
    return float(row[2]), float(row[-1])


def test_ase_pyace_and_dft_agree_for_every_composition(handed_out, tmp_path):
    for item in handed_out.labels[:6]:
        energy, gamma = by_ase(handed_out.folder, item.atoms, tmp_path)
        assert by_pyace(handed_out.folder, item.atoms) == pytest.approx(energy, abs=1e-4)
        off = abs(energy - item.label.energy_ev) / len(item.atoms)
        assert off < 5 * handed_out.energy_rmse_ev_per_atom < 0.5
        assert gamma < 1.01  # it was learned
    for symbol in ELEMENTS:
        label = next(item.label for item in handed_out.labels if item.name == f"atom-{symbol}")
        energy, _ = by_ase(handed_out.folder, free_atom(symbol), tmp_path)
        assert energy == pytest.approx(label.energy_ev, abs=1e-4)


@pytest.mark.parametrize("processes", [1, 2])
def test_lammps_agrees_wherever_it_runs(handed_out, plugin, tmp_path, processes):
    atoms = read(handed_out.folder / "structure.extxyz")
    energy, gamma = by_ase(handed_out.folder, atoms, tmp_path)
    here = ("-var", "here", str(handed_out.folder))
    text = lammps(
        plugin, tmp_path, "-in", str(handed_out.folder / "in.lammps"), *here, processes=processes
    )
    assert first_row(text) == (pytest.approx(energy, abs=1e-4), pytest.approx(gamma, abs=1e-4))
    assert "atoms: 32 of 32" in text and "c_gamma" in text
    drift = float(re.search(r"energy drift: (\S+) meV/atom/ps", text).group(1))
    assert abs(drift) < 1.0
    assert (tmp_path / "final.data").is_file()


def short(folder: Path, out: Path) -> Path:
    """A copy of the folder, with runs of no step."""
    shutil.copytree(folder, out)
    script = (out / "in.lammps").read_text()
    (out / "in.lammps").write_text(re.sub(r"(?m)^run .*", "run 0", script))
    return out


@pytest.mark.parametrize("order", [("Al", "Cu"), ("Cu", "Al")])
def test_species_may_come_in_any_order(handed_out, plugin, tmp_path, order):
    folder = short(handed_out.folder, tmp_path / "copy of it")
    atoms = handed_out.labels[3].atoms.repeat((3, 3, 3))
    assert set(atoms.symbols) == {"Al", "Cu"}
    write_lammps_data(folder / "structure.data", atoms, specorder=list(order), masses=True)
    energy, _ = by_ase(folder, atoms, tmp_path)
    text = lammps(plugin, folder, "-in", "in.lammps")
    assert first_row(text)[0] == pytest.approx(energy, abs=1e-4)


def test_one_element_of_the_alloy_is_enough(handed_out, plugin, tmp_path):
    folder = short(handed_out.folder, tmp_path / "copy")
    atoms = bulk("Cu", a=3.7, cubic=True) * (3, 3, 3)
    write_lammps_data(folder / "structure.data", atoms, masses=True)
    energy, gamma = by_ase(folder, atoms, tmp_path)
    text = lammps(plugin, folder, "-in", "in.lammps")
    assert first_row(text) == (pytest.approx(energy, abs=1e-4), pytest.approx(gamma, abs=1e-4))


def test_other_units_and_other_elements_are_refused(handed_out, plugin, tmp_path):
    folder = short(handed_out.folder, tmp_path / "copy")
    script = (folder / "in.lammps").read_text()
    (folder / "real.lammps").write_text(script.replace("metal\n", "real\n"))
    assert "needs units metal" in lammps(plugin, folder, "-in", "real.lammps", code=1)
    bare = (
        "units real\natom_style atomic\nread_data structure.data\npair_style pace\n"
        "pair_coeff * * potential.yace Al Cu\nrun 0\n"
    )
    (folder / "bare.lammps").write_text(bare)
    assert "units metal" in lammps(plugin, folder, "-in", "bare.lammps", code=1)
    write_lammps_data(folder / "structure.data", bulk("Ni", cubic=True), masses=True)
    lammps(plugin, folder, "-in", "in.lammps", code=1)


def test_the_example_runs_from_anywhere_and_says_the_same(handed_out, tmp_path):
    atoms = read(handed_out.folder / "structure.extxyz")
    energy, _ = by_ase(handed_out.folder, atoms, tmp_path)
    example = str(handed_out.folder / "ase_example.py")
    done = subprocess.run(
        [sys.executable, example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = float(re.search(r"energy\s+(\S+) eV/atom", done.stdout).group(1))
    assert said * len(atoms) == pytest.approx(energy, abs=1e-4)


def test_this_program_goes_on_with_it(handed_out):
    folder, item = handed_out.folder, handed_out.labels[0]
    probe = item.atoms.copy()
    probe.calc = calculator_of(folder)
    energies = [probe.get_potential_energy()]
    trainer = LinearAce()
    assert trainer.force_errors(folder, [item.atoms])[0].shape == (len(item.atoms),)
    for calculator in ensemble_of(folder):
        probe.calc = calculator
        energies.append(probe.get_potential_energy())
    assert len(energies) > 2
    assert np.ptp(energies) / len(item.atoms) < 1.0
    metrics = (folder / "fit/metrics.json").read_text()
    assert usable_warm_start(folder, json.loads(metrics)["basis"]) == str(folder / "fit")
