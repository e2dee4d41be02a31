"""Structures that nobody asks DFT for."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mlip_autopipec.science.contacts import SCREEN_LIMIT, closest_contact
from mlip_autopipec.science.generation.high_energy import high_energy_structures, loose_heaps

SALT = bulk("NaCl", "rocksalt", a=5.64)
SILICON = bulk("Si")


def made(*starts: Atoms, count: int = 30) -> list[Atoms]:
    return high_energy_structures(starts, count, np.random.default_rng(1))


def test_no_pair_is_nearer_than_the_screen_allows_and_cells_are_small() -> None:
    structures = made(SILICON, SALT)
    assert len(structures) == 30
    assert all(closest_contact(atoms) >= SCREEN_LIMIT for atoms in structures)
    assert all(atoms.pbc.all() and len(atoms) <= 8 for atoms in structures)


def test_they_reach_far_from_the_crystal_in_volume_and_order() -> None:
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in made(SILICON)])
    per_atom = SILICON.get_volume() / 2
    assert volumes.min() < 0.75 * per_atom
    assert volumes.max() > 1.2 * per_atom


def test_heaps_of_a_compound_keep_its_formula() -> None:
    whole = [atoms.symbols for atoms in made(SALT) if len(atoms) % 2 == 0]  # no vacancy in them
    assert len(whole) > 10
    assert all(symbols.count("Na") == symbols.count("Cl") for symbols in whole)


def test_a_molecule_stays_one_molecule_in_no_cell() -> None:
    water = molecule("H2O")
    structures = made(water)
    assert all(not atoms.pbc.any() and len(atoms) == 3 for atoms in structures)
    assert len({round(float(atoms.get_distance(0, 1)), 3) for atoms in structures}) > 20


def test_the_seed_decides() -> None:
    for one, other in zip(made(SILICON), made(SILICON), strict=True):
        assert one == other


@pytest.mark.parametrize("starts", [(), (SILICON,)])
def test_nothing_comes_of_nothing(starts: tuple[Atoms, ...]) -> None:
    assert made(*starts, count=0 if starts else 5) == []


def test_loose_heaps_are_about_as_dense_as_their_start_and_no_atom_is_near_another() -> None:
    heaps = loose_heaps([SILICON, molecule("H2O")], 12, np.random.default_rng(2))
    assert len(heaps) == 12
    per_atom = SILICON.get_volume() / 2
    for heap in heaps:
        assert 8 <= len(heap) <= 12 and set(heap.symbols) == {"Si"} and heap.pbc.all()
        assert 0.79 < heap.get_volume() / len(heap) / per_atom < 1.09
        assert closest_contact(heap) > 0.85
    assert loose_heaps([molecule("H2O")], 3, np.random.default_rng(2)) == []


def test_loose_heaps_of_a_compound_keep_its_formula() -> None:
    heaps = loose_heaps([SALT], 5, np.random.default_rng(2))
    assert all(heap.symbols.count("Na") == heap.symbols.count("Cl") > 3 for heap in heaps)
