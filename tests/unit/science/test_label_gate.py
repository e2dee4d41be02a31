"""Labels that the others contradict: left out with a reason; units that do not fit: said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.science.dataset import group_split, never_held_out
from mlip_autopipec.science.label_gate import judge

GPA = 160.21766


def labelled(atoms: Atoms, name: str, energy: float | None = None) -> LabelledStructure:
    atoms = atoms.copy()
    atoms.calc = EMT()
    label = Label(
        energy_ev=float(atoms.get_potential_energy()) if energy is None else energy,
        forces=atoms.get_forces(),
        stress=atoms.get_stress() if atoms.pbc.all() else None,
        method_hash="file",
        scf_steps=0,
        wall_s=0.0,
    )
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return LabelledStructure(name, bare, label, Provenance("file", name))


def copper(number: int = 30, repeat: int = 1) -> list[LabelledStructure]:
    """Strained and rattled cells of copper, labelled by EMT."""
    rng = np.random.default_rng(3)
    items = []
    for index in range(number):
        atoms = bulk("Cu", cubic=True) * (repeat, 1, 1)
        strain = np.eye(3) + rng.normal(scale=0.015, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.rattle(0.04 + 0.004 * index, seed=index)
        items.append(labelled(atoms, f"f:{index}"))
    return items


ITEMS = copper()


def changed(item: LabelledStructure, **values: object) -> LabelledStructure:
    return replace(item, label=replace(item.label, **values))


def test_good_labels_pass_as_they_are() -> None:
    found = judge(ITEMS)
    assert (found.leave, found.notes, found.doubt, found.without_stress) == ({}, (), None, False)
    hot = [*ITEMS, labelled(bulk("Cu", a=2.9, cubic=True), "pressed"), labelled(bulk("Cu"), "calm")]
    assert not judge(hot).leave  # far above all others, and the lowest of all: both physical


@pytest.mark.parametrize("off_ev", [-30.0, -2.0, 2.0, 30.0])
def test_one_wrong_energy_is_found_and_left_out(off_ev: float) -> None:
    items = list(ITEMS)
    items[3] = changed(items[3], energy_ev=items[3].label.energy_ev + off_ev)
    found = judge(items)
    assert list(found.leave) == [3]
    assert ("below" if off_ev < 0 else "above") in found.leave[3]
    kept = judge(items, keep=True)
    assert not kept.leave and "[3]" in kept.notes[0]


def test_a_wrong_energy_among_few_is_found_where_it_is_gross() -> None:
    items = ITEMS[:6]
    items[2] = changed(items[2], energy_ev=items[2].label.energy_ev - 30)
    assert list(judge(items).leave) == [2]


def test_free_atoms_are_no_outliers() -> None:
    free = labelled(Atoms("Cu", cell=[12] * 3, pbc=False), "free")
    assert not judge([free, *ITEMS]).leave


def test_copies_count_once_and_two_labels_of_one_geometry_not_at_all() -> None:
    items = [*ITEMS[:5], ITEMS[2], changed(ITEMS[4], energy_ev=ITEMS[4].label.energy_ev + 1)]
    found = judge(items)
    assert found.leave == {
        5: "copies of an earlier structure",
        4: "one geometry with labels that differ",
        6: "one geometry with labels that differ",
    }
    assert set(judge(items, keep=True).leave) == {5}


def test_an_element_that_hardly_occurs_is_told() -> None:
    mixed = bulk("Cu", cubic=True)
    mixed.symbols[0] = "Au"
    notes = judge([*ITEMS, labelled(mixed, "gold")]).notes
    assert notes == ("Au is in 1 of 31 structures: hardly anything is known of it",)


@pytest.mark.parametrize(
    ("energy", "force", "said"),
    [
        (1 / 13.6057, 1.0, "energies seem to be in Ry"),
        (1 / 27.2114, 1.0, "in hartree"),
        (23.0605, 1.0, "kcal/mol"),
        (1.0, -1.0, "opposite sign"),
        (1.0, 1 / 25.711, "forces seem to be in Ry/bohr"),
        (1.0, 0.3, "do not fit each other"),
        (1 / 4, 1.0, "of an atom"),
    ],
)
def test_units_that_do_not_fit_are_said(energy: float, force: float, said: str) -> None:
    items = [
        changed(
            item,
            energy_ev=item.label.energy_ev * energy,
            forces=np.asarray(item.label.forces) * force,
            stress=np.asarray(item.label.stress) * energy,
        )
        for item in ITEMS
    ]
    assert said in str(judge(items).doubt)


def test_energies_of_an_atom_show_in_cells_of_different_size() -> None:
    items = [
        changed(item, energy_ev=item.label.energy_ev / len(item.atoms) - 4, stress=None)
        for item in (*ITEMS[:4], *copper(4, repeat=3))
    ]
    assert "of an atom" in str(judge(items).doubt)


@pytest.mark.parametrize(
    ("factor", "said"), [(-1.0, "opposite sign"), (GPA, "in GPa"), (10 * GPA, "in kbar")]
)
def test_a_stress_of_the_wrong_sign_or_unit_is_not_learned(factor: float, said: str) -> None:
    items = []
    for index in range(24):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * (0.97 + 0.004 * index), scale_atoms=True)
        atoms.rattle(0.02, seed=index)
        item = labelled(atoms, f"f:{index}")
        items.append(changed(item, stress=np.asarray(item.label.stress) * factor))
    found = judge(items)
    assert found.without_stress and said in found.notes[0] and found.doubt is None


def test_free_atoms_and_the_only_structure_of_an_element_are_never_held_out() -> None:
    free = [labelled(Atoms(s, cell=[12] * 3, pbc=False), f"free {s}") for s in ("Cu", "Au")]
    mixed = bulk("Cu", cubic=True)
    mixed.symbols[0] = "Ag"
    silver = labelled(mixed, "silver")
    items = [*free, silver, *ITEMS]
    pinned = never_held_out(items)
    assert {"free Cu", "free Au", "silver"} <= pinned
    for seed in range(20):
        train, test = group_split(items, 0.3, seed, train_only=pinned)
        assert test and {"free Cu", "free Au", "silver"} <= {item.name for item in train}
