"""SevenNet-0 in its own environment passes the suite of the surrogates.

Run by ``make live`` (installs it first).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.config.derive.surrogate import choose_surrogate
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.surrogate.sevennet.engine import SevenNet
from mlip_autopipec.engines.unknown_elements import MATERIALS_PROJECT_ELEMENTS
from mlip_autopipec.science.properties.birch_murnaghan import (
    EquationOfState,
    fit_birch_murnaghan,
)
from mlip_autopipec.science.properties.equation_of_state import (
    lattice_constant,
    strained_cells,
)
from mlip_autopipec.testing import SurrogateContract

pytestmark = pytest.mark.real


def silicon_carbide() -> Atoms:
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True)
    strain = np.array([[1.03, 0.02, 0], [0, 0.98, 0.015], [0, 0, 1.05]])
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.rattle(0.08, seed=3)
    return atoms


class TestSevenNet(SurrogateContract):
    engine = "sevennet"
    atoms = silicon_carbide()
    unsupported = "Rn"


def test_the_elements_are_those_of_the_materials_project() -> None:
    assert SevenNet()._loaded().elements == MATERIALS_PROJECT_ELEMENTS


def test_silicon_has_the_lattice_and_stiffness_that_were_measured() -> None:
    """5.464 Å and 93 GPa with these weights; PBE has 5.469 Å and 88.5 GPa, CHGNet 70 GPa."""
    calculator = registry.surrogate("sevennet").calculator()
    crystal = bulk("Si", a=5.464)
    volumes, energies = [], []
    for cell in strained_cells(crystal, [-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06]):
        cell.calc = calculator
        volumes.append(cell.get_volume() / len(cell))
        energies.append(cell.get_potential_energy() / len(cell))
    fit = fit_birch_murnaghan(volumes, energies)
    assert isinstance(fit, EquationOfState), fit
    assert lattice_constant(fit.volume_a3_per_atom, crystal) == pytest.approx(5.464, abs=0.01)
    assert fit.bulk_modulus_gpa == pytest.approx(93, abs=8)


def test_a_python_without_the_package_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLIP_SEVENNET_PYTHON", str(tmp_path / "python"))
    with pytest.raises(MissingProgramError, match="make surrogate-sevennet"):
        choose_surrogate("sevennet", ["Si"])
