"""Solid solutions: exact compositions, correlations against those of the random alloy, sublattices
that stay apart.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science import generation
from mlip_autopipec.science.generation.alloying import (
    Correlations,
    compositions,
    mixing_groups,
    parents,
)
from mlip_autopipec.science.generation.context import Context
from mlip_autopipec.science.generation.sqs import quasirandom


def _context(start: Atoms, fractions: dict[str, float], max_atoms: int = 32) -> Context:
    return Context(
        fractions, (Candidate(start, Provenance("start", "s")),), None, (300.0,), max_atoms, seed=3
    )


ALUMINIUM = bulk("Al", a=4.05)


def _correlations(atoms: Atoms) -> Correlations:
    return Correlations(atoms, np.arange(len(atoms)))


def test_correlations_of_known_orderings() -> None:
    """L1_0 in fcc: a third of the first neighbours are like, all second ones. B2 in bcc: none, then
    all.
    """
    fcc = bulk("Al", a=4.0, cubic=True)
    layers = np.round(fcc.positions[:, 2] / 2.0).astype(int) % 2
    found = _correlations(fcc).pair_probabilities(layers, 2)
    assert found[0] == pytest.approx(np.array([[1, 2], [2, 1]]) / 6)
    assert found[1] == pytest.approx(np.eye(2) / 2)
    # x_a x_b = 1/4: off by 1/3 - 1/4 and by 1/2 - 1/4.
    assert _correlations(fcc).pair_residuals(layers, 2)[:2] == pytest.approx([1 / 12, 1 / 4])
    bcc = bulk("Fe", a=2.9, cubic=True)
    ordered = _correlations(bcc)
    assert ordered.pair_probabilities(np.array([0, 1]), 2)[0] == pytest.approx(
        np.array([[0, 1], [1, 0]]) / 2
    )
    assert ordered.radii_a == pytest.approx([2.9 * 0.75**0.5, 2.9, 2.9 * 2**0.5], abs=1e-3)
    # A centre's two first neighbours are like each other and unlike the centre: P(a; b, b) = 1/2,
    # not 1/8.
    assert ordered.triplet_residual(np.array([0, 1]), 2) == pytest.approx(3 / 8)


def test_correlations_of_a_large_random_alloy_vanish() -> None:
    cell = bulk("Al", a=4.0, cubic=True) * (6, 6, 6)
    kinds = np.random.default_rng(0).permutation(
        np.arange(len(cell)) % 4 // 3
    )  # three quarters, one quarter
    found = _correlations(cell)
    assert found.pair_residuals(kinds, 2).max() < 0.01
    assert found.triplet_residual(kinds, 2) < 0.02


def test_sites_without_shells_are_no_lattice_for_alloys() -> None:
    """In a glass no distance is free of pairs, so a search for the gap between two shells would
    never end.
    """
    glass = bulk("Al", a=4.05, cubic=True) * (2, 2, 1)
    glass.positions += np.random.default_rng(0).normal(scale=0.6, size=glass.positions.shape)
    assert len(_correlations(glass).radii_a) < 3
    # One shell that stands apart, and a continuum beyond it.
    dumbbells = Atoms("Al16", glass.get_scaled_positions(), cell=glass.cell * 1.6, pbc=True)
    dumbbells.set_scaled_positions(glass.get_scaled_positions())
    dumbbells += Atoms("Al16", dumbbells.positions + np.array([0.0, 0.0, 0.9]))
    found = _correlations(dumbbells)
    assert found.radii_a and found.radii_a[0] == pytest.approx(0.9, abs=0.1)
    context = _context(ALUMINIUM, {"Al": 0.5, "Cu": 0.5})
    starts = (Candidate(glass, Provenance("start", "glass")), *context.starts)
    served = parents(replace(context, starts=starts), [16])
    assert [parent.name for parent in served] == ["s"]
    (alone,) = parents(replace(context, starts=starts[:1]), [16])
    symbols, told = quasirandom(
        alone, alone.sublattices[0], {"Al": 8, "Cu": 8}, seed=1, iterations=500
    )
    assert (
        Counter(symbols) == {"Al": 8, "Cu": 8}
        and len(told["pair_residual"]) == len(told["shells_a"]) < 3
    )


def test_a_quasirandom_binary_is_exactly_random_in_its_first_shells() -> None:
    parent = parents(_context(ALUMINIUM, {"Al": 0.5, "Cu": 0.5}), [32])[0]
    held = parent.sublattices[0]
    symbols, found = quasirandom(parent, held, {"Al": 16, "Cu": 16}, seed=1)
    assert Counter(symbols) == {"Al": 16, "Cu": 16}
    assert found["pair_residual"][:2] == pytest.approx([0, 0], abs=1e-9)
    # What is reported is what is there: counted again with all periodic images.
    kinds = np.array([symbol == "Cu" for symbol in symbols], dtype=int)
    probabilities = held.correlations.pair_probabilities(kinds, 2)
    assert probabilities[0] == pytest.approx(np.full((2, 2), 0.25))
    spins = 2 * kinds - 1
    distances = (parent.atoms * (3, 3, 3)).get_all_distances()[13 * 32 : 14 * 32]
    first = np.abs(distances - 4.05 / 2**0.5) < 0.1
    assert first.sum() == 32 * 12
    assert (spins[:, None] * np.tile(spins, 27)[None])[first].mean() == pytest.approx(0, abs=1e-9)
    assert quasirandom(parent, held, {"Al": 16, "Cu": 16}, seed=1) == (symbols, found)


def test_quasirandom_cells_beat_chance_up_to_quaternaries() -> None:
    context = _context(
        bulk("Pd", a=3.9), {"Ag": 0.25, "Cu": 0.25, "Ni": 0.25, "Pd": 0.25}, max_atoms=16
    )
    for fractions in ({"Ag": 0.4, "Pd": 0.6}, {"Ag": 0.3, "Cu": 0.3, "Pd": 0.4}, context.fractions):
        now = Context(fractions, context.starts, None, (300.0,), 16, seed=3)
        residuals = {}
        for name in ("sqs", "random_substitution"):
            made = generation.strategy(name)(
                now, 6, np.random.default_rng(0), max_atoms=16, copies=1
            )
            large = [
                item.provenance.parameters["pair_residual"]
                for item in made
                if len(item.atoms) == 16
            ]
            residuals[name] = np.mean([sum(shells[:2]) for shells in large])
        assert residuals["sqs"] < 0.4 * residuals["random_substitution"]
        assert residuals["sqs"] < 0.04


def test_the_grid_of_compositions_surrounds_the_asked_one() -> None:
    found = compositions({"Al": 0.75, "Cu": 0.25}, ("Al", "Cu"), 16)
    assert found[0] == {"Al": 12, "Cu": 4}
    assert {row["Cu"] for row in found} == {4, 2, 6, 0, 8}
    assert all(sum(row.values()) == 16 for row in found)
    dilute = compositions({"Al": 0.98, "Cu": 0.02}, ("Al", "Cu"), 8)
    assert dilute[0] == {"Al": 7, "Cu": 1}  # a cell without the solute would say nothing of it
    assert {"Al": 8, "Cu": 0} in dilute
    assert compositions({"Al": 1.0}, ("Al",), 4) == [{"Al": 4}]
    third = compositions({"Al": 1 / 3, "Cu": 1 / 3, "Ni": 1 / 3}, ("Al", "Cu", "Ni"), 16)
    assert sorted(third[0].values()) == [5, 5, 6]


def test_strategies_walk_over_sizes_and_compositions() -> None:
    context = _context(ALUMINIUM, {"Al": 0.75, "Cu": 0.25})
    made = generation.strategy("random_substitution")(
        context, 20, np.random.default_rng(0), copies=2
    )
    assert {len(item.atoms) for item in made} == {8, 16}
    assert len({item.provenance.group for item in made}) == 10
    counts = [tuple(sorted(item.provenance.parameters["counts"].items())) for item in made]
    assert len(set(counts)) == 10
    for item in made:
        assert item.provenance.parameters["counts"] == dict(
            Counter(item.atoms.get_chemical_symbols())
        )


def test_anions_and_metals_keep_to_their_sublattices() -> None:
    assert mixing_groups(["As", "Ga", "In"]) == [("Ga", "In"), ("As",)]
    assert mixing_groups(["Si", "Ge"]) == [("Ge", "Si")]
    start = bulk("GaAs", "zincblende", a=5.65)
    made = generation.strategy("sqs")(
        _context(start, {"Ga": 0.25, "In": 0.25, "As": 0.5}),
        4,
        np.random.default_rng(0),
        copies=1,
        max_atoms=16,
    )
    assert made
    for item in made:
        atoms = item.atoms
        assert (atoms.symbols == "As").sum() == len(atoms) / 2
        neighbours = np.argsort(atoms.get_all_distances(mic=True), axis=1)[:, 1:3]
        for index, nearest in enumerate(neighbours):
            assert all(
                (atoms.symbols[other] == "As") != (atoms.symbols[index] == "As")
                for other in nearest
            )
    # Half the cations do not fit where three quarters of the sites are theirs.
    assert parents(_context(start, {"Ga": 0.5, "In": 0.25, "As": 0.25}), [16]) == []


def test_the_lattice_is_found_under_a_relaxed_decoration() -> None:
    cell = bulk("Al", a=4.0, cubic=True) * (2, 2, 1)
    cell.symbols[[1, 4, 7, 10]] = "Cu"
    cell.rattle(0.03, seed=1)
    found = parents(_context(cell, {"Al": 0.75, "Cu": 0.25}), [8, 16])
    assert [len(parent.atoms) for parent in found] == [8, 16]
    assert found[0].atoms.get_volume() / 8 == pytest.approx(16, rel=0.03)
    assert found[1].atoms.get_all_distances(mic=True)[0][1:].min() == pytest.approx(
        4 / 2**0.5, rel=0.03
    )


def test_volumes_follow_vegard_and_then_the_surrogate() -> None:
    context = _context(bulk("Au", a=4.08), {"Au": 0.5, "Cu": 0.5})
    made = generation.strategy("random_substitution")(
        context, 8, np.random.default_rng(0), copies=1, max_atoms=8
    )
    for item in made:
        share = item.provenance.parameters["counts"].get("Cu", 0) / len(item.atoms)
        edge = (4 * item.atoms.get_volume() / len(item.atoms)) ** (1 / 3)
        assert edge == pytest.approx(4.08 - share * (4.08 - 3.61), rel=5e-3)
    relaxed = Context(context.fractions, context.starts, EMT(), (300.0,), 32, seed=3)
    cell = generation.strategy("sqs")(relaxed, 1, np.random.default_rng(0), max_atoms=8)[0].atoms
    cell.calc = EMT()
    assert abs(cell.get_stress()[:3].mean()) < 0.02  # eV/Å^3; unrelaxed EMT gives 0.05


def test_a_single_atom_alone_is_replaced_where_elements_mix() -> None:
    context = _context(ALUMINIUM, {"Al": 0.9, "Cu": 0.1})
    made = generation.strategy("substitution")(context, 8, np.random.default_rng(0), copies=1)
    solutes = [(item.atoms.symbols == "Cu").sum() for item in made]
    assert solutes == [1, 2] * 4
    for item in made[1::2]:
        copper = np.flatnonzero(item.atoms.symbols == "Cu")
        assert item.atoms.get_distance(*copper, mic=True) < 1.2 * 4.05 / 2**0.5  # neighbours


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqsgenerator", None)
    with pytest.raises(MissingProgramError, match=r"sqsgenerator.*structures"):
        generation.strategy("sqs")(
            _context(ALUMINIUM, {"Al": 0.5, "Cu": 0.5}), 2, np.random.default_rng(0)
        )
