"""DFT parameters from composition and cell."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from mlip_autopipec.science import dft_rules as dft
from mlip_autopipec.science.kpoints import choose_grid


@pytest.mark.parametrize(
    "composition", [["Al"], ["Al", "Cu"], ["Fe"], ["Ti", "N"], ["Ni", "Al"], {"Cu": 0.5, "Au": 0.5}]
)
def test_metals(composition: list[str] | dict[str, float]) -> None:
    assert dft.is_metal(composition).value
    assert dft.kspacing_per_a(composition).value == 0.25
    assert dft.kmesh_shifted(composition).value
    assert not dft.kmesh_shifted(composition, (False, False, False)).value
    assert dft.smearing(composition).value == ("mv", 0.01)


@pytest.mark.parametrize(
    "composition",
    [
        ["Si"],
        ["Si", "Ge"],
        ["Si", "C"],
        ["Ga", "As"],
        ["Na", "Cl"],
        ["Ti", "O", "O"],
        {"Ti": 1 / 3, "O": 2 / 3},
    ],
)
def test_semiconductors(composition: list[str] | dict[str, float]) -> None:
    assert not dft.is_metal(composition).value
    assert dft.kspacing_per_a(composition).value in {0.36, 0.54}
    assert dft.kmesh_shifted(composition).value
    # Cold smearing has no unique Fermi energy in a gap.
    assert dft.smearing(composition).value == ("gaussian", 0.01)


def test_every_choice_says_why() -> None:
    hints = {"Si": (28.0, 36.0, 48.0)}
    for choice in (
        dft.kspacing_per_a(["Si"]),
        dft.smearing(["Al"]),
        dft.starting_moments(["Fe"]),
        dft.wavefunction_cutoff_ry(hints),
        dft.kmesh_shifted(["Si"]),
        dft.rho_cutoff_ry(28.0),
    ):
        assert len(choice.reason) > 10


def test_cutoff_is_the_largest_of_the_campaign_and_low_only_where_measured() -> None:
    si, o, al = (28.0, 36.0, 48.0), (72.0, 84.0, 96.0), (32.0, 40.0, 52.0)
    assert dft.wavefunction_cutoff_ry({"Si": si}).value == 28.0
    assert dft.wavefunction_cutoff_ry({"Al": al, "Si": si}).value == 32.0
    assert dft.wavefunction_cutoff_ry({"Si": si, "O": o}).value == 84.0
    assert dft.rho_cutoff_ry(28.0).value == 112.0
    with pytest.raises(ValueError, match="no elements"):
        dft.wavefunction_cutoff_ry({})


def test_spin_is_on_for_magnetic_elements_alone() -> None:
    assert dft.starting_moments(["Fe", "C"]).value == {"C": 0.0, "Fe": 4.0}
    assert dft.starting_moments(["Si", "O"]).value == {}
    assert dft.starting_moments(["O", "O"]).value == {"O": 1.0}
    assert dft.starting_moments(["Gd"]).value["Gd"] == 7.0
    assert dft.spin_polarized(["Ni"]).value and not dft.spin_polarized(["Al"]).value


def test_meshes_of_silicon_and_of_directions_without_periodicity() -> None:
    assert dft.kmesh(bulk("Si", "diamond", a=5.47).cell.array, (True,) * 3, 0.57) == (3, 3, 3)
    assert dft.kmesh(bulk("Si", "diamond", a=5.47, cubic=True).cell.array, (True,) * 3, 0.57) == (
        4,
        4,
        4,
    )
    assert dft.kmesh(np.diag([3.0, 3.0, 20.0]), (True, True, False), 0.25) == (9, 9, 1)
    assert dft.kmesh(np.eye(3) * 8, (False,) * 3, 0.25) == (1, 1, 1)
    assert dft.kmesh(np.eye(3) * 40, (True,) * 3, 0.25) == (1, 1, 1) or dft.kmesh(
        np.eye(3) * 40
    ) == (2, 2, 2)


@settings(deadline=None)
@given(
    st.lists(st.floats(2.5, 14.0), min_size=3, max_size=3),
    st.lists(st.floats(-0.3, 0.3), min_size=3, max_size=3),
)
def test_equation_of_state_mesh_contains_the_grid_of_the_training_cells(
    edges: list[float], tilt: list[float]
) -> None:
    cell = np.diag(edges)
    cell[1, 0], cell[2, 0], cell[2, 1] = np.array(tilt) * min(edges)
    grid = choose_grid(cell, (True,) * 3, 0.5, True)
    assert dft.kmesh(cell, (True,) * 3, 0.5) == grid.divisions


@pytest.mark.parametrize(
    "composition", [["H", "H", "O"], ["C", "O"], {"C": 2, "H": 6, "O": 1}, ["N", "N"], ["C"]]
)
def test_molecules_and_their_solids_have_a_gap(composition: list[str] | dict[str, float]) -> None:
    assert not dft.is_metal(composition).value
    assert dft.smearing(composition).value[0] == "gaussian"


@pytest.mark.parametrize(
    "composition", [["Fe", "O"], {"Fe": 2, "O": 3}, ["Ni", "O"], {"Li": 1, "Co": 1, "O": 2}]
)
def test_no_gap_is_assumed_where_a_shell_is_open(composition: list[str] | dict[str, float]) -> None:
    choice = dft.is_metal(composition)
    assert choice.value and "open shell" in choice.reason
    closed = "Co" in composition  # Co3+, of low spin: a vacancy opens it
    assert dft.spin_polarized(composition).value is not closed


@pytest.mark.parametrize(
    "composition",
    [
        ["Mg", "O"],
        {"Al": 2, "O": 3},
        ["Li", "F"],
        ["Zn", "S"],
        {"Ca": 1, "Ti": 1, "O": 3},
        {"Cu": 2, "O": 1},
    ],
)
def test_charges_that_add_up_to_nothing_leave_a_gap(
    composition: list[str] | dict[str, float],
) -> None:
    assert not dft.is_metal(composition).value


@pytest.mark.parametrize(
    "composition", [{"Mg": 2, "O": 1}, {"Al": 1, "O": 1}, ["Na", "K"], {"Na": 2, "Cl": 1}]
)
def test_charges_that_do_not_add_up_leave_none(composition: list[str] | dict[str, float]) -> None:
    assert dft.is_metal(composition).value


def test_density_cutoff_is_that_of_the_hardest_augmentation_charge() -> None:
    needed = {"Fe": 1080.0, "O": 400.0}
    assert dft.rho_cutoff_ry(90.0, needed=needed).value == 1080.0
    assert dft.rho_cutoff_ry(90.0, needed={"O": 320.0}).value == 360.0
    assert dft.rho_cutoff_ry(40.0, 8.0).value == 320.0
    assert "Fe" in dft.rho_cutoff_ry(90.0, needed=needed).reason


@pytest.mark.parametrize(
    ("composition", "spacing"),
    [
        ({"Na": 0.5, "Cl": 0.5}, 0.54),
        ({"Mg": 0.5, "O": 0.5}, 0.54),
        ({"Ca": 1, "F": 2}, 0.54),
        ({"Ba": 1, "Zr": 1, "O": 3}, 0.54),
        ({"K": 0.5, "Mg": 0.5, "F": 1.5}, 0.54),
        # Charges that leave an electron over; a metal between; gaps of 1 to 6 eV in PBE.
        ({"Na": 0.6, "Cl": 0.4}, 0.25),
        ({"Na": 1.0}, 0.25),
        ({"Zn": 0.5, "O": 0.5}, 0.36),
        ({"Al": 0.4, "O": 0.6}, 0.36),
        ({"Ti": 1, "O": 2}, 0.36),
        ({"Ga": 0.5, "As": 0.5}, 0.36),
        ({"Si": 1, "O": 2}, 0.36),
    ],
)
def test_strong_ionics_need_fewer_k_points(composition: dict[str, float], spacing: float) -> None:
    choice = dft.kspacing_per_a(composition)
    assert choice.value == spacing
    assert ("wide gap" in choice.reason) is (spacing == 0.54)
