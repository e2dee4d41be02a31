"""How many candidates of which kind are proposed for a material by default."""

from __future__ import annotations

import numpy as np
import pytest

from mlip_autopipec.config.derive.generation import (
    Form,
    atoms_and_dimers,
    default_generation,
    form_of,
    scaled,
)
from mlip_autopipec.science import generation


@pytest.mark.parametrize("kind", ["metal", "semiconductor", "insulator"])
@pytest.mark.parametrize("max_atoms, labels", [(32, 30), (16, 12), (4, 30)])
def test_the_default_generation_is_sane(kind: str, max_atoms: int, labels: int) -> None:
    plan, reasons = default_generation(kind, max_atoms, [300.0, 1000.0], labels)
    items = [item for batch in plan.batches for item in batch]
    assert {item.name for item in items} <= set(generation.STRATEGIES)
    assert len(plan.batches) == 2
    assert 4 * labels <= sum(item.count for item in items) <= max(60, 9 * labels)
    assert all(int(item.options.get("max_atoms", 1)) <= max_atoms for item in items)
    forced = sum(item.count for item in items if item.name == "prototypes")
    assert forced <= labels / 2
    assert ("melt_quench" in {item.name for item in items}) == (kind != "insulator")
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
        plan, reasons = default_generation("metal", 32, [300.0, 900.0], 36, form)
        items = [item for batch in plan.batches for item in batch]
        assert {item.name for item in items} == names <= set(generation.STRATEGIES)
        assert 0.85 * 252 <= sum(item.count for item in items) <= 1.05 * 252
        assert {f"generation.batches.{name}" for name in names} <= set(reasons)
        assert not any("{" in reason for reason in reasons.values())


def test_an_element_costs_what_it_did_before() -> None:
    """Its mix is measured: the few interstitials come on top within the same seven candidates for
    each label.
    """
    plan, _ = default_generation("semiconductor", 32, [300.0, 900.0], 36)
    counts = [
        {item.name: (item.count, dict(item.options)) for item in batch} for batch in plan.batches
    ]
    assert counts == [
        {
            "atoms_and_dimers": (5, {}),
            "prototypes": (6, {}),
            "strain": (60, {"max_atoms": 8}),
            "rattle": (50, {"max_atoms": 16}),
            "vacancy": (15, {"max_atoms": 16}),
            "thermal": (30, {"max_atoms": 16}),
            "interstitial": (4, {"max_atoms": 16}),
        },
        {"melt_quench": (86, {"max_atoms": 16})},
    ]
    assert sum(count for batch in counts for count, _ in batch.values()) <= 7 * 36 + 5


def test_more_candidates_come_in_the_same_shares() -> None:
    plan, _ = default_generation("metal", 16, [300.0], 15, "solid_solution")
    counts = np.array([item.count for batch in plan.batches for item in batch])
    large = scaled(plan, 2400)
    more = np.array([item.count for batch in large.batches for item in batch])
    assert 2400 <= more.sum() < 2400 + len(more)
    assert np.allclose(more / more.sum(), counts / counts.sum(), atol=0.005)
    assert scaled(plan, 5) == plan


def test_atoms_and_dimers_are_always_labelled_and_never_crowd_out_the_rest() -> None:
    assert atoms_and_dimers("element", 1, 23) == 1 + 4
    assert atoms_and_dimers("compound", 2, 36) == 2 + 2 * 3
    assert atoms_and_dimers("compound", 2, 40) == 2 + 3 * 3
    assert atoms_and_dimers("molecule", 3, 40) == 3 + 1 * 6
    assert atoms_and_dimers("solid_solution", 5, 200) == 5 + 1 * 15
    for elements in range(1, 7):  # a small budget: the atoms alone are left
        assert atoms_and_dimers("compound", elements, 8) - elements <= 0.3 * 8
        assert atoms_and_dimers("compound", elements, 8) >= elements
