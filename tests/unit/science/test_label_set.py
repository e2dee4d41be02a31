"""What structures are built of decides their method: layers, molecules, sheets of carbon."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.spacegroup import crystal

from mlip_autopipec import make_plan
from mlip_autopipec.base.errors import InputError
from mlip_autopipec.commands.label.method import derive_dft
from mlip_autopipec.science import label_set
from mlip_autopipec.science.bonded_parts import parts_of
from mlip_autopipec.science.kpoints import choose_grid
from mlip_autopipec.science.label_set import label_set_of

WS2 = crystal(
    ("W", "S"), [(1 / 3, 2 / 3, 0.25), (1 / 3, 2 / 3, 0.6225)], spacegroup=194,
    cellpar=[3.153, 3.153, 12.323, 90, 90, 120],
)  # fmt: skip
CO2 = crystal(
    ("C", "O"), [(0, 0, 0), (0.12, 0.12, 0.12)], spacegroup=205, cellpar=[5.6] * 3 + [90] * 3
)
GRAPHITE = Atoms(
    "C4", scaled_positions=[(0, 0, 0), (1 / 3, 2 / 3, 0), (0, 0, 0.5), (2 / 3, 1 / 3, 0.5)],
    cell=[2.46, 2.46, 6.7, 90, 90, 120], pbc=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("atoms", "dimensions", "count"),
    [
        (WS2, 2, 2),
        (GRAPHITE, 2, 2),
        (graphene(vacuum=8.0), 2, 1),
        (CO2, 0, 4),
        (bulk("Ar", "fcc", a=5.3), 0, 1),
        (bulk("Si"), 3, 1),
        (bulk("Zn"), 3, 1),
        (bulk("NaCl", "rocksalt", a=5.64), 3, 1),
    ],
)
def test_parts_are_what_hangs_together_by_bonds(atoms: Atoms, dimensions: int, count: int) -> None:
    turned = atoms.copy()
    turned.positions += [0.3, 0.9, 0.7]
    for one in (atoms, turned):
        parts = parts_of(one)
        assert (parts.dimensions, parts.count) == (dimensions, count)
    doubled = parts_of(atoms.repeat((2, 1, 1)))
    assert doubled.dimensions == dimensions


@pytest.mark.parametrize("atoms", [WS2, GRAPHITE, CO2, bulk("Ar", "fcc", a=5.3)])
def test_what_dispersion_holds_gets_it_and_may_do_without(atoms: Atoms) -> None:
    found = derive_dft([atoms])
    assert found.dft.label_method()["dispersion"] == "d3bj"
    assert "dispersion" in found.reasons["dft.method.dispersion"]
    without = derive_dft([atoms], settings={"dispersion": "none"})
    assert "dispersion" not in without.dft.label_method()
    assert without.reasons["dft.method.dispersion"].startswith("given, instead of d3bj")


@pytest.mark.parametrize("atoms", [bulk("Si"), bulk("Zn"), bulk("NaCl", "rocksalt", a=5.6)])
def test_what_bonds_hold_gets_none(atoms: Atoms) -> None:
    assert "dispersion" not in derive_dft([atoms]).dft.label_method()
    pulled = atoms.copy()
    pulled.set_cell(pulled.cell.array * [1, 1, 1.6])  # apart, the atoms where they were
    alone = label_set_of([atoms, atoms, pulled])
    assert not any(kind.held_by_dispersion for kind in alone.kinds)


def test_sheets_of_carbon_are_semimetals_and_diamond_is_not() -> None:
    sheet = graphene(vacuum=8.0)
    sheet.pbc = (True, True, False)
    for atoms in (GRAPHITE, sheet):
        method = derive_dft([atoms]).dft.label_method()
        assert (method["kspacing_per_a"], method["smearing"]) == (0.25, "mv")
    diamond = derive_dft([bulk("C")]).dft.label_method()
    assert (diamond["kspacing_per_a"], diamond["smearing"]) == (0.36, "gaussian")
    both = derive_dft([bulk("C"), bulk("C"), GRAPHITE]).dft.label_method()
    assert (both["kspacing_per_a"], both["smearing"]) == (0.25, "gaussian")


def water_box() -> Atoms:
    one = molecule("H2O")
    rng = np.random.default_rng(1)
    atoms = Atoms(cell=[9.86] * 3, pbc=True)
    for place in rng.permutation([(i, j, k) for i in range(4) for j in range(4) for k in range(2)]):
        copy = one.copy()
        copy.rotate(float(rng.uniform(0, 360)), rng.normal(size=3))
        copy.positions += (place + 0.5) / [4, 4, 2] * 9.86
        atoms += copy
    return atoms


def test_a_box_of_water_is_calculated_at_gamma() -> None:
    needed = label_set_of([water_box()])
    assert needed.kinds[0].molecular
    spacing, shifted = label_set.kspacing_per_a(needed), label_set.kmesh_shifted(needed)
    grid = choose_grid(water_box().cell.array, (True,) * 3, spacing.value, shifted.value)
    assert grid.divisions == (1, 1, 1) and "gamma" in grid.card()


@pytest.mark.parametrize(
    ("name", "spin"), [("NO", True), ("NO2", True), ("CH3", True), ("CO2", False)]
)
def test_a_molecule_with_an_odd_electron_has_spin(name: str, spin: bool) -> None:
    plan = make_plan(molecule=name)
    assert plan.dft.label_method()["spin_polarized"] is spin
    ion = make_plan(molecule=name, dft={"charge": 1})
    assert ion.dft.label_method()["spin_polarized"] is not spin


def test_a_crystal_of_a_campaign_has_no_charge() -> None:
    with pytest.raises(InputError, match=r"dft\.charge.*whatever its size"):
        make_plan(material="Si", dft={"charge": 1})


@pytest.mark.parametrize(
    ("formula", "moments"),
    [
        ("CuO", {"Cu": 1.0, "O": 0.0}),
        ("Cu2O", {}),
        ("LiCoO2", {}),
        ("CoO", {"Co": 3.0, "O": 0.0}),
        ("NiO", {"Ni": 2.0, "O": 0.0}),
        ("CuZn", {}),
    ],
)
def test_an_ion_starts_with_the_electrons_that_it_has_unpaired(
    formula: str, moments: dict[str, float]
) -> None:
    atoms = Atoms(formula, pbc=True)
    atoms.set_cell([3.0 * len(atoms), 3.0, 3.0])
    atoms.set_scaled_positions([[i / len(atoms), 0, 0] for i in range(len(atoms))])
    found = derive_dft([atoms], settings={"dispersion": "none"})
    assert found.dft.label_method()["starting_moments"] == moments
    if formula == "LiCoO2":
        assert "low spin" in found.reasons["dft.method.starting_moments"]


def test_an_element_keeps_the_largest_moment_of_its_compounds() -> None:
    lone = Atoms("Co", cell=[2.5] * 3, pbc=True)
    closed = Atoms("LiCoO2", positions=np.arange(12).reshape(4, 3), cell=[9, 9, 9], pbc=True)
    moments = derive_dft([closed, lone]).dft.label_method()["starting_moments"]
    assert moments == {"Co": 3.0, "Li": 0.0, "O": 0.0}


def test_what_is_left_out_is_said_where_it_touches_the_material() -> None:
    said = {
        name: derive_dft([bulk(name, "rocksalt", a=4.5)]).reasons["dft.method.functional"]
        for name in ("NiO", "MgO", "PbS", "SiC")
    }
    assert "dft.hubbard" in said["NiO"] and "long-range" in said["MgO"]
    assert "spin-orbit" in said["PbS"] and said["SiC"] == "the family's functional"
