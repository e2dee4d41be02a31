"""What earlier versions stored of properties is read as it was meant: plans, tasks and results from
before properties had names.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.config.plan import Plan, Validation
from mlip_autopipec.config.upgrade import upgraded
from mlip_autopipec.science.properties import property_class, stored
from mlip_autopipec.science.properties.elastic import ElasticConstants
from mlip_autopipec.science.properties.equation_of_state import LatticeAndBulkModulus
from mlip_autopipec.science.properties.molecule import MoleculeAtRest
from mlip_autopipec.science.properties.port import Comparison, Found

FIT = {
    "volume_a3_per_atom": 20.0,
    "energy_ev_per_atom": -107.0,
    "bulk_modulus_gpa": 88.0,
    "bulk_modulus_derivative": 4.2,
    "residual_mev_per_atom": 0.1,
}
CRYSTAL = {
    "lattice_constant_a": {"potential": None, "dft": 5.43},
    "bulk_modulus_gpa": {"potential": None, "dft": 88.0},
    "eos": {
        "fits": {"dft": {**FIT, "lattice_constant_a": 5.43}, "potential": {"failure": "nowhere"}},
        "volumes_a3_per_atom": [19.0, 20.0, 21.0],
        "dft_ev_per_atom": [-106.9, -107.0, -106.9],
        "potential_ev_per_atom": [-106.8, -106.9, -107.0],
        "gamma_max": [1.0, 1.0, 1.0],
    },
}
MOLECULE = {
    "geometry_rmsd_a": 0.01,
    "frequency_rmse_per_cm": 12.0,
    "molecule": {
        "failure": None,
        "frequencies_per_cm": {"dft": [500.0], "potential": [512.0], "surrogate": [490.0]},
        "bonds_a": [{"bond": "H-O", "count": 2, "dft": 0.97, "potential": 0.98}],
        "largest_bond_error_a": 0.01,
        "largest_angle_error_deg": 0.4,
        "dft_force_at_rest_ev_per_a": 0.02,
        "last_dft_step_a": 0.003,
        "force_rmse_at_rest_mev_per_a": 30.0,
    },
}


def test_the_result_of_a_crystal() -> None:
    found = stored.comparisons(CRYSTAL)
    assert list(found) == ["equation_of_state"]
    item = LatticeAndBulkModulus(eos_strains=[0.0])
    lattice, modulus = item.values(found["equation_of_state"])
    assert (lattice.potential, lattice.dft) == (None, 5.43)
    assert (modulus.potential, modulus.dft) == (None, 88.0)
    shown = item.shown(found["equation_of_state"])
    assert shown.notes == ("No value by the potential: nowhere.",)
    assert shown.chart is not None
    drawn = [(line.source, line.style) for line in shown.chart.lines]
    assert drawn == [("dft", "points"), ("dft", "line"), ("dft", "mark"), ("potential", "points")]
    assert shown.chart.lines[0].y == pytest.approx([100.0, 0.0, 100.0])
    assert stored.molecule_of_summary(CRYSTAL) is None


def test_the_result_of_a_molecule() -> None:
    found = stored.comparisons(MOLECULE)
    assert list(found) == ["molecule"]
    geometry, frequencies = MoleculeAtRest(modes=1).values(found["molecule"])
    assert (geometry.error, frequencies.error) == (0.01, 12.0)
    shown = MoleculeAtRest(modes=1).shown(found["molecule"])
    assert shown.table is not None
    assert [row[:3] for row in shown.table.rows] == [
        ("H-O, mean of 2", "0.9800 Å", "0.9700 Å"),
        ("vibration 1", "512 1/cm", "500 1/cm"),
    ]
    # The summary says what it said.
    expected = {**{k: v for k, v in MOLECULE.items() if k != "molecule"}, **MOLECULE["molecule"]}  # type: ignore[dict-item]
    assert stored.molecule_of_summary(MOLECULE) == expected


def test_todays_result_is_read_back_as_it_was() -> None:
    found = {
        "elastic": Comparison(Found({"c11_gpa": 170.0}, {"stable": True}), Found(failure="none")),
        "equation_of_state": Comparison(None, None),
    }
    result = json.loads(json.dumps(stored.comparisons_to_json(found)))
    assert stored.comparisons(result) == found


def test_tasks() -> None:
    assert stored.labels_of({"eos_labels": ["a", "b"]}) == {"equation_of_state": ["a", "b"]}
    assert stored.labels_of({"molecule_labels": ["a"], "modes": "g"}) == {"molecule": ["a"]}
    assert stored.labels_of({"labels": {"elastic": ["a"]}}) == {"elastic": ["a"]}
    assert stored.source_of({"eos_labels": []}) is None
    assert stored.source_of({"molecule_labels": [], "modes": "g"}) == "g"
    assert stored.source_of({"labels": {}, "source": "s"}) == "s"
    assert stored.prepared({"modes": {"imaginary": 0}}) == {"molecule": {"imaginary": 0}}
    assert stored.prepared({"prepared": {"own": 1}}) == {"own": 1}
    assert stored.prepared({}) == {}


def test_plans(stored_run: Path) -> None:
    written = json.loads((stored_run / "plan.json").read_text())
    plan = Plan.model_validate(upgraded(written, "plan.json"))
    assert list(plan.validation.each) == ["equation_of_state"]
    assert plan.model_dump(mode="json")["validation"] == written["validation"]
    molecule = Validation.model_validate({"modes": 2, "geometry_tolerance_a": 0.05})
    assert molecule.each == {"molecule": MoleculeAtRest(modes=2, geometry_tolerance_a=0.05)}
    assert molecule.model_dump(mode="json") == {
        "modes": 2,
        "geometry_tolerance_a": 0.05,
        "frequency_tolerance_per_cm": 50.0,
    }


def test_several_properties_are_stored_by_their_names() -> None:
    data = {"properties": {"elastic": {"strain": 0.02}, "equation_of_state": {"eos_strains": [0]}}}
    found = Validation.model_validate(data)
    assert found.each["elastic"] == ElasticConstants(strain=0.02)
    stored_again = json.loads(json.dumps(found.model_dump(mode="json")))
    assert stored_again["properties"]["elastic"] == {"strain": 0.02, "tolerance": 0.1}
    assert Validation.model_validate(stored_again) == found
    alone = Validation.model_validate({"properties": {"elastic": {}}})
    assert Validation.model_validate(alone.model_dump(mode="json")) == alone


def test_a_property_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'elastic'"):
        property_class("elastics")
