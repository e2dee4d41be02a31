"""Real LAMMPS with real (small) ACE potentials for copper: forces, ensembles, hot swap, break and
resume, export.
"""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from copper_md import ase_calculator, copper, simulate

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.engines.md.lammps.evaluators.ace import AceEvaluator

pytestmark = pytest.mark.real


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
