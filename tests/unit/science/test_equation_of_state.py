"""Birch-Murnaghan fit, strained cells, lattice constants: known answers in, the same answers
out.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.lj import LennardJones
from ase.eos import EquationOfState as AseEquationOfState
from ase.units import GPa
from hypothesis import given
from hypothesis import strategies as st

from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.science.properties.birch_murnaghan import (
    EquationOfState,
    fit_birch_murnaghan,
)
from mlip_autopipec.science.properties.equation_of_state import (
    lattice_constant,
    strained_cells,
)


def birch_murnaghan(
    volume: np.ndarray, v0: float, e0: float, b_gpa: float, b_prime: float
) -> np.ndarray:
    """Equation (1) of Birch 1947 as textbooks print it, written independently of the product."""
    eta = (v0 / volume) ** (1 / 3)
    return e0 + 9 * b_gpa * GPa * v0 / 16 * (
        (eta**2 - 1) ** 3 * b_prime + (eta**2 - 1) ** 2 * (6 - 4 * eta**2)
    )


def fitted(volumes: np.ndarray, energies: np.ndarray) -> EquationOfState:
    result = fit_birch_murnaghan(volumes, energies)
    assert isinstance(result, EquationOfState), result
    return result


@given(
    v0=st.floats(8, 60),
    e0=st.floats(-500, 5),
    b_gpa=st.floats(5, 450),
    b_prime=st.floats(2.5, 6.5),
    points=st.integers(5, 11),
)
def test_the_fit_recovers_what_the_energies_were_made_from(v0, e0, b_gpa, b_prime, points):
    volumes = v0 * np.linspace(0.93, 1.08, points)
    result = fitted(volumes, birch_murnaghan(volumes, v0, e0, b_gpa, b_prime))
    assert result.volume_a3_per_atom == pytest.approx(v0, rel=1e-5)
    assert result.energy_ev_per_atom == pytest.approx(e0, abs=1e-6)
    assert result.bulk_modulus_gpa == pytest.approx(b_gpa, rel=1e-3)
    assert result.bulk_modulus_derivative == pytest.approx(b_prime, abs=0.05)
    assert result.residual_mev_per_atom < 1e-4


def test_the_curve_of_a_fit_is_the_textbook_curve():
    volumes = np.linspace(17, 24, 9)
    curve = EquationOfState(20.4, -107.0, 88.5, 4.3, 0.0)
    assert curve.energy(volumes) == pytest.approx(
        birch_murnaghan(volumes, 20.4, -107.0, 88.5, 4.3), abs=1e-12
    )


def test_units_are_gpa_and_the_sign_is_positive_for_a_stable_crystal():
    """The curvature alone, by finite differences: B = V d2E/dV2, 1 eV/Å3 = 160.2 GPa."""
    volumes = np.linspace(19.2, 21.6, 7)
    energies = 0.5 * 0.55 / 20.4 * (volumes - 20.4) ** 2
    result = fitted(volumes, energies)
    assert result.bulk_modulus_gpa == pytest.approx(0.55 * 160.21766, rel=0.02)
    assert result.volume_a3_per_atom == pytest.approx(20.4, rel=1e-3)


def test_agrees_with_ase_and_with_the_pressure_of_a_real_potential():
    """Lennard-Jones fcc: the fit's minimum is where the stress of the calculator vanishes."""
    crystal = bulk("Ar", "fcc", a=1.55)
    cells = strained_cells(crystal, np.linspace(-0.06, 0.06, 7).tolist())
    for cell in cells:
        cell.calc = LennardJones(rc=6.0, smooth=True, ro=5.0)
    volumes = np.array([cell.get_volume() for cell in cells])
    energies = np.array([cell.get_potential_energy() for cell in cells])
    result = fitted(volumes, energies)
    v0, e0, bulk_modulus = AseEquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    assert result.volume_a3_per_atom == pytest.approx(v0, rel=1e-4)
    assert result.energy_ev_per_atom == pytest.approx(e0, rel=1e-6)
    assert result.bulk_modulus_gpa == pytest.approx(bulk_modulus / GPa, rel=1e-2)
    at_rest = strained_cells(crystal, [result.volume_a3_per_atom / crystal.get_volume() - 1])[0]
    at_rest.calc = LennardJones(rc=6.0, smooth=True, ro=5.0)
    pressure_gpa = -np.mean(at_rest.get_stress()[:3]) / GPa
    assert abs(pressure_gpa) < 0.005 * result.bulk_modulus_gpa


