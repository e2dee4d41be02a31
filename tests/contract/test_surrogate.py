"""What every surrogate has to keep, tried on the real CHGNet."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed, Calculator

from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import Surrogate
from mlip_autopipec.errors import InputError, MissingProgramError

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return registry.surrogate("chgnet")


@pytest.fixture(scope="module")
def calculator(surrogate: Surrogate) -> Calculator:
    return surrogate.calculator()


def _crystal(seed: int = 3) -> Atoms:
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True)
    strained = np.array([[1.03, 0.02, 0], [0, 0.98, 0.015], [0, 0, 1.04]])
    atoms.set_cell(atoms.cell.array @ strained, scale_atoms=True)
    atoms.rattle(0.08, seed=seed)
    return atoms


def test_is_a_surrogate(surrogate: Surrogate) -> None:
    assert isinstance(surrogate, Surrogate)


def test_forces_are_minus_the_gradient_of_the_energy(calculator: Calculator) -> None:
    atoms = _crystal()
    atoms.calc = calculator
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.5  # else the comparison says nothing
    step = 0.01
    for atom, axis in [(0, 0), (3, 1), (6, 2)]:
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            moved.calc = calculator
            energies.append(moved.get_potential_energy())
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=0.02)


@pytest.mark.parametrize("voigt, i, j", [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 1, 2), (4, 0, 2), (5, 0, 1)])
def test_stress_is_the_strain_derivative_per_volume(calculator: Calculator, voigt: int, i: int, j: int) -> None:
    atoms = _crystal()
    atoms.calc = calculator
    stress = atoms.get_stress()
    step, energies = 0.004, []
    for sign in (1, -1):
        strain = np.zeros((3, 3))
        strain[i, j] += sign * step / 2
        strain[j, i] += sign * step / 2
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        moved.calc = calculator
        energies.append(moved.get_potential_energy())
    slope = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
    assert stress[voigt] == pytest.approx(slope, abs=0.15 * units.GPa)


def test_a_stretched_crystal_has_positive_stress(calculator: Calculator) -> None:
    """ASE's sign: tension is positive. CHGNet's own equilibrium lies at 5.47 Å (0.5 GPa is 0.01 Å)."""
    pressures = []
    for a in (5.37, 5.472, 5.57):
        atoms = bulk("Si", "diamond", a=a)
        atoms.calc = calculator
        pressures.append(atoms.get_stress()[:3].mean() / units.GPa)
    assert pressures[0] < -2 and pressures[2] > 2
    assert pressures[1] == pytest.approx(0, abs=0.5)


def test_energy_does_not_depend_on_origin_order_or_cell_choice(calculator: Calculator) -> None:
    atoms = _crystal()
    atoms.calc = calculator
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()

    moved = atoms.copy()
    moved.positions += [0.4, -1.3, 2.2]
    moved.calc = calculator
    assert moved.get_potential_energy() == pytest.approx(energy, abs=1e-3)

    order = np.random.default_rng(0).permutation(len(atoms))
    shuffled = atoms[order]
    shuffled.calc = calculator
    assert shuffled.get_potential_energy() == pytest.approx(energy, abs=1e-3)
    assert shuffled.get_forces() == pytest.approx(forces[order], abs=2e-3)

    doubled = atoms.repeat((2, 1, 1))
    doubled.calc = calculator
    assert doubled.get_potential_energy() == pytest.approx(2 * energy, abs=2e-3)


def test_forces_alone_equal_forces_with_stress(calculator: Calculator) -> None:
    atoms = _crystal()
    atoms.calc = calculator
    alone = atoms.get_forces().copy()
    atoms.get_stress()
    assert atoms.get_forces() == pytest.approx(alone, abs=1e-4)


def test_an_element_outside_the_training_set_is_named(surrogate: Surrogate, calculator: Calculator) -> None:
    assert surrogate.supports(["Si", "O"])
    assert not surrogate.supports(["Si", "Po"])
    atoms = bulk("Po", "sc", a=3.35)
    atoms.calc = calculator
    with pytest.raises(InputError, match="Po"):
        atoms.get_potential_energy()


def test_an_isolated_atom_fails_as_a_calculation(calculator: Calculator) -> None:
    atoms = Atoms("Si", cell=[15, 15, 15], pbc=True)
    atoms.calc = calculator
    with pytest.raises(CalculationFailed, match="neighbour"):
        atoms.get_potential_energy()


def test_a_missing_package_is_answered_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_chgnet(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "chgnet":
            raise ModuleNotFoundError(f"No module named {name!r}", name="chgnet")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_chgnet)
    with pytest.raises(MissingProgramError, match="pip install"):
        registry.surrogate("chgnet").calculator()
