"""How many candidates of which kind are proposed for a material by default."""

from __future__ import annotations

import numpy as np
import pytest

from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.derive.generation import (
    Form,
    atoms_and_dimers,
    default_generation,
    form_of,
    scaled,
)
from mlip_autopipec.config.derive.melting import Wanted, melting_of
from mlip_autopipec.config.derive.selection import first_labels
from mlip_autopipec.config.formulas import fractions_of_formula
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Material, StrategyPlan
from mlip_autopipec.science import generation


@pytest.mark.parametrize("melts", ["many", "few", "none"])
@pytest.mark.parametrize("max_atoms, labels", [(32, 30), (16, 12), (4, 30)])
def test_the_default_generation_is_sane(melts: Wanted, max_atoms: int, labels: int) -> None:
    plan, reasons = default_generation(max_atoms, [300.0, 1000.0], labels, melting=(melts, 1500.0))
    items = [item for batch in plan.batches for item in batch]
    assert {item.name for item in items} <= set(generation.STRATEGIES)
    assert len(plan.batches) == 2
    assert 3 * labels <= sum(item.count for item in items) <= max(60, 9 * labels)
    assert all(int(item.options.get("max_atoms", 1)) <= max_atoms for item in items)
    forced = sum(item.count for item in items if item.name in ("prototypes", "atoms_and_dimers"))
    assert forced <= 0.7 * labels
    assert ("melt_quench" in {item.name for item in items}) == (melts != "none")
    assert all(reasons.values())


def test_what_is_proposed_suits_the_material() -> None:
    assert form_of({"Si": 1.0}) == "element"
    assert (
        form_of({"Na": 0.5, "Cl": 0.5})
        == form_of({"Na": 0.5, "Cl": 0.5}, "solid_solution")
        == "compound"
    )
    assert form_of({"Al": 0.9, "Cu": 0.1}, "solid_solution") == "solid_solution"
    assert form_of({"Al": 0.75, "Cu": 0.25}) == "compound"  # by formula: an ordered crystal
    assert form_of({"H": 2 / 3, "O": 1 / 3}, "molecule") == "molecule"
    crystal = {"atoms_and_dimers", "prototypes", "strain", "rattle", "vacancy"}
    expected: dict[Form, set[str]] = {
        "element": crystal | {"thermal", "interstitial", "melt_quench"},
        "compound": crystal
        | {"thermal", "interstitial", "antisite", "normal_modes", "surface", "melt_quench"},
        "solid_solution": crystal
        | {"sqs", "random_substitution", "substitution", "thermal", "melt_quench"},
        "molecule": {
            "atoms_and_dimers",
            "prototypes",
            "normal_modes",
            "rattle",
            "mc_rattle",
            "thermal",
            "molecule_pair",
        },
    }
    for form, names in expected.items():
        plan, reasons = default_generation(32, [300.0, 900.0], 36, form)
        items = [item for batch in plan.batches for item in batch]
        assert {item.name for item in items} == names <= set(generation.STRATEGIES)
        assert 3 * 36 <= sum(item.count for item in items) <= 7 * 36
        assert {f"generation.batches.{name}" for name in names} <= set(reasons)
        assert not any("{" in reason for reason in reasons.values())


def frames(form: Form, melts: Wanted, temperatures_k: list[float]) -> dict[str, StrategyPlan]:
    plan, _ = default_generation(32, temperatures_k, 30, form, melting=(melts, 1500.0))
    return {item.name: item for batch in plan.batches for item in batch}


def test_md_of_the_surrogate_stays_short_where_a_crystal_is_asked() -> None:
    """On two cores the candidates of silicon are made within two minutes: frames of MD, half a
    picosecond apart, are what costs.
    """
    found = frames("element", "few", [300.0, 900.0])
    assert (found["thermal"].count, found["thermal"].options["max_atoms"]) == (6, 8)
    assert found["melt_quench"].count == 2
    liquid = frames("element", "many", [300.0, 900.0])["melt_quench"]
    assert 12 <= liquid.count <= 40
    assert found["melt_quench"].options["melt_k"] == liquid.options["melt_k"] > 1500.0
    assert frames("molecule", "none", [100.0 * n for n in range(1, 9)])["thermal"].count <= 8


