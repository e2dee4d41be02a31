"""What is known of a material: against tables, and the same for whoever asks."""

from __future__ import annotations

import pytest

from mlip_autopipec.config import facts
from mlip_autopipec.config.plan import Material


def material(**fractions: float) -> Material:
    return Material(formula="".join(fractions), fractions=fractions)


@pytest.mark.parametrize(
    ("fractions", "kind"),
    [
        ({"Al": 1.0}, "metal"),
        ({"Si": 1.0}, "semiconductor"),
        ({"Ga": 0.5, "As": 0.5}, "semiconductor"),
        ({"Na": 0.5, "Cl": 0.5}, "insulator"),
        ({"Al": 0.75, "Cu": 0.25}, "metal"),
    ],
)
def test_kinds(fractions: dict[str, float], kind: str) -> None:
    assert facts.kind_of(material(**fractions)) == kind


@pytest.mark.parametrize(
    ("fractions", "cubic"),
    [
        ({"Al": 1.0}, True),
        ({"Fe": 1.0}, True),
        ({"Mg": 1.0}, False),
        ({"Si": 1.0}, False),
        ({"Al": 0.5, "Cu": 0.5}, False),
    ],
)
def test_cubic_metals_have_one_atom_in_their_primitive_cell(
    fractions: dict[str, float], cubic: bool
) -> None:
    assert facts.is_cubic_metal(material(**fractions)) is cubic


def test_a_molecule_is_one_whatever_its_atoms_are() -> None:
    iron = Material(formula="Fe2", fractions={"Fe": 1.0}, kind="molecule", molecule="Fe2")
    assert facts.kind_of(iron) == "molecule"


def test_sizes_and_masses_are_those_of_the_elements() -> None:
    alloy = material(Cs=0.25, H=0.75)
    assert facts.radius_a(alloy) == pytest.approx(2.44)
    assert facts.lightest(alloy) == ("H", pytest.approx(1.008))
    cubic = facts.volume_per_atom_a3(material(Cu=1.0))
    assert cubic == pytest.approx(3.61**3 / 4, rel=0.01)
    silicon = facts.volume_per_atom_a3(material(Si=1.0))
    mixed = facts.volume_per_atom_a3(material(Cu=0.25, Si=0.75))
    assert mixed == pytest.approx(0.25 * cubic + 0.75 * silicon)


def test_a_molecule_and_its_box() -> None:
    water = Material(
        formula="H2O", fractions={"H": 2 / 3, "O": 1 / 3}, kind="molecule", molecule="water"
    )
    atoms, volume_a3 = facts.molecule_box(water)
    assert atoms == facts.molecule_atoms(water) == 3
    assert 8.0**3 < volume_a3 < 10.0**3  # 4 Å of empty space on every side
