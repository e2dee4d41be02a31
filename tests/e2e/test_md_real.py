"""Real LAMMPS with real (small) ACE potentials for copper: forces, ensembles, hot swap, break and
resume, export.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ace_fixture import copper_frames, fit_ace
from ase import units
from ase.build import bulk

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.engines.md.lammps import engine as engine_module
from mlip_autopipec.engines.md.lammps.evaluators.ace import AceEvaluator
from mlip_autopipec.engines.md.lammps.examples import export
from mlip_autopipec.engines.md.lammps.plugin.build import build
from mlip_autopipec.engines.md.lammps.simulation import Dynamics, Simulation, maxwell_velocities
from mlip_autopipec.engines.md.lammps.stream import Pointer, is_sane
from mlip_autopipec.engines.ports import MdEngine, MdJob
from mlip_autopipec.engines.registry import md_engine

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def narrow(tmp_path_factory) -> Path:
    """Knows only copper near equilibrium."""
    frames = copper_frames(1, (0.03, 0.06, 0.1), (-0.03, 0.0, 0.03), 12)
    return fit_ace(tmp_path_factory.mktemp("narrow"), frames)


@pytest.fixture(scope="session")
def wide(tmp_path_factory) -> Path:
    """Knows hot and strained copper, too."""
    frames = copper_frames(2, (0.05, 0.1, 0.2, 0.3), (-0.06, -0.02, 0.0, 0.02, 0.06), 24)
    return fit_ace(tmp_path_factory.mktemp("wide"), frames)


def ase_calculator(folder):
    from pyace import PyACECalculator

    calculator = PyACECalculator(str(folder / "potential.yaml"))
    calculator.set_active_set(str(folder / "potential.asi"))
    return calculator


def copper(repeat=(3, 3, 3), strain=0.0, a=3.61):
    return bulk("Cu", a=a * (1 + strain), cubic=True) * repeat


def simulate(
    atoms, folder, ensemble="nve", temperature_k=300.0, pressure_gpa=0.0, timestep_fs=2.0, **options
):
    velocities = maxwell_velocities(atoms, temperature_k, np.random.default_rng(4))
    dynamics = Dynamics(ensemble, temperature_k, pressure_gpa, timestep_fs, seed=5)
    return Simulation(
        atoms, velocities, ("Cu",), dynamics, AceEvaluator(folder, ("Cu",)), **options
    )


def make_job(folder, start, **changes):
    values = {
        "start": start,
        "elements": ("Cu",),
        "ensemble": "nvt",
        "temperature_k": 900.0,
        "pressure_gpa": 0.0,
        "timestep_fs": 2.0,
        "clean_ps": 0.6,
        "max_ps": 3.0,
        "gamma_select": 2.0,
        "gamma_break": 1e6,
        "gamma_every": 10,
        "max_candidates_per_potential": 3,
        "wait_s": 0.0,
        "seed": 3,
        "pointer": folder / "current.json",
    }
    return MdJob(**{**values, **changes})


def lines(folder):
    return [json.loads(line) for line in (folder / "stream.jsonl").read_text().splitlines()]


def point_at(folder, name, potential):
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "current.json", {"name": name, "folder": str(potential), "trainer": "linear"}
    )


# --- the potential inside LAMMPS
# --------------------------------------------------------------------------------


def test_energy_forces_pressure_and_grade_equal_ase_in_a_skewed_cell(narrow):
    start = bulk("Cu", a=3.61) * (4, 3, 3)
    start.rotate(35, (1, 2, 0.3), rotate_cell=True)
    start.rattle(0.05, seed=2)
    simulation = simulate(start, narrow, temperature_k=700.0, gamma_every=10)
    for steps in (
        0,
        3,
        57,
        60,
    ):  # the set-up step, plain steps, and after neighbour lists were rebuilt
        simulation.run(steps)
        atoms = simulation.atoms()
        atoms.calc = ase_calculator(narrow)
        assert simulation.thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert np.allclose(simulation.forces(), atoms.get_forces(), atol=1e-8)
        kinetic_pressure = (
            (len(atoms) - 1) * units.kB * simulation.thermo("temp") / atoms.get_volume()
        )
        expected_bar = (kinetic_pressure - atoms.get_stress()[:3].mean()) / units.bar
        assert simulation.thermo("press") == pytest.approx(expected_bar, rel=1e-4)
        if simulation.step % 10 == 0:
            assert np.allclose(simulation.potential.gamma, atoms.calc.results["gamma"], atol=1e-6)
    assert simulation.thermo("nbuild") > 0
    simulation.close()


def test_start_structure_and_temperature_arrive_unchanged(narrow):
    start = copper()
    start.rattle(0.05, seed=2)
    simulation = simulate(start, narrow, temperature_k=432.0)
    simulation.run(0)
    assert simulation.thermo("temp") == pytest.approx(432.0, rel=1e-5)  # Å/ps, not ASE's unit
    assert simulation.temperature_k() == pytest.approx(432.0, rel=1e-5)
    assert np.allclose(
        simulation.atoms().get_all_distances(mic=True),
        start.get_all_distances(mic=True),
        atol=1e-10,
    )
    simulation.close()


def test_energy_is_conserved_without_thermostat(narrow):
    simulation = simulate(copper((2, 2, 2)), narrow, temperature_k=300.0)
    simulation.run(20)
    before = simulation.thermo("etotal")
    simulation.run(1000)
    drift_mev = 1000 * abs(simulation.thermo("etotal") - before) / 32 / 2.0
    assert drift_mev < 1.0
    assert simulation.thermo("temp") > 50
    simulation.close()


def test_thermostat_holds_the_temperature(narrow):
    simulation = simulate(copper((2, 2, 2)), narrow, "nvt", temperature_k=300.0)
    simulation.run(250)
    samples = []
    for _ in range(60):
        simulation.run(25)
        samples.append(simulation.thermo("temp"))
    assert np.mean(samples) == pytest.approx(300.0, rel=0.1)
    simulation.close()


@pytest.mark.parametrize(("strain", "sign"), [(-0.03, 1), (0.03, -1)])
def test_barostat_moves_the_volume_the_right_way(narrow, strain, sign):
    simulation = simulate(copper((2, 2, 2), strain), narrow, "npt", temperature_k=50.0)
    before = simulation.thermo("vol")
    simulation.run(250)
    assert sign * (simulation.thermo("vol") - before) > 0.005 * before
    simulation.close()


def test_external_pressure_compresses(narrow):
    volumes = []
    for pressure_gpa in (0.0, 4.0):
        simulation = simulate(copper((2, 2, 2)), narrow, "npt", 50.0, pressure_gpa)
        simulation.run(400)
        volumes.append(simulation.thermo("vol"))
        simulation.close()
    assert volumes[1] < 0.99 * volumes[0]


def test_hot_swap_changes_the_energy_and_nothing_else(narrow, wide):
    start = copper((2, 2, 2))
    start.rattle(0.1, seed=1)
    simulation = simulate(start, narrow)
    simulation.run(40)
    before, energy = simulation.frame(), simulation.thermo("pe")
    simulation.swap(AceEvaluator(wide, ("Cu",)))
    simulation.run(0)
    after = simulation.frame()
    assert np.array_equal(before.velocities, after.velocities)
    assert np.allclose(before.atoms.positions, after.atoms.positions, atol=1e-12)
    atoms = after.atoms
    atoms.calc = ase_calculator(wide)
    assert simulation.thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    assert abs(simulation.thermo("pe") - energy) > 1e-3
    simulation.close()


def test_an_error_in_the_callback_ends_the_run_and_is_raised(narrow):
    def broken(step, gamma):
        if step >= 20:
            raise ZeroDivisionError("inside the step")

    simulation = simulate(copper((2, 2, 2)), narrow, on_gamma=broken)
    with pytest.raises(ZeroDivisionError, match="inside the step"):
        simulation.run(200)
    assert simulation.step <= 21
    simulation.close()


def test_unknown_elements_and_missing_files_are_named(narrow, tmp_path):
    with pytest.raises(InputError, match="Al"):
        AceEvaluator(narrow, ("Al", "Cu"))
    with pytest.raises(InputError, match=r"potential\.yaml"):
        AceEvaluator(tmp_path, ("Cu",))


# --- exploration
# -------------------------------------------------------------------------------------------------


def test_engine_meets_the_port():
    assert isinstance(md_engine("lammps"), MdEngine)


def test_clean_run_ends_after_the_clean_time(wide, tmp_path):
    point_at(tmp_path, "wide", wide)
    result = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), temperature_k=300.0), tmp_path
    )
    assert result.clean
    assert result.ps == pytest.approx(0.6, abs=0.21)
    assert (result.breaks, result.swaps, result.candidates) == (0, 0, 0)
    assert 0.3 < result.gamma_max <= 2.0
    assert 150 < result.temperature_mean_k < 450
    happened = Counter(line["type"] for line in lines(tmp_path))
    assert set(happened) == {"progress"} and happened["progress"] >= 2  # more on a busy machine


def test_extrapolating_frames_are_streamed_apart_and_the_run_goes_on(narrow, tmp_path):
    point_at(tmp_path, "narrow", narrow)
    result = md_engine("lammps").run(make_job(tmp_path, copper((2, 2, 2)), max_ps=1.0), tmp_path)
    assert not result.clean
    assert result.steps <= 500
    found = [line for line in lines(tmp_path) if line["type"] == "candidate"]
    assert len(found) == result.candidates == 3  # the limit for one potential
    assert (np.diff([line["step"] for line in found]) >= 50).all()  # 100 fs
    for line in found:
        data = json.loads((tmp_path / line["file"]).read_text())
        atoms = Candidate.from_json(data).atoms
        atoms.calc = ase_calculator(narrow)
        atoms.get_potential_energy()
        assert np.allclose(
            data["gamma"], atoms.calc.results["gamma"], rtol=1e-3
        )  # the grade of this very frame
        assert max(data["gamma"]) == pytest.approx(line["gamma"], abs=1e-5)
        assert line["gamma"] > 2.0


def pointer(potential):
    return Pointer("wide" if "wide" in potential.name else "narrow", potential, "linear")


def scripted_pointer(monkeypatch, looks, first, second):
    """The pointer file names ``first`` for so many looks, then ``second``."""
    seen = []

    def read(path):
        seen.append(path)
        return first if len(seen) <= looks else second

    monkeypatch.setattr(engine_module, "read_pointer", read)


def test_new_potential_is_swapped_in_while_running(narrow, wide, tmp_path, monkeypatch):
    scripted_pointer(monkeypatch, 4, pointer(narrow), pointer(wide))
    job = make_job(tmp_path, copper((2, 2, 2)), max_candidates_per_potential=30)
    result = md_engine("lammps").run(job, tmp_path)
    assert (result.swaps, result.breaks, result.potential) == (1, 0, "wide")
    (swap,) = (line for line in lines(tmp_path) if line["type"] == "swap")
    assert (swap["old"], swap["new"]) == ("narrow", "wide")
    assert result.clean
    # the time before the swap does not count as clean time of the new potential
    assert result.clean_ps == pytest.approx((result.steps - swap["step"]) * 0.002)


def test_with_nothing_left_to_add_it_waits_and_goes_on_where_it_stood(
    narrow, wide, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine_module, "POLL_S", 0.01)
    scripted_pointer(monkeypatch, 60, pointer(narrow), pointer(wide))
    started = []
    simulate = engine_module.Simulation
    monkeypatch.setattr(
        engine_module, "Simulation", lambda *a, **k: started.append(1) or simulate(*a, **k)
    )
    result = md_engine("lammps").run(make_job(tmp_path, copper((2, 2, 2)), wait_s=60.0), tmp_path)
    happened = lines(tmp_path)
    waits = [
        line["step"]
        for line in happened
        if line["type"] == "progress" and line["state"] == "waiting"
    ]
    (swap,) = (line for line in happened if line["type"] == "swap")
    assert result.candidates == 3 and set(waits) == {swap["step"]}
    assert 0 < swap["step"] < result.steps
    assert (result.clean, result.breaks, len(started)) == (True, 0, 1), (
        "one simulation, from end to end"
    )


def test_break_rewinds_waits_and_resumes_with_the_next_potential(
    narrow, wide, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine_module, "POLL_S", 0.01)
    scripted_pointer(monkeypatch, 8, pointer(narrow), pointer(wide))
    job = make_job(tmp_path, copper((2, 2, 2)), gamma_break=2.6, wait_s=60.0, max_ps=4.0)
    result = md_engine("lammps").run(job, tmp_path)
    happened = lines(tmp_path)
    kinds = [line["type"] for line in happened if line["type"] in ("break", "swap", "resume")]
    assert kinds == ["break", "swap", "resume"]
    broke = next(line for line in happened if line["type"] == "break")
    assert broke["gamma"] > 2.6
    assert broke["potential"] == "narrow"
    assert any(line["type"] == "progress" and line["state"] == "waiting" for line in happened)
    offending = [
        line for line in happened if line["type"] == "candidate" and line["gamma"] == broke["gamma"]
    ]
    assert len(offending) == 1
    candidate = Candidate.from_json(json.loads((tmp_path / offending[0]["file"]).read_text()))
    assert is_sane(candidate.atoms)
    assert (result.clean, result.potential, result.breaks) == (True, "wide", 1)
    after = [
        line for line in happened if line["type"] == "progress" and line["potential"] == "wide"
    ]
    assert all(line["gamma_max"] <= 2.0 for line in after)


def test_waiting_in_vain_ends_unclean(narrow, tmp_path):
    point_at(tmp_path, "narrow", narrow)
    result = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), gamma_break=2.2), tmp_path
    )
    assert (result.clean, result.breaks, result.potential) == (False, 1, "narrow")
    assert (tmp_path / "snapshot.json").exists()


def test_overlapping_atoms_are_a_break_and_no_candidate(narrow, tmp_path):
    point_at(tmp_path, "narrow", narrow)
    start = copper((2, 2, 2))
    start.positions[0] = start.positions[1] + [0.4, 0.1, 0.0]
    result = md_engine("lammps").run(
        make_job(tmp_path, start, gamma_break=1e12, gamma_select=1e11), tmp_path
    )
    assert (result.clean, result.breaks, result.candidates) == (False, 1, 0)
    assert not any(line["type"] == "candidate" for line in lines(tmp_path))


def test_restarted_run_goes_on_from_its_snapshot(wide, tmp_path):
    point_at(tmp_path, "wide", wide)
    options = {"temperature_k": 300.0, "clean_ps": 5.0}
    first = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), max_ps=0.4, **options), tmp_path
    )
    kept = json.loads((tmp_path / "snapshot.json").read_text())
    assert 0 < kept["step"] <= first.steps == 200
    moved = np.abs(np.array(kept["atoms"]["positions"]) - copper((2, 2, 2)).positions) % 7.22
    assert 0.0 < np.minimum(moved, 7.22 - moved).max() < 1.0
    second = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), max_ps=0.6, **options), tmp_path
    )
    assert second.steps == 300
    resumed = [line["step"] for line in lines(tmp_path) if line["type"] == "resume"]
    assert resumed == [kept["counters"]["step"]]


# --- what the user gets
# ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def plugin() -> Path:
    """Pair style pace; compiled once for a machine."""
    return build()


def test_exported_scripts_run_and_agree(wide, tmp_path, plugin):
    start = copper((3, 2, 2))
    start.rattle(0.05, seed=1)
    export(wide, start, tmp_path, 300.0, ("Cu",))
    program = Path(sys.prefix) / "bin" / "lmp"
    environment = {**os.environ, "LAMMPS_PLUGIN_PATH": str(plugin)}

    def run(*command):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    lammps = run(str(program), "-in", "in.lammps", "-log", "none")
    assert "atoms: 48 of 48" in lammps
    drift = float(re.search(r"energy drift: (\S+) meV/atom/ps", lammps).group(1))
    assert abs(drift) < 1.0
    first_row = next(row.split() for row in lammps.splitlines() if re.match(r"\s+0\s+300\s", row))
    start.calc = ase_calculator(wide)
    assert float(first_row[2]) == pytest.approx(start.get_potential_energy(), abs=1e-5)
    kinetic = (len(start) - 1) * units.kB * 300.0 / start.get_volume()
    expected_bar = (kinetic - start.get_stress()[:3].mean()) / units.bar
    assert float(first_row[4]) == pytest.approx(expected_bar, rel=1e-3)

    ase = run(sys.executable, "ase_example.py")
    energy = float(re.search(r"energy\s+(\S+) eV/atom", ase).group(1))
    assert energy * len(start) == pytest.approx(start.get_potential_energy(), abs=1e-4)
