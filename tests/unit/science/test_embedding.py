"""Periodic embedding: what is cut out must be the crystal, and its core must not notice the cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from embedding_examples import CRYSTALS, REPEATS, Graded, cut_one, one_hot

from mlip_autopipec.science.cutout_rules import MIN_CUTOUT_ATOMS
from mlip_autopipec.science.embedding import Skipped, cut, find_crystal, primitive_cell
from mlip_autopipec.science.embedding.boxes import merge_overlaps
from mlip_autopipec.science.embedding.pieces import shortest_bond
from mlip_autopipec.science.embedding.seam import relax_seam
from mlip_autopipec.science.embedding.supercells import cosets, shortest_vectors
from mlip_autopipec.science.lattices import hermite_forms

SHEAR = np.array([[1.03, 0.02, 0.0], [0.0, 0.98, 0.03], [0.01, 0.0, 1.01]])


class Shells:
    """Neighbour vectors with species, in an order that does not depend on indices."""

    def __init__(self, atoms: Atoms, radius: float) -> None:
        self.numbers = atoms.numbers
        self.i, self.j, self.vectors = neighbor_list("ijD", atoms, radius)

    def of(self, atom: int) -> np.ndarray:
        mine = self.i == atom
        rows = np.column_stack([self.vectors[mine].round(4), self.numbers[self.j[mine]]]) + 0.0
        return rows[np.lexsort(rows.round(2).T)]


def shells(atoms: Atoms, atom: int, radius: float) -> np.ndarray:
    return Shells(atoms, radius).of(atom)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("deformation", [np.eye(3), SHEAR], ids=["ideal", "sheared"])
def test_perfect_crystal_stays_perfect(name: str, deformation: np.ndarray) -> None:
    """Every atom of the cutout of a (strained) crystal has its neighbours of the crystal, far
    beyond the cell.
    """
    reference = CRYSTALS[name]
    parent = reference * ((REPEATS[name],) * 3)
    parent.set_cell(parent.cell.array @ deformation, scale_atoms=True)
    parent.positions += [0.3, -0.2, 0.7]
    cutout = cut_one(parent, len(parent) // 3, primitive=reference)
    assert cutout.kind == "crystal"
    assert len(cutout.atoms) < len(parent)
    assert cutout.atoms.get_volume() / len(cutout.atoms) == pytest.approx(
        parent.get_volume() / len(parent)
    )
    here, there = Shells(cutout.atoms, 6.1), Shells(parent, 6.1)
    for atom in range(0, len(cutout.atoms), 3):
        np.testing.assert_allclose(here.of(atom), there.of(cutout.parent_indices[atom]), atol=3e-4)


def test_lattice_vectors_are_integer_combinations_of_the_parents_primitive_vectors() -> None:
    parent = CRYSTALS["diamond"] * (2, 2, 2)
    parent.set_cell(parent.cell.array @ SHEAR, scale_atoms=True)
    cutout = cut_one(parent, 5, primitive=CRYSTALS["diamond"])
    primitive = primitive_cell(CRYSTALS["diamond"]).cell.array @ SHEAR
    multiple = cutout.atoms.cell.array @ np.linalg.inv(primitive)
    np.testing.assert_allclose(multiple, np.round(multiple), atol=1e-6)
    assert round(abs(np.linalg.det(multiple))) == 16


def test_32_atoms_of_silicon_make_the_bcc_superlattice() -> None:
    """Of all 16-fold sublattices of fcc the bcc one with edge 2a keeps images farthest apart:
    sqrt(3) a.
    """
    parent = CRYSTALS["diamond"] * (2, 2, 2)
    cutout = cut_one(parent, 0, primitive=CRYSTALS["diamond"])
    assert len(cutout.atoms) == 32
    assert cutout.checks["image_distance_a"] == pytest.approx(np.sqrt(3) * 5.47)


def test_smallest_sufficient_cell_is_taken() -> None:
    parent = CRYSTALS["diamond"] * (2, 2, 2)
    small = cut_one(
        parent, 0, primitive=CRYSTALS["diamond"], core_radius_a=2.5, buffer_a=1.2, environment_a=2.6
    )
    assert len(small.atoms) == 16
    assert small.checks["image_distance_a"] >= 2 * (2.5 + 1.2)


def test_primitive_cell_keeps_orientation_and_species() -> None:
    assert len(primitive_cell(CRYSTALS["diamond"])) == 2
    assert len(primitive_cell(CRYSTALS["fcc"])) == 1
    assert len(primitive_cell(CRYSTALS["hcp"])) == 2
    salt = primitive_cell(CRYSTALS["rocksalt"] * (1, 2, 1))
    assert sorted(salt.symbols) == ["Cl", "Na"]
    assert salt.get_volume() == pytest.approx(5.64**3 / 4)


@pytest.mark.parametrize("name", ["diamond", "hcp", "rocksalt"])
def test_thermal_displacements_do_not_lose_or_double_atoms(name: str) -> None:
    """The wrong merging of seam atoms loses one: each site of the cutout must hold one atom,
    whatever the seam says.
    """
    reference = CRYSTALS[name]
    for seed in range(4):
        parent = reference * ((REPEATS[name],) * 3)
        parent.rattle(0.12, seed=seed)
        cutout = cut_one(parent, 7 * seed, primitive=reference, environment_a=2.4)
        perfect = cut_one(
            reference * ((REPEATS[name],) * 3), 7 * seed, primitive=reference, environment_a=2.4
        )
        assert len(cutout.atoms) == len(perfect.atoms)
        assert sorted(cutout.atoms.numbers) == sorted(perfect.atoms.numbers)
        assert len(set(cutout.parent_indices)) == len(cutout.atoms)


def test_core_and_environment_fit_into_half_the_distance_of_the_images() -> None:
    """Atoms so near to the centre have the parent's neighbours atom for atom; the core ends where
    they would see an image, however large a core was asked for.
    """
    reference = CRYSTALS["diamond"]
    parent = reference * (3, 3, 3)
    parent.rattle(0.1, seed=3)
    cutout = cut_one(
        parent, 20, primitive=reference, core_radius_a=5.0, buffer_a=2.0, max_atoms=96, min_atoms=96
    )
    assert cutout.kind == "crystal"
    assert cutout.parent_indices[cutout.centre] == 20
    far = cutout.atoms.get_distances(cutout.centre, range(96), mic=True)
    fits = cutout.checks["image_distance_a"] / 2 - 3.0
    assert 2.6 < fits < 5.0
    assert set(cutout.core) == set(np.flatnonzero(far <= fits))
    inside, outside = Shells(cutout.atoms, 3.0), Shells(parent, 3.0)
    for atom in cutout.core:
        np.testing.assert_allclose(
            inside.of(atom), outside.of(cutout.parent_indices[atom]), atol=0.05
        )
    alone = cut_one(parent, 20, primitive=reference)  # of 32 atoms
    assert alone.core == (alone.centre,)


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_cutout_has_96_atoms_or_is_not_made(name: str) -> None:
    reference = CRYSTALS[name]
    parent = reference * ((REPEATS[name] + 2,) * 3)
    assert len(parent) > 96
    sizes: dict[str, Any] = {"primitive": reference, "min_atoms": MIN_CUTOUT_ATOMS}
    small = {"core_radius_a": 1.0, "buffer_a": 1.0, "environment_a": 1.0}
    enough = cut_one(parent, 0, max_atoms=128, **sizes, **small)
    assert 96 <= len(enough.atoms) <= 128
    refused = cut(
        parent,
        one_hot(len(parent), 0),
        gamma_select=2.0,
        max_atoms=95,
        core_radius_a=3.0,
        buffer_a=1.6,
        environment_a=3.0,
        primitive=reference,
    )
    assert isinstance(refused[0], Skipped)
    assert len(refused) == 1
    assert "labelled in small whole cells instead" in refused[0].reason
    assert "DFT affords 95" in refused[0].reason


def test_environment_that_does_not_fit_is_refused_with_the_radius_that_does() -> None:
    reference = CRYSTALS["diamond"]
    parent = reference * (2, 2, 2)
    parent.rattle(0.05, seed=3)
    found = cut(
        parent,
        one_hot(64, 4),
        gamma_select=2.0,
        max_atoms=32,
        core_radius_a=3.0,
        buffer_a=1.6,
        environment_a=6.0,
        primitive=reference,
        min_atoms=1,
    )
    assert isinstance(found[0], Skipped)
    assert "only out to 5." in found[0].reason  # between the third shell (4.5 Å) and the sixth


def test_permutation_and_rotation_do_not_matter() -> None:
    reference = CRYSTALS["diamond"]
    parent = reference * (2, 2, 2)
    parent.rattle(0.08, seed=1)
    plain = cut_one(parent, 11, primitive=reference)
    order = np.random.default_rng(0).permutation(64)
    shuffled = cut_one(parent[order], int(np.flatnonzero(order == 11)[0]), primitive=reference)
    assert sorted(order[list(shuffled.parent_indices)]) == sorted(plain.parent_indices)
    assert {order[shuffled.parent_indices[i]] for i in shuffled.core} == {
        plain.parent_indices[i] for i in plain.core
    }
    turned = parent.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    rotated = cut_one(turned, 11, primitive=reference)
    assert rotated.kind == "crystal"
    assert rotated.checks["displacement_rms_a"] == pytest.approx(
        plain.checks["displacement_rms_a"], abs=1e-6
    )
    assert {rotated.parent_indices[i] for i in rotated.core} == {
        plain.parent_indices[i] for i in plain.core
    }


def test_vacancy_and_interstitial_survive_the_cut() -> None:
    reference = CRYSTALS["fcc"]
    parent = reference * (3, 3, 3)
    parent.rattle(0.03, seed=2)
    neighbour = int(np.argsort(parent.get_all_distances(mic=True)[0])[1])
    gone = parent.copy()
    del gone[0]
    cutout = cut_one(gone, neighbour - 1, primitive=reference, environment_a=3.5)
    whole = cut_one(parent, neighbour, primitive=reference, environment_a=3.5)
    assert len(cutout.atoms) == len(whole.atoms) - 1
    assert len(shells(cutout.atoms, cutout.centre, 3.5)) == 11
    more = parent.copy()
    more.append("Al")
    more.positions[-1] = parent.positions[neighbour] + [2.02, 0, 0]
    crowded = cut_one(more, neighbour, primitive=reference, environment_a=3.5)
    assert len(crowded.atoms) == len(whole.atoms) + 1


def test_small_parent_is_labelled_whole_without_a_mask() -> None:
    parent = CRYSTALS["diamond"] * (2, 2, 1)
    found = cut_one(parent, 3, primitive=CRYSTALS["diamond"])
    assert found.kind == "whole"
    assert not found.masked
    np.testing.assert_array_equal(found.atoms.positions, parent.positions)


def test_neighbouring_grades_share_a_cutout_and_distant_ones_do_not() -> None:
    reference = CRYSTALS["fcc"]
    parent = reference * (3, 3, 3)
    far = parent.get_distances(0, range(len(parent)), mic=True)
    bond, opposite = int(np.argsort(far)[1]), int(np.argmax(far))
    options: dict[str, Any] = {
        "gamma_select": 2.0,
        "max_atoms": 32,
        "core_radius_a": 3.0,
        "buffer_a": 1.0,
        "environment_a": 3.5,
        "primitive": reference,
        "min_atoms": 1,
    }
    gamma = one_hot(len(parent), 0, 9.0)
    gamma[bond] = 5.0
    assert len(cut(parent, gamma, **options)) == 1
    gamma[opposite] = 7.0
    two = cut(parent, gamma, **options)
    assert [found.gamma for found in two] == [9.0, 7.0]
    assert cut(parent, np.ones(len(parent)), **options) == []


@pytest.fixture(scope="module")
def liquid() -> Atoms:
    """A dense random packing: repulsive spheres pushed apart, periodic, as disordered as a melt."""
    rng = np.random.default_rng(8)
    atoms = Atoms("Ar108", positions=rng.random((108, 3)) * 17.5, cell=[17.5] * 3, pbc=True)
    for _ in range(200):
        i, _, d, vectors = neighbor_list("ijdD", atoms, 3.1)
        if len(d) == 0:
            break
        push = np.zeros((108, 3))
        np.add.at(push, i, -vectors / d[:, None] * (3.1 - d)[:, None] * 0.3)
        atoms.positions += push
    atoms.wrap()
    return atoms


def test_liquid_is_cut_as_a_box_along_the_parents_axes_without_overlaps(liquid: Atoms) -> None:
    reference = bulk("Ar", "fcc", 5.4, cubic=True)
    assert find_crystal(liquid, reference) is None
    cutout = cut_one(
        liquid, 40, primitive=reference, core_radius_a=3.0, buffer_a=2.5, environment_a=4.0
    )
    assert cutout.kind == "box"
    assert len(cutout.atoms) <= 32
    fractions = cutout.atoms.cell.array @ np.linalg.inv(liquid.cell.array)
    np.testing.assert_allclose(fractions, np.diag(np.diag(fractions)), atol=1e-9)
    assert shortest_bond(cutout.atoms) >= 0.8 * shortest_bond(liquid)


def test_merging_keeps_the_atom_nearer_to_the_centre() -> None:
    atoms = Atoms("Ar3", positions=[[5, 5, 5], [9.9, 5, 5], [0.4, 5, 5]], cell=[10] * 3, pbc=True)
    kept, merged = merge_overlaps(atoms, 0, 1.0)
    assert (kept, merged) == ([0, 2], 1)
    assert merge_overlaps(atoms, 0, 0.4) == ([0, 1, 2], 0)


def test_box_of_an_ionic_melt_keeps_whole_formula_units(liquid: Atoms) -> None:
    salt = liquid.copy()
    salt.numbers = np.where(np.arange(108) % 2, 11, 17)
    for atom in (3, 40, 77):
        cutout = cut_one(salt, atom, core_radius_a=3.0, buffer_a=2.5, environment_a=3.2)
        assert (cutout.atoms.numbers == 11).sum() == (cutout.atoms.numbers == 17).sum() > 0


def test_seam_is_relaxed_with_the_core_held() -> None:
    """An atom of the buffer pushed onto its neighbour is moved back; what is fixed stays to the
    last digit.
    """
    atoms = CRYSTALS["fcc"] * (2, 2, 2)
    atoms.positions[31] += [0.7, 0.0, 0.0]
    fixed = np.arange(20)
    buffer = np.arange(20, 32)
    seam = relax_seam(atoms, fixed, buffer, Graded(5.0, 2.5), 0.5)
    assert seam.force_before_ev_per_a > 2.0
    assert seam.force_after_ev_per_a <= 0.5
    np.testing.assert_array_equal(seam.atoms.positions[fixed], atoms.positions[fixed])
    untouched = relax_seam(atoms, fixed, buffer, Graded(5.0, 2.5), 1e3)
    np.testing.assert_array_equal(untouched.atoms.positions, atoms.positions)
    assert untouched.steps == 0


def test_sublattices_are_complete() -> None:
    """The number of sublattices of index n in three dimensions: 1, 7, 13, 35, 31 (OEIS A001001)."""
    assert [len(hermite_forms(n)) for n in range(1, 6)] == [1, 7, 13, 35, 31]
    lengths, counts = shortest_vectors(hermite_forms(4), np.eye(3))
    best = np.lexsort((counts, -lengths))[0]
    assert lengths[best] == pytest.approx(np.sqrt(3))  # bcc with edge 2
    assert counts[best] == 8
    form = hermite_forms(12)[17]
    found = cosets(form)
    assert len(found) == 12
    remainders = (found @ np.linalg.inv(form)) % 1.0
    assert len(np.unique(remainders.round(6) % 1.0, axis=0)) == 12


def test_grades_must_be_one_per_atom() -> None:
    with pytest.raises(ValueError, match="3 grades for 4 atoms"):
        cut(
            CRYSTALS["fcc"],
            np.ones(3),
            gamma_select=1,
            max_atoms=8,
            core_radius_a=1,
            buffer_a=1,
            environment_a=1,
        )
