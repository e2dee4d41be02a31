"""What is made of the structures of a file: periodicity, vacuum and moments, said where changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mlip_autopipec.commands.dft import _changes
from mlip_autopipec.commands.label.structures import as_calculated, read_structures


@pytest.mark.parametrize(("symbol", "edge"), [("Sr", 6.3), ("Ba", 6.2), ("Cs", 6.5), ("K", 7.0)])
def test_a_wide_crystal_of_large_atoms_is_no_isolated_atom(symbol: str, edge: float) -> None:
    crystal = Atoms(symbol, cell=[edge] * 3, pbc=True)
    found = as_calculated(crystal)
    assert found.atoms.pbc.all() and not found.notes
    np.testing.assert_allclose(found.atoms.cell.array, crystal.cell.array)


def test_what_is_taken_for_isolated_or_a_slab_is_said() -> None:
    water = molecule("H2O")
    water.center(vacuum=5.0)
    water.pbc = True
    isolated = as_calculated(water, "box.xyz#0")
    assert not isolated.atoms.pbc.any() and "isolated" in isolated.notes[0]
    slab = fcc111("Al", (1, 1, 3), a=4.05, vacuum=8.0, periodic=True)
    found = as_calculated(slab, "slab.xyz#0")
    assert list(found.atoms.pbc) == [True, True, False]
    assert found.notes == ("vacuum: not periodic along c",)
    water.pbc = False
    assert not as_calculated(water).notes, "as the file says"
    said = _changes([found, isolated, as_calculated(slab, "slab.xyz#1")])
    assert said[0] == "slab.xyz#0: vacuum: not periodic along c (1 more such)" and len(said) == 2


def test_moments_to_start_from_are_kept_and_those_that_came_out_serve(tmp_path: Path) -> None:
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([3.0, -3.0])
    write(tmp_path / "iron.extxyz", iron)
    (read,) = read_structures([tmp_path / "iron.extxyz"])
    assert read.atoms.get_initial_magnetic_moments().tolist() == [3.0, -3.0]
    plain = Atoms("Fe2", scaled_positions=[[0] * 3, [0.5] * 3], cell=iron.cell, pbc=True)
    assert not as_calculated(plain).atoms.has("initial_magmoms")
    plain.calc = SinglePointCalculator(plain, energy=0.0, magmoms=np.array([2.2, 2.1]))
    assert as_calculated(plain).atoms.get_initial_magnetic_moments().tolist() == [2.2, 2.1]
    iron.arrays["initial_magmoms"] = np.ones((2, 3))
    with pytest.raises(ValueError, match="along one axis"):
        as_calculated(iron)


def test_moments_of_a_molecule_stay_with_its_atoms_in_its_box() -> None:
    pair = molecule("O2")
    pair.set_initial_magnetic_moments([1.0, -1.0])
    assert as_calculated(pair).atoms.get_initial_magnetic_moments().tolist() == [1.0, -1.0]


def test_a_sheet_of_carbon_is_a_slab() -> None:
    assert list(as_calculated(graphene(vacuum=8.0)).atoms.pbc) == [True, True, False]
