"""Slabs and wires as fully periodic cells: the same physics, and no image within reach."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT

from mlip_autopipec.science.lattices import fully_periodic

REACH_A = 6.0


def slab(vacuum_a: float) -> Atoms:
    cell = fcc111("Cu", (2, 2, 3), vacuum=vacuum_a / 2)
    cell.rattle(0.05, seed=3)
    cell.pbc = (True, True, False)
    return cell


def closest_image_a(atoms: Atoms) -> float:
    """Across the third direction."""
    normal = np.cross(atoms.cell[0], atoms.cell[1])
    normal /= np.linalg.norm(normal)
    return abs(float(atoms.cell[2] @ normal)) - float(np.ptp(atoms.positions @ normal))


@pytest.mark.parametrize("vacuum_a", [12.0, 2.0, 0.0])
def test_a_slab_keeps_its_energy_and_forces(vacuum_a: float) -> None:
    cell = slab(vacuum_a)
    boxed = fully_periodic(cell, 12.0)
    assert boxed.pbc.all() and closest_image_a(boxed) >= 12.0 - 1e-9
    found = []
    for atoms in (cell.copy(), boxed):
        atoms.calc = EMT()
        found.append((atoms.get_potential_energy(), atoms.get_forces()))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-9)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-9)


def test_a_vacuum_that_is_wide_enough_stays() -> None:
    cell = slab(14.0)
    np.testing.assert_allclose(fully_periodic(cell, REACH_A).cell.array, cell.cell.array)


def test_a_leaning_free_direction_is_measured_across_the_slab() -> None:
    cell = slab(4.0)
    cell.set_cell([*cell.cell[:2], cell.cell[2] + 3 * cell.cell[0]])
    boxed = fully_periodic(cell, REACH_A)
    assert closest_image_a(boxed) == pytest.approx(REACH_A)
    np.testing.assert_allclose(boxed.positions, cell.positions)


def test_a_free_direction_without_a_vector_gets_one() -> None:
    cell = slab(4.0)
    cell.set_cell([*cell.cell[:2], [0, 0, 0]])
    assert closest_image_a(fully_periodic(cell, REACH_A)) >= REACH_A - 1e-9


def test_a_wire_grows_in_both_free_directions() -> None:
    wire = bulk("Cu", cubic=True)
    wire.pbc = (False, False, True)
    lengths = fully_periodic(wire, REACH_A).cell.lengths()
    spans = np.ptp(wire.positions, axis=0)
    np.testing.assert_allclose(lengths[:2], spans[:2] + REACH_A)
    assert lengths[2] == pytest.approx(wire.cell.lengths()[2])


def test_crystals_and_molecules_are_left_alone() -> None:
    for atoms in (bulk("Cu"), molecule("H2O")):
        assert fully_periodic(atoms, REACH_A) is atoms


@pytest.mark.parametrize("periodic", [(True, True, True), (True, True, False)])
def test_a_left_handed_cell_becomes_a_right_handed_one_of_the_same_lattice(
    periodic: tuple[bool, bool, bool],
) -> None:
    cell = fcc111("Cu", (2, 3, 3), vacuum=8.0)
    cell.rattle(0.05, seed=3)
    cell.set_cell(cell.cell.array[[1, 0, 2]])
    cell.pbc = periodic
    assert np.linalg.det(cell.cell.array) < 0
    turned = fully_periodic(cell, REACH_A)
    assert np.linalg.det(turned.cell.array) > 0 and turned.pbc.all()
    found = []
    for atoms in (cell.copy(), turned):
        atoms.calc = EMT()
        found.append((atoms.get_potential_energy(), atoms.get_forces()))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-9)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-9)