def test_a_solid_is_also_met_above_the_highest_temperature_asked() -> None:
    assert frames("element", "few", [300.0, 900.0])["thermal"].options["hottest_k"] == 1080.0
    assert "hottest_k" not in frames("molecule", "none", [300.0])["thermal"].options


@pytest.mark.parametrize(
    "goal, formula, highest_k, wanted",
    [
        ("general", "Si", 900.0, "few"),  # melts at 1687 K
        ("general", "Si", 1500.0, "many"),
        ("general", "Al", 900.0, "many"),  # at 933 K
        ("general", "Na", 300.0, "many"),  # at 371 K
        ("crystal", "Na", 900.0, "none"),
        ("liquid", "Si", 300.0, "many"),
        ("general", "NaCl", 900.0, "none"),
        ("general", "NaCl", 1600.0, "many"),
        ("general", "SiC", 900.0, "few"),
        ("general", "AlCu", 1000.0, "many"),  # Al-Cu alloys: 820 to 1358 K
    ],
)
def test_liquids_are_made_where_they_are_asked_for(
    goal: str, formula: str, highest_k: float, wanted: Wanted
) -> None:
    fractions = fractions_of_formula(formula)
    material = Material(formula=formula, fractions=fractions)
    assert melting_of(goal, material, [highest_k])[0] == wanted


def test_the_number_of_first_labels_follows_what_is_asked() -> None:
    def labels(formula: str, goal: str = "general", highest_k: float = 600.0) -> int:
        material = Material(formula=formula, fractions=fractions_of_formula(formula))
        return first_labels(goal, material, [highest_k])[0]

    assert 20 <= labels("Si") <= 25  # 16 to 20 beside the atom and its dimers
    assert labels("Si", highest_k=1700.0) == labels("Si", "liquid") > labels("Si")
    assert labels("Si", "crystal", 1700.0) == labels("Si")
    assert labels("Si") < labels("SiC") < labels("SrTiO3")


def test_more_candidates_come_in_the_same_shares() -> None:
    plan, _ = default_generation(16, [300.0], 15, "solid_solution")
    counts = np.array([item.count for batch in plan.batches for item in batch])
    large = scaled(plan, 2400)
    more = np.array([item.count for batch in large.batches for item in batch])
    assert 2400 <= more.sum() < 2400 + len(more)
    assert np.allclose(more / more.sum(), counts / counts.sum(), atol=0.005)
    assert scaled(plan, 5) == plan


def test_atoms_and_dimers_are_always_labelled_and_never_crowd_out_the_rest() -> None:
    assert atoms_and_dimers("element", 1) == atoms_and_dimers("element", 1, 23) == 1 + 4
    assert atoms_and_dimers("compound", 2) == atoms_and_dimers("compound", 2, 35) == 2 + 3 * 3
    assert atoms_and_dimers("compound", 2, 24) == 2 + 2 * 3
    assert atoms_and_dimers("molecule", 3) == 3 + 1 * 6
    assert atoms_and_dimers("solid_solution", 5) == 5 + 1 * 15
    for elements in range(1, 7):  # a small budget: the atoms alone are left
        assert atoms_and_dimers("compound", elements, 8) - elements <= 0.34 * 8
        assert atoms_and_dimers("compound", elements, 8) >= elements


@pytest.mark.parametrize(("material", "swapped"), [("NaCl", False), ("SiC", True)])
def test_ions_of_opposite_charge_do_not_swap(material: str, swapped: bool) -> None:
    plan, reasons = derive(UserInput.model_validate({"material": material}), cores=2)
    names = {item.name for batch in plan.generation.batches for item in batch}
    assert ("antisite" in names) == swapped
    assert ("antisite left out" in reasons["generation.batches"]) != swapped
