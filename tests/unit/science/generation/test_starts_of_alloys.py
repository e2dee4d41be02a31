"""Start cells of solid solutions: composition, lattice, and where they lie against the hull."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from test_starts import _spacegroup, _start

from mlip_autopipec.science.generation import (
    solid_solution,
)
from mlip_autopipec.science.generation.start_ranking import ranked
from mlip_autopipec.science.generation.start_relaxation import one_by_one


def test_a_start_cell_has_the_composition_and_every_element() -> None:
    assert solid_solution.atoms_of_each({"Al": 0.75, "Cu": 0.25}) == {"Al": 12, "Cu": 4}
    assert solid_solution.atoms_of_each(
        dict.fromkeys(("Cr", "Fe", "Co", "Ni"), 0.25)
    ) == dict.fromkeys(("Cr", "Fe", "Co", "Ni"), 4)
    assert solid_solution.atoms_of_each({"Al": 0.5, "Cu": 0.5}, max_atoms=8) == {"Al": 4, "Cu": 4}
    thirds = solid_solution.atoms_of_each({"Au": 1 / 3, "Cu": 2 / 3})
    assert thirds == {"Au": 8, "Cu": 16}
    assert solid_solution.atoms_of_each({"Al": 0.999, "Cu": 0.001})["Cu"] == 1


def test_parent_lattices_are_those_of_the_elements() -> None:
    assert solid_solution.parent_lattices({"Al": 0.75, "Cu": 0.25})[0] == "fcc"
    assert solid_solution.parent_lattices({"Nb": 0.5, "Mo": 0.5})[0] == "bcc"
    assert (
        solid_solution.parent_lattices(dict.fromkeys(("Cr", "Fe", "Co", "Ni"), 0.25))[0] == "fcc"
    )  # 8.25 electrons
    assert (
        solid_solution.parent_lattices(dict.fromkeys(("Nb", "Mo", "Ta", "W"), 0.25))[0] == "bcc"
    )  # 5.5
    assert solid_solution.parent_lattices({"Si": 0.5, "Ge": 0.5}) == ["diamond"]


def test_neighbouring_formulas() -> None:
    assert solid_solution.neighbours({"Al": 0.75, "Cu": 0.25}) == [
        {"Al": 3, "Cu": 1},
        {"Al": 4, "Cu": 1},
        {"Al": 2, "Cu": 1},
    ]
    assert solid_solution.neighbours(dict.fromkeys(("Cr", "Fe", "Co", "Ni"), 0.25)) == []


@pytest.mark.parametrize(
    "fractions", [{"Al": 0.75, "Cu": 0.25}, dict.fromkeys(("Cr", "Fe", "Co", "Ni"), 0.25)]
)
def test_disordered_cells_lie_on_their_lattice_and_are_mixed(fractions: dict[str, float]) -> None:
    made = list(solid_solution.disordered(fractions, 1))
    assert [item.atoms.symbols.formula.count() for item in made] == [
        item.atoms.symbols.formula.count() for item in solid_solution.disordered(fractions, 1)
    ]
    again = list(solid_solution.disordered(fractions, 1))
    assert [list(item.atoms.symbols) for item in made] == [
        list(item.atoms.symbols) for item in again
    ]
    assert {item.provenance.parameters["prototype"] for item in made} == {
        "disordered fcc",
        "disordered bcc",
        "disordered hcp",
    }
    for item in made:
        plain = item.atoms.copy()
        plain.numbers[:] = 29
        lattice = str(item.provenance.parameters["prototype"]).split()[1]
        assert _spacegroup(plain) == {"fcc": 225, "bcc": 229, "hcp": 194}[lattice]
        # no unlike atoms kept apart: every element has another one among its neighbours
        distances = item.atoms.get_all_distances(mic=True)
        nearest = distances[distances > 0].min()
        touching = (distances < 1.05 * nearest) & (distances > 0)
        kinds = item.atoms.numbers
        for kind in set(kinds):
            assert (touching[kinds == kind][:, kinds != kind]).any()


class _Mixing(Calculator):
    """Lennard-Jones decides the volume, and a table the energy of mixing."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012
    EXCESS = {"Al2Cu": -0.15, "Al3Cu": -0.02}  # noqa: RUF012

    def calculate(self, atoms: Atoms | None = None, *_: object, **__: object) -> None:
        assert atoms is not None
        inner = atoms.copy()
        inner.numbers[:] = 18
        inner.calc = LennardJones(sigma=2.4, epsilon=0.01, rc=7.0)
        per_atom = self.EXCESS.get(atoms.symbols.formula.reduce()[0].format("metal"), 0.0)
        self.results = {
            "energy": inner.get_potential_energy() + per_atom * len(atoms),
            "forces": inner.get_forces(),
            "stress": inner.get_stress(),
        }


def test_a_solid_solution_is_measured_against_the_hull_and_its_own_cell_comes_first() -> None:
    fractions = {"Al": 0.75, "Cu": 0.25}
    fcc = bulk("Al", "fcc", a=3.6)
    mixed = bulk("Al", "fcc", a=3.6, cubic=True)
    mixed.symbols[0] = "Cu"
    theta = bulk("Al", "hcp", a=2.6, c=4.3) * (3, 1, 1)
    theta.symbols[[0, 3]] = "Cu"
    copper = bulk("Cu", "fcc", a=3.6)
    proposals = [
        replace(_start(mixed, "fcc:mixed", disordered=True), forced=True),
        replace(_start(fcc, "reference:Al"), forced=True),
        replace(_start(copper, "reference:Cu"), forced=True),
        _start(theta, "theta"),
    ]
    found = ranked(proposals, one_by_one(_Mixing()), fractions=fractions)
    names = [start.candidate.provenance.group for start in found]
    assert names[0] == "fcc:mixed" and set(names[1:]) == {"reference:Al", "reference:Cu", "theta"}
    assert names[1] == "theta"  # on the hull, and nearest in composition
    above = {start.candidate.provenance.group: start.above_ev_per_atom for start in found}
    for end in ("reference:Al", "reference:Cu", "theta"):
        assert above[end] == pytest.approx(0, abs=2e-3)
    # the hull at Al3Cu is three quarters of the way from Al to Al2Cu; 48 meV/atom are k T ln of
    # ideal mixing
    assert above["fcc:mixed"] == pytest.approx(0.75 * 0.15 - 0.02 - 0.0485, abs=0.01)