@pytest.mark.parametrize(
    ("volumes", "energies", "words"),
    [
        (np.linspace(18, 22, 4), np.zeros(4), "at least 5"),
        (np.full(7, 20.0), np.zeros(7), "1 different volumes"),
        (np.linspace(18, 22, 7), np.full(7, np.nan), "finite"),
        (np.linspace(18, 22, 7), -((np.linspace(18, 22, 7) - 20) ** 2), "minimum"),
        (
            np.linspace(21, 24, 7),
            birch_murnaghan(np.linspace(21, 24, 7), 20.0, -1.0, 90.0, 4.0),
            "outside",
        ),
    ],
)
def test_no_minimum_no_number(volumes, energies, words):
    result = fit_birch_murnaghan(volumes, energies)
    assert isinstance(result, Failure)
    assert result.kind == "equation_of_state"
    assert words in result.message


def test_lists_of_two_lengths_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="one length"):
        fit_birch_murnaghan([1.0, 2.0], [1.0])


def test_strained_cells_change_the_volume_and_nothing_else():
    crystal = bulk("NaCl", "rocksalt", a=5.7)
    small, same, large = strained_cells(crystal, [-0.06, 0.0, 0.06])
    assert small.get_volume() == pytest.approx(0.94 * crystal.get_volume())
    assert large.get_volume() == pytest.approx(1.06 * crystal.get_volume())
    assert same.positions == pytest.approx(crystal.positions)
    assert large.get_scaled_positions() == pytest.approx(crystal.get_scaled_positions())
    assert crystal.get_volume() == pytest.approx(bulk("NaCl", "rocksalt", a=5.7).get_volume())
    with pytest.raises(ValueError, match="-1"):
        strained_cells(crystal, [-1.0])


@pytest.mark.parametrize(
    ("crystal", "atoms_in_the_cube"),
    [
        (bulk("Si", "diamond", a=5.43), 8),
        (bulk("Si", "diamond", a=5.43, cubic=True), 8),
        (make_supercell(bulk("Si", "diamond", a=5.43), 2 * np.eye(3)), 8),
        (bulk("Al", "fcc", a=4.05), 4),
        (bulk("Fe", "bcc", a=2.87), 2),
        (bulk("NaCl", "rocksalt", a=5.64), 8),
    ],
)
def test_cubic_lattice_constant_does_not_depend_on_the_cell_used(
    crystal: Atoms, atoms_in_the_cube: int
):
    assert lattice_constant(20.0, crystal) == pytest.approx((20.0 * atoms_in_the_cube) ** (1 / 3))


def test_hexagonal_a_follows_the_volume_at_fixed_shape():
    magnesium = bulk("Mg", "hcp", a=3.21, c=5.21)
    per_atom = magnesium.get_volume() / 2
    assert lattice_constant(per_atom, magnesium) == pytest.approx(3.21, abs=1e-6)
    assert lattice_constant(per_atom * 1.1, magnesium) == pytest.approx(
        3.21 * 1.1 ** (1 / 3), abs=1e-6
    )


def test_a_fit_can_be_stored():
    volumes = np.linspace(18, 22, 7)
    result = fitted(volumes, birch_murnaghan(volumes, 20.0, -1.0, 90.0, 4.0))
    assert EquationOfState(**json.loads(json.dumps(result.to_json()))) == result
