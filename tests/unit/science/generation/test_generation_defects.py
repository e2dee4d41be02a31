"""Defects, slabs, clusters and pairs of molecules: how many atoms of what, where, and how far from
each other.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.data import atomic_numbers, covalent_radii
from ase.data.vdw_alvarez import vdw_radii
from ase.spacegroup import crystal

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science import generation
from mlip_autopipec.science.contacts import closest_contact
from mlip_autopipec.science.generation.context import Context
from mlip_autopipec.science.generation.defect_cells import defect_cell
from mlip_autopipec.science.generation.interstitials import voids
from mlip_autopipec.science.generation.relaxing import separated
from mlip_autopipec.science.generation.surfaces import slabs
from mlip_autopipec.science.lattices import hermite_forms, separation_a


def _context(*starts: Atoms, max_atoms: int = 32, relax: bool = False) -> Context:
    count = Counter(symbol for start in starts for symbol in start.get_chemical_symbols())
    fractions = {symbol: number / sum(count.values()) for symbol, number in count.items()}
    known = tuple(Candidate(start, Provenance("start", f"s{n}")) for n, start in enumerate(starts))
    return Context(fractions, known, EMT() if relax else None, (300.0,), max_atoms, seed=4)


def _make(name: str, context: Context, count: int, **options: float) -> list[Candidate]:
    return generation.strategy(name)(context, count, np.random.default_rng(0), **options)


SALT = bulk("NaCl", "rocksalt", a=5.64)
FLUORITE = crystal(
    ["Ca", "F"], [(0, 0, 0), (0.25, 0.25, 0.25)], spacegroup=225, cellpar=[5.46] * 3 + [90] * 3
)
STILL = {"sigma_min_a": 0.0, "sigma_max_a": 0.0, "copies": 1}


@pytest.mark.parametrize("start", [SALT, FLUORITE], ids=["NaCl", "CaF2"])
def test_ions_leave_in_whole_formula_units(start: Atoms) -> None:
    whole = start.symbols.formula.reduce()[0].count()
    found = _make("vacancy", _context(start), 4, whole_units=True, **STILL)
    assert len(found) == 4
    for made in found:
        left = made.atoms.symbols.formula
        assert left.reduce()[0].count() == whole, "no charge is left"
        removed = made.provenance.parameters["removed"]
        assert isinstance(removed, list) and Counter(removed) == whole


def test_images_of_a_defect_are_far_apart_where_that_is_affordable() -> None:
    # 2, 3, 4 cells: 7, 13 and 35 superlattices (Hart & Forcade, table I).
    assert [len(hermite_forms(n)) for n in (1, 2, 3, 4)] == [1, 7, 13, 35]
    for start, most in [(bulk("Na", a=4.2), 16), (bulk("Si", a=5.43), 32), (SALT, 32)]:
        cell = defect_cell(start, most)
        assert len(cell) <= most and separation_a(cell.cell.array) >= 8.0 - 1e-6
        assert cell.get_volume() / len(cell) == pytest.approx(start.get_volume() / len(start))
        assert closest_contact(cell) == pytest.approx(closest_contact(start))
        # No lattice vector is longer than a sphere packing of that volume allows.
        assert separation_a(cell.cell.array) <= (2**0.5 * cell.get_volume()) ** (1 / 3) + 1e-6
    # Copper would need more than 32 atoms; the best of at most 32 beats the cubes of 32 (7.2 Å).
    assert separation_a(defect_cell(bulk("Cu", a=3.6), 32).cell.array) == pytest.approx(
        3.6 * 4.5**0.5
    )
    # Sixteen atoms of silicon: twice the primitive cell in every direction is the best there is.
    small = defect_cell(bulk("Si", a=5.43), 16)
    assert len(small) == 16 and separation_a(small.cell.array) == pytest.approx(2 * 5.43 / 2**0.5)
    assert separation_a(np.array([[3.0, 0, 0], [3.0, 1.0, 0], [0, 0, 9.0]])) == pytest.approx(1.0)


def test_a_divacancy_lacks_two_neighbours() -> None:
    made = _make("divacancy", _context(bulk("Cu", a=3.6)), 4, **STILL)
    full = len(defect_cell(bulk("Cu", a=3.6), 32))
    distances = [item.provenance.parameters["distance_a"] for item in made]
    assert distances == pytest.approx([3.6 / 2**0.5, 3.6] * 2, abs=1e-3)
    assert {len(item.atoms) for item in made} == {full - 2}
    assert {tuple(item.provenance.parameters["removed"]) for item in made} == {("Cu", "Cu")}


def test_antisites_exchange_neighbours_or_replace_one() -> None:
    made = _make("antisite", _context(SALT), 6, **STILL)
    size = len(defect_cell(SALT, 32))
    excess = [int((item.atoms.symbols == "Na").sum()) - size // 2 for item in made]
    assert [abs(number) for number in excess] == [0, 0, 1] * 2
    for item in made:
        like = 0
        atoms = item.atoms
        distances = atoms.get_all_distances(mic=True)
        for i, j in np.argwhere((distances > 0) & (distances < 3.2)):
            like += atoms.symbols[i] == atoms.symbols[j]
        assert like > 0  # the perfect crystal has none


def test_voids_of_simple_lattices() -> None:
    """fcc: octahedral at a/2, tetrahedral at sqrt(3)/4 a. bcc: tetrahedral at sqrt(5)/4 a. Diamond:
    at sqrt(3)/4 a.
    """
    fcc = voids(bulk("Cu", a=4.0))
    assert [size for _, size in fcc] == pytest.approx([2.0, 3**0.5], abs=1e-3)
    assert fcc[0][0] == pytest.approx([0.5, 0.5, 0.5])
    assert [size for _, size in voids(bulk("Fe", a=4.0))] == pytest.approx([5**0.5], abs=1e-3)
    diamond = voids(bulk("Si", a=5.43))
    assert diamond[0][1] == pytest.approx(5.43 * 3**0.5 / 4, abs=1e-3)
    # The same voids in a cell of eight atoms: symmetry leaves none to count twice.
    assert [size for _, size in voids(bulk("Cu", a=4.0, cubic=True))] == pytest.approx(
        [2.0, 3**0.5], abs=1e-3
    )


def test_an_interstitial_is_one_atom_more_and_every_element_gets_its_turn() -> None:
    made = _make("interstitial", _context(bulk("Si", a=5.43)), 2, **STILL)
    assert {len(item.atoms) for item in made} == {len(defect_cell(bulk("Si", a=5.43), 31)) + 1}
    assert made[0].provenance.parameters["void_radius_a"] == pytest.approx(
        5.43 * 3**0.5 / 4, abs=1e-3
    )
    salt = _make("interstitial", _context(SALT), 4, **STILL)
    assert {item.provenance.parameters["added"][0] for item in salt} == {"Na", "Cl"}
    assert all(closest_contact(item.atoms) >= 0.75 for item in salt)
    crowded = _make("interstitial", _context(bulk("Cu", a=3.59), relax=True), 1, **STILL)[0].atoms
    perfect = defect_cell(bulk("Cu", a=3.59), 31)
    for atoms in (crowded, perfect):
        atoms.calc = EMT()
    formation = (
        crowded.get_potential_energy()
        - len(crowded) / len(perfect) * perfect.get_potential_energy()
    )
    assert 1.0 < formation < 8.0  # eV; overlapping atoms would cost tens


def test_overlapping_atoms_are_moved_apart_and_others_stay() -> None:
    atoms = Atoms("Cu3", positions=[[0, 0, 0], [0.4, 0, 0], [8, 0, 0]], cell=[12, 12, 12], pbc=True)
    moved = separated(atoms)
    assert moved.get_distance(0, 1) == pytest.approx(0.77 * 2.64, abs=0.03)
    assert moved.positions[2] == pytest.approx([8, 0, 0])
    assert moved.positions[:2].mean(axis=0) == pytest.approx([0.2, 0, 0])


# --- surfaces
# --------------------------------------------------------------------------------------------------


def test_slabs_of_simple_crystals() -> None:
    copper = dict(slabs(bulk("Cu", a=3.6), 32))
    assert set(copper) == {
        (1, 0, 0),
        (1, 1, 0),
        (1, 1, 1),
        (2, 1, 0),
    }  # (001), (101) are (100), (110) in a cube
    for index, spacing, area in [
        ((1, 0, 0), 1.8, 3.6**2 / 2),
        ((1, 1, 0), 3.6 / 8**0.5, 3.6**2 / 2**0.5),
        ((1, 1, 1), 3.6 / 3**0.5, 3.6**2 * 3**0.5 / 4),
    ]:
        heights = np.sort(copper[index].positions[:, 2])
        assert np.diff(heights) == pytest.approx(np.full(len(heights) - 1, spacing), abs=1e-6)
        assert np.linalg.norm(np.cross(*copper[index].cell.array[:2])) == pytest.approx(area)
        assert closest_contact(copper[index]) == pytest.approx(closest_contact(bulk("Cu", a=3.6)))


RUTILE = crystal(
    ["Ti", "O"],
    [(0, 0, 0), (0.305, 0.305, 0)],
    spacegroup=136,
    cellpar=[4.594, 4.594, 2.959, 90, 90, 90],
)


@pytest.mark.parametrize(
    "start, allowed",
    [
        (SALT, {"100", "110", "210"}),
        (RUTILE, {"100", "110", "001", "101"}),
        (bulk("GaAs", "zincblende", a=5.65), {"110"}),
    ],
)
def test_slabs_of_compounds_are_stoichiometric_and_without_dipole(
    start: Atoms, allowed: set[str]
) -> None:
    found = slabs(start, 32)
    assert {
        "".join(map(str, index)) for index, _ in found
    } == allowed  # NaCl and GaAs (111) are polar
    for _, slab in found:
        assert slab.symbols.formula.reduce()[0].count() == start.symbols.formula.reduce()[0].count()
        heights = [slab.positions[slab.symbols == symbol, 2].mean() for symbol in set(slab.symbols)]
        assert np.ptp(heights) < 0.03
        assert list(slab.pbc) == [True, True, False]
        assert slab.cell.array[2, 2] - np.ptp(slab.positions[:, 2]) >= 10.0 - 1e-9
        assert closest_contact(slab) == pytest.approx(closest_contact(start), abs=1e-6)


def test_slab_candidates_are_first_as_cut_then_relaxed() -> None:
    made = _make(
        "surface", _context(bulk("Cu", a=3.59), relax=True), 6, sigma_min_a=0.0, sigma_max_a=0.0
    )
    groups = defaultdict(list)
    for item in made:
        item.atoms.calc = EMT()
        groups[item.provenance.group].append(item.atoms.get_potential_energy())
    assert len(groups) == 3
    assert all(relaxed <= cut for cut, relaxed in groups.values())
    assert any(relaxed < cut - 1e-3 for cut, relaxed in groups.values())


# --- clusters and molecules
# -----------------------------------------------------------------------------------------


def test_clusters_span_the_bond_from_contact_to_its_loss() -> None:
    made = _make("cluster", _context(SALT), 41)
    kinds = Counter(item.provenance.parameters["kind"] for item in made)
    assert kinds == {"atom": 2, "dimer": 26, "trimer": 13}
    by_pair = defaultdict(list)
    for item in made:
        atoms = item.atoms
        assert not atoms.pbc.any()
        margins = np.r_[
            atoms.positions.min(axis=0), atoms.cell.lengths() - atoms.positions.max(axis=0)
        ]
        assert margins.min() == pytest.approx(6.0)
        if item.provenance.parameters["kind"] == "dimer":
            reach = sum(
                covalent_radii[atomic_numbers[symbol]] for symbol in atoms.get_chemical_symbols()
            )
            by_pair[str(atoms.symbols)].append(atoms.get_distance(0, 1) / reach)
            assert by_pair[str(atoms.symbols)][-1] == pytest.approx(
                item.provenance.parameters["contact"], abs=1e-3
            )
    assert len(by_pair) == 3
    for ratios in by_pair.values():
        assert 0.55 <= min(ratios) < 0.75 and 1.7 < max(ratios) <= 2.0
        assert np.diff(sorted(ratios)).max() < 0.4  # no hole in the range
    assert min(closest_contact(item.atoms) for item in made) >= 0.55 - 1e-9


def test_pairs_of_molecules_meet_at_the_contact_asked_for() -> None:
    water = molecule("H2O")
    made = _make("molecule_pair", _context(water), 12, sigma_a=0.0)
    for item in made:
        atoms = item.atoms
        assert str(atoms.symbols) == "OH2OH2"
        own = water.get_all_distances()
        assert atoms[:3].get_all_distances() == pytest.approx(own, abs=1e-6)
        assert atoms[3:].get_all_distances() == pytest.approx(own, abs=1e-6)
        radii = np.array([vdw_radii[z] for z in atoms.numbers])
        between = atoms.get_all_distances()[:3, 3:] / (radii[:3, None] + radii[None, 3:])
        assert between.min() == pytest.approx(item.provenance.parameters["contact_vdw"], abs=1e-3)
    assert _make("molecule_pair", _context(water, max_atoms=5), 3) == []
