"""The reference of energies and the short range."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.science.fingerprints import distinct, structure_fingerprints
from mlip_autopipec.science.generation import atoms_and_dimers
from mlip_autopipec.science.generation.context import Context
from mlip_autopipec.science.screening import Limits, screen


def made(elements: str, count: int, max_atoms: int = 16) -> list[Candidate]:
    fractions = dict.fromkeys(elements.split(), 1.0 / len(elements.split()))
    context = Context(fractions, (), None, (300.0,), max_atoms)
    return atoms_and_dimers.generate(context, count, np.random.default_rng(0))


def ratio(item: Candidate) -> float:
    radii = covalent_radii[item.atoms.numbers].sum()
    return float(item.atoms.get_distance(0, 1) / radii)


def test_an_element_is_its_atom_and_four_dimers_from_the_wall_to_the_end_of_the_bond() -> None:
    atom, *dimers = made("Si", 5)
    assert len(atom.atoms) == 1 and len(dimers) == 4
    distances = [ratio(item) for item in dimers]
    assert 0.75 < distances[0] < 0.9 and 1.5 < distances[-1] < 1.7
    assert all(one < other for one, other in pairwise(distances))
    assert any(0.95 < distance < 1.1 for distance in distances)  # near the bond itself


def test_every_atom_and_equally_many_dimers_of_every_pair() -> None:
    offered = made("Al Cu Ni", 3 + 2 * 6)
    kinds = Counter(str(item.atoms.symbols) for item in offered)
    assert {kinds[symbol] for symbol in ("Al", "Cu", "Ni")} == {1}
    assert sorted(kinds.values()) == [1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert len(made("Al Cu Ni", 3 + 2 * 6 + 5)) == 15  # no pair has more than another
    assert [len(item.atoms) for item in made("Al Cu", 2)] == [1, 1]  # the atoms come first
    assert all(len(item.atoms) == 1 for item in made("Al Cu", 11, max_atoms=1))


@pytest.mark.parametrize("elements", ["H", "Si", "Na Cl", "Cs", "H C O"])
def test_they_stand_alone_in_vacuum_and_pass_screen_and_selection(elements: str) -> None:
    offered = made(elements, 100)
    for item in offered:
        assert not item.atoms.pbc.any() and item.forced
        inside = item.atoms.positions
        lower, upper = inside.min(axis=0), item.atoms.cell.lengths() - inside.max(axis=0)
        assert min(lower.min(), upper.min()) > 4.9
        if len(item.atoms) == 2:  # within reach of a short-range potential
            assert item.atoms.get_distance(0, 1) < 5.0
    assert screen(offered, None, Limits()).rejected == []
    assert len({item.provenance.group for item in offered}) == len(offered)
    fingerprints = structure_fingerprints(
        [item.atoms for item in offered], tuple(sorted(elements.split()))
    )
    assert len(distinct(fingerprints)) == len(offered), "one of them would pass for another"


def test_the_largest_atoms_are_no_farther_apart_than_a_potential_reaches() -> None:
    far = made("Cs", 5)[-1]
    radius = covalent_radii[atomic_numbers["Cs"]]
    assert far.atoms.get_distance(0, 1) < 1.6 * 2 * radius
    assert far.provenance.parameters["contact"] == pytest.approx(ratio(far), abs=1e-3)
