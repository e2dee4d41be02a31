"""Cells that MD explores in: sizes, shapes, starts and how they may move."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from mlip_autopipec.science.exploring_cells import cell_motion, exploring_cell, small_cell
from mlip_autopipec.science.lattices import separation_a

CRYSTALS = {
    "Si": bulk("Si"),
    "Al": bulk("Al"),
    "Fe": bulk("Fe"),
    "Ti": bulk("Ti"),
    "NaCl": bulk("NaCl", "rocksalt", a=5.6),
    "GaN": bulk("GaN", "wurtzite", a=3.19, c=5.19),
}


def neighbours(atoms: Atoms) -> np.ndarray:
    """Sorted distances below 6 Å of every atom."""
    first, distances = neighbor_list("id", atoms, 6.0)
    return np.array([sorted(distances[first == i]) for i in range(len(atoms))])


@pytest.mark.parametrize("name", CRYSTALS)
def test_small_cells_are_the_crystal_and_keep_images_apart(name: str) -> None:
    crystal = CRYSTALS[name]
    cell = small_cell(crystal * (2, 1, 1), 16)
    assert 8 <= len(cell) <= 16 and len(cell) % 2 == 0
    assert cell.get_volume() / len(cell) == pytest.approx(crystal.get_volume() / len(crystal))
    around, found = neighbours(crystal), neighbours(cell)
    for row in found:
        assert any(row.shape == other.shape and np.allclose(row, other) for other in around)
    assert separation_a(cell.cell.array) >= 2 * around[0][0] - 1e-6, "twice the bond length"
    assert separation_a(cell.cell.array) > 0.95 * separation_a(small_cell(crystal, 12).cell.array)
    assert np.linalg.det(cell.cell.array) > 0


@pytest.mark.parametrize("name", ["Al", "Fe"])
@pytest.mark.parametrize(("most", "times"), [(27, 3), (8, 2)])
def test_a_metal_is_explored_in_its_primitive_cell_repeated_alike(
    name: str, most: int, times: int
) -> None:
    """So that a mesh with fewer divisions is the very mesh of the primitive cell."""
    crystal = CRYSTALS[name]
    cell = small_cell(crystal, most)
    assert len(cell) == times**3
    whole, small = cell.cell.array, crystal.cell.array
    assert separation_a(whole) == pytest.approx(times * separation_a(small))
    as_often = whole @ np.linalg.inv(small) / times
    assert np.allclose(as_often, np.round(as_often)), "no other lattice of that size"
    assert abs(np.linalg.det(as_often)) == pytest.approx(1.0)


def test_a_large_primitive_cell_is_taken_as_it_is() -> None:
    rng = np.random.default_rng(2)
    sites = rng.random((20, 3))
    atoms = Atoms("Si20", scaled_positions=sites, cell=[7.1, 7.7, 8.3], pbc=True)
    assert len(small_cell(atoms, 16)) == 20


def test_a_vacancy_lacks_one_atom_and_the_seed_says_which() -> None:
    whole = exploring_cell([CRYSTALS["NaCl"]], "crystal", 16)
    found = [exploring_cell([CRYSTALS["NaCl"]], "vacancy", 16, seed=seed) for seed in range(6)]
    assert {len(atoms) for atoms in found} == {15} and len(whole) == 16
    assert {atoms.get_chemical_formula() for atoms in found} == {"Cl7Na8", "Cl8Na7"}
    assert all(np.allclose(atoms.cell, whole.cell) for atoms in found)


def test_strain_changes_the_volume_alone() -> None:
    whole = exploring_cell([CRYSTALS["Si"]], "crystal", 16)
    for strain in (0.03, -0.03):
        for ratio in (1.0, 1.065):
            atoms = exploring_cell(
                [CRYSTALS["Si"]], "crystal", 16, strain=strain, volume_ratio=ratio
            )
            expected = ratio * (1 + strain) * whole.get_volume()
            assert atoms.get_volume() == pytest.approx(expected)
        assert np.allclose(atoms.get_scaled_positions(), whole.get_scaled_positions())


def test_other_phases_come_one_after_the_other() -> None:
    starts = [bulk("Al"), bulk("Al", "bcc", a=3.2), bulk("Al", "hcp", a=2.86)]

    def volume(visit: int, count: int = 3) -> float:
        atoms = exploring_cell(starts[:count], "phase", 16, visit=visit)
        return round(atoms.get_volume() / len(atoms), 4)

    expected = [round(atoms.get_volume() / len(atoms), 4) for atoms in starts]
    assert [volume(visit) for visit in range(3)] == [expected[1], expected[2], expected[1]]
    assert volume(0, count=1) == expected[0], "the first where there is no other"


def test_a_slab_has_a_surface() -> None:
    atoms = exploring_cell([CRYSTALS["Al"]], "slab", 16)
    assert atoms.pbc.all() and len(atoms) <= 32
    crystal = CRYSTALS["Al"]
    assert atoms.get_volume() / len(atoms) > 1.5 * crystal.get_volume()
    counts = np.bincount(neighbor_list("i", atoms, 3.3), minlength=len(atoms))
    assert counts.min() < 12


def test_the_large_cell_is_near_the_size_and_a_cube() -> None:
    atoms = exploring_cell([CRYSTALS["Al"]], "crystal", 16, atoms=256)
    assert 216 <= len(atoms) <= 512
    assert np.ptp(atoms.cell.lengths()) < 1e-6


def test_a_molecule_stays_alone_in_its_box() -> None:
    atoms = exploring_cell([molecule("CH3CH2OH")], "crystal", 9)
    assert len(atoms) == 9 and atoms.cell.lengths().min() > 16


@pytest.mark.parametrize(
    ("crystal", "start", "expected"),
    [
        (CRYSTALS["Si"], "crystal", {"iso"}),
        (CRYSTALS["Al"], "vacancy", {"iso"}),
        (CRYSTALS["Ti"], "crystal", {"aniso", "tri"}),
        (CRYSTALS["Ti"], "melt", {"iso"}),
        (bulk("Sn", "bct", a=5.8, c=3.2), "crystal", {"aniso", "tri"}),
        (Atoms("Si", cell=[[3, 0.3, 0.1], [0, 3.5, 0.4], [0, 0, 4]], pbc=True), "crystal", {"tri"}),
    ],
)
def test_cells_move_like_their_crystal(crystal: Atoms, start: str, expected: set[str]) -> None:
    assert cell_motion(crystal, small_cell(crystal, 16), start) in expected


def test_axes_move_by_themselves_where_they_stand_upright() -> None:
    titanium = CRYSTALS["Ti"]
    assert cell_motion(titanium, titanium * (2, 2, 2), "crystal") == "aniso"
    leaning = titanium.copy()
    leaning.set_cell([[1, 0, 0], [0, 1, 0], [1, 0, 1]] @ titanium.cell.array)
    assert cell_motion(titanium, leaning, "crystal") == "tri"
