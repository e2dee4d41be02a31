"""Fingerprints: equal for equal structures, different for different ones."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.science.fingerprints import (
    Soap,
    atomic_fingerprints,
    distinct,
    structure_fingerprints,
    structure_key,
)


def _distance(a: Atoms, b: Atoms, elements: tuple[str, ...] = ("Si",)) -> float:
    first, second = structure_fingerprints([a, b], elements)
    return float(np.linalg.norm(first - second))


def test_origin_rotation_order_and_supercell_do_not_matter() -> None:
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True)
    atoms.rattle(0.1, seed=1)
    changed = atoms.repeat((1, 2, 1))
    changed.positions += [0.7, 0.1, -3.0]
    changed.wrap()
    changed.rotate(37, (1, 2, 3), rotate_cell=True)
    changed = changed[np.random.default_rng(0).permutation(len(changed))]
    assert _distance(atoms, changed, ("C", "Si")) < 1e-8


def test_distance_grows_with_disorder() -> None:
    perfect = bulk("Si", cubic=True)
    distances = []
    for sigma in (0.02, 0.1, 0.3):
        moved = perfect.copy()
        moved.rattle(sigma, seed=2)
        distances.append(_distance(perfect, moved))
    assert 1e-4 < distances[0] < distances[1] < distances[2]


def test_elements_are_told_apart_also_when_compressed() -> None:
    cell = bulk("SiC", "zincblende", a=4.36)
    swapped = cell.copy()
    swapped.symbols = "GeC"
    for elements in (("C", "Ge", "Si"), ("C", "Ge", "N", "O", "Si")):
        assert _distance(cell, swapped, elements) > 0.1


def test_compression_keeps_the_length_linear_in_the_elements() -> None:
    cell = bulk("Si")
    lengths = [
        structure_fingerprints([cell], names).shape[1]
        for names in (("C", "N", "Si"), (*"CNOPS", "Si"))
    ]
    assert lengths[1] == 2 * lengths[0]


def test_atomic_vectors_are_units_and_their_mean_is_the_structure() -> None:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.2, seed=3)
    per_atom = atomic_fingerprints([atoms], ["Si"])[0]
    assert per_atom.shape[0] == 8
    assert np.linalg.norm(per_atom, axis=1) == pytest.approx(1.0)
    assert structure_fingerprints([atoms], ["Si"])[0] == pytest.approx(per_atom.mean(axis=0))


def test_the_atom_beside_a_vacancy_is_the_odd_one_out() -> None:
    atoms = bulk("Si", cubic=True) * (2, 2, 2)
    hole = atoms.positions[0].copy()
    del atoms[0]
    vectors = atomic_fingerprints([atoms], ["Si"])[0]
    reference = atomic_fingerprints([bulk("Si")], ["Si"])[0][0]
    shift = np.linalg.norm(vectors - reference, axis=1)
    ghost = Atoms("He", positions=[hole], cell=atoms.cell, pbc=True)
    distances = (atoms + ghost).get_distances(-1, range(len(atoms)), mic=True)
    assert set(np.argsort(shift)[-4:]) == set(np.argsort(distances)[:4])


def test_distinct_keeps_the_first_of_each() -> None:
    rows = np.array([[0.0, 0], [1, 0], [0, 1e-6], [1, 1], [1, 1e-6]])
    assert distinct(rows) == [0, 1, 3]
    assert distinct(np.zeros((0, 3))) == []
    assert structure_fingerprints([], ["Si"]).shape == (0, 0)


def test_folded_vectors_are_short_and_keep_their_distances() -> None:
    rng = np.random.default_rng(1)
    cells = []
    for sigma in (0.02, 0.05, 0.1, 0.2, 0.3):
        cell = bulk("SiC", "zincblende", a=4.36, cubic=True)
        cell.positions += rng.normal(scale=sigma, size=cell.positions.shape)
        cells.append(cell)
    names = ("C", "Ge", "N", "Si")
    full, short = Soap(names), Soap(names, max_columns=256)
    assert (full.columns, short.columns) == (4 * 448, 256)
    assert full.parameters != short.parameters
    exact = np.array([full(cell).mean(axis=0) for cell in cells])
    folded = np.array([short(cell).mean(axis=0) for cell in cells])
    pairs = np.triu_indices(5, 1)
    distances = [
        np.linalg.norm(rows[pairs[0]] - rows[pairs[1]], axis=1) for rows in (exact, folded)
    ]
    # 1/sqrt(512) = 4.4 % is one standard deviation
    assert distances[1] / distances[0] == pytest.approx(np.ones(10), abs=0.15)
    assert Soap(("C", "Si"), max_columns=1024)(cells[0]) == pytest.approx(
        Soap(("C", "Si"))(cells[0])
    )


def test_the_key_is_that_of_the_structure_as_a_text_file_has_it() -> None:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=1)
    written = atoms.copy()
    written.positions = np.round(written.positions, 8)
    written.info["comment"] = "from a file"
    assert structure_key(atoms) == structure_key(written)
    keys = {structure_key(atoms)}
    for change in ("positions", "cell", "pbc", "numbers"):
        other = atoms.copy()
        if change == "positions":
            other.positions[3, 1] += 1e-5
        elif change == "cell":
            other.cell[0, 0] += 1e-5
        elif change == "pbc":
            other.pbc = (True, True, False)
        else:
            other.numbers[2] = 6
        keys.add(structure_key(other))
    assert len(keys) == 5
