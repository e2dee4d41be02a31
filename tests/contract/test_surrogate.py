"""Every surrogate of the main environment passes the suite of its port; CHGNet's own behaviour at
the edges.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import CalculationFailed, Calculator

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.engines import registry
from mlip_autopipec.testing import SurrogateContract

STRAIN = np.array([[1.03, 0.02, 0], [0, 0.98, 0.015], [0, 0, 1.05]])


def crystal(atoms: Atoms, stdev: float, seed: int = 3) -> Atoms:
    atoms.set_cell(atoms.cell.array @ STRAIN, scale_atoms=True)
    atoms.rattle(stdev, seed=seed)
    return atoms


class TestSimulatedSurrogate(SurrogateContract):
    engine = "mlip_autopipec.testing:SimulatedSurrogate"
    atoms = crystal(bulk("Cu", cubic=True), 0.15)
    unsupported = "Si"


@pytest.mark.real
class TestChgnet(SurrogateContract):
    engine = "chgnet"
    atoms = crystal(bulk("SiC", "zincblende", a=4.36, cubic=True), 0.08)
    unsupported = "Rn"


@pytest.fixture(scope="module")
def chgnet() -> Calculator:
    return registry.surrogate("chgnet").calculator()


@pytest.mark.real
def test_chgnet_has_its_equilibrium_where_it_was_measured(chgnet: Calculator) -> None:
    """Si: 5.472 Å (0.5 GPa is 0.01 Å)."""
    pressures = []
    for a in (5.37, 5.472, 5.57):
        atoms = bulk("Si", "diamond", a=a)
        atoms.calc = chgnet
        pressures.append(atoms.get_stress()[:3].mean() / units.GPa)
    assert pressures[0] < -2 and pressures[2] > 2
    assert pressures[1] == pytest.approx(0, abs=0.5)


@pytest.mark.real
def test_chgnet_fails_on_an_isolated_atom_and_knows_molecules(chgnet: Calculator) -> None:
    atoms = Atoms("Si", cell=[15, 15, 15], pbc=True)
    atoms.calc = chgnet
    with pytest.raises(CalculationFailed, match="neighbour"):
        atoms.get_potential_energy()
    water = molecule("H2O")
    water.calc = chgnet
    assert np.abs(water.get_forces()).max() < 3


def test_a_missing_package_is_answered_with_its_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_import = builtins.__import__

    def without_chgnet(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "chgnet":
            raise ModuleNotFoundError(f"No module named {name!r}", name="chgnet")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_chgnet)
    with pytest.raises(MissingProgramError, match="pip install"):
        registry.surrogate("chgnet").calculator()


@pytest.mark.parametrize(("engine", "hint"), [("mace", "small"), ("sevennet", "7net-0")])
def test_a_model_that_is_no_name_and_no_file_is_refused_with_the_nearest_name(
    engine: str, hint: str
) -> None:
    with pytest.raises(InputError, match=hint):
        registry.surrogate(engine, f"{hint}x")


def test_a_surrogate_with_one_model_takes_no_other() -> None:
    with pytest.raises(InputError, match="one model"):
        registry.surrogate("chgnet", "0.2.0")
