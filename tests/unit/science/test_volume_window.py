"""Properties of a crystal whose start, the surrogate's, has another volume than DFT's: the first
answers say where DFT's is, and what follows is asked there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa
from scipy.optimize import brentq

from mlip_autopipec.base.labels import Label
from mlip_autopipec.science.properties.elastic import ElasticConstants
from mlip_autopipec.science.properties.equation_of_state import LatticeAndBulkModulus
from mlip_autopipec.science.properties.port import (
    Answer,
    Comparison,
    Found,
    Known,
    Property,
    Subject,
    evaluated,
)
from mlip_autopipec.science.properties.window import (
    pressure_gpa_of,
    smallest_cell,
    volume_at_pressure,
    volume_per_atom,
)
from mlip_autopipec.testing.contracts.property import Stiffer

OFF = [-0.15, -0.065, -0.02, 0.0, 0.02, 0.065, 0.15]


def copper(off: float, a: float = 3.5898) -> Atoms:
    """The cube of copper at (1 + off) times its volume."""
    return bulk("Cu", a=a * (1 + off) ** (1 / 3), cubic=True)


def pressure_gpa(a: float) -> float:
    atoms = bulk("Cu", a=a)
    atoms.calc = EMT()
    return -float(np.mean(atoms.get_stress()[:3])) / GPa


def asked(item: Property, start: Atoms, *, stress: bool = True) -> tuple[Known, list[int]]:
    """Everything that the property asks, answered by effective-medium theory, and the number of
    calculations step by step.
    """
    known, steps = Known(start), []
    while questions := item.structures(known):
        steps.append(len(questions))
        empty = Label(0.0, np.zeros((1, 3)), None, "method", 1, 0.0)
        probes = tuple(Answer(question.candidate, empty) for question in questions)
        new = evaluated(replace(known, answers=probes), EMT()).answers
        if not stress:
            new = tuple(
                replace(answer, label=replace(answer.label, stress=None))
                for answer in new
                if answer.label is not None
            )
        known = replace(known, answers=(*known.answers, *new))
    return known, steps


def values_of(item: Property, known: Known) -> dict[str, float]:
    found = item.from_labels(known)
    assert isinstance(found, Found), found
    return {key: value for key, value in found.values.items() if value is not None}


@pytest.mark.parametrize("off", OFF)
def test_a_wrong_volume_of_the_surrogate_costs_a_call_or_two_and_no_accuracy(off: float) -> None:
    item = LatticeAndBulkModulus.planned(Subject("crystal"))[0]
    known, steps = asked(item, copper(off))
    values = values_of(item, known)
    assert values["lattice_constant_a"] == pytest.approx(brentq(pressure_gpa, 3.4, 3.8), rel=2e-4)
    assert values["bulk_modulus_gpa"] == pytest.approx(134.4, rel=0.003)
    assert sum(steps) <= item.calls == 9
    if abs(off) <= 0.02:
        assert steps == [2, 5]
    assert {len(answer.atoms) for answer in known.answers} == {1}  # the primitive cell


@pytest.mark.parametrize("off", OFF)
def test_how_far_the_surrogates_volume_is_off_is_told_by_a_whole_equation_of_state(
    off: float,
) -> None:
    item = LatticeAndBulkModulus.planned(Subject("crystal"))[0]
    known, _ = asked(item, copper(off))
    volume = brentq(pressure_gpa, 3.4, 3.8) ** 3 / 4
    ratio = item.volume_ratio(known)
    assert ratio == pytest.approx(volume / volume_per_atom(known.start), rel=6e-4)
    assert item.volume_ratio(replace(known, answers=known.answers[:6])) is None


@pytest.mark.parametrize("off", [-0.065, 0.0, 0.065])
def test_labels_without_stress_are_re_centred_by_their_energies(off: float) -> None:
    item = LatticeAndBulkModulus.planned(Subject("crystal"))[0]
    known, steps = asked(item, copper(off), stress=False)
    assert values_of(item, known)["bulk_modulus_gpa"] == pytest.approx(134.4, rel=0.01)
    assert sum(steps) <= item.calls


def test_the_window_lies_around_dfts_volume_and_the_potential_is_asked_there() -> None:
    item = LatticeAndBulkModulus.planned(Subject("crystal"))[0]
    known, _ = asked(item, copper(0.065))
    for found in (item.from_labels(known), item.from_calculator(known, EMT())):
        assert isinstance(found, Found)
        volumes = np.array(found.details["volumes_a3_per_atom"]) / volume_per_atom(copper(0.0))
        assert volumes.min() == pytest.approx(0.94, abs=0.01)
        assert volumes.max() == pytest.approx(1.06, abs=0.01)
        assert len(volumes) == 7  # that at +11 % tells where to look, and is not fitted


@pytest.mark.parametrize("pressure", [-3.0, 20.0, 60.0])
def test_under_pressure_the_cell_has_that_pressure_and_its_own_bulk_modulus(
    pressure: float,
) -> None:
    item, reasons = LatticeAndBulkModulus.planned(Subject("crystal", pressure_gpa=pressure))
    assert "pressure_gpa" in reasons and item.model_dump()["pressure_gpa"] == pressure
    values = values_of(item, asked(item, copper(0.0))[0])
    a = brentq(lambda a: pressure_gpa(a) - pressure, 3.1, 3.8)
    assert values["lattice_constant_a"] == pytest.approx(a, rel=3e-4)
    slope = (pressure_gpa(a * 1.002) - pressure_gpa(a * 0.998)) / (3 * 0.004)
    assert values["bulk_modulus_gpa"] == pytest.approx(-slope, rel=0.02)


@pytest.mark.parametrize("off", OFF)
def test_elastic_constants_are_those_of_dfts_own_volume(off: float) -> None:
    item = ElasticConstants()
    known, steps = asked(item, copper(off))
    assert steps == ([2, 2] if abs(off) < 0.01 else [2, 4])
    expected = values_of(item, asked(item, copper(0.0))[0])
    assert values_of(item, known) == pytest.approx(expected, rel=0.02 if abs(off) < 0.1 else 0.04)
    stiffer = item.from_calculator(known, Stiffer(EMT(), 1.2))
    assert isinstance(stiffer, Found)
    errors = [value.error for value in item.values(Comparison(item.from_labels(known), stiffer))]
    assert errors == pytest.approx([0.2, 0.2, 0.2])


def test_elastic_constants_under_pressure() -> None:
    item = ElasticConstants.planned(Subject("crystal", pressure_gpa=20.0))[0]
    known, _ = asked(item, copper(0.0))
    pressures = [pressure_gpa_of(label) for _, label in known.labelled[2:]]
    assert pressures == pytest.approx([20.0] * 4, abs=3.0)
    assert values_of(item, known)["c11_gpa"] > 1.2 * 170


def test_what_a_lost_first_answer_leaves_is_asked_around_the_start() -> None:
    for item, rest in ((LatticeAndBulkModulus.planned(Subject("crystal"))[0], 5),
                       (ElasticConstants(), 2)):  # fmt: skip
        known, _ = asked(item, copper(0.0))
        lost = replace(known.answers[0], label=None)
        assert len(item.structures(replace(known, answers=(lost, known.answers[1])))) == rest


def test_murnaghan_gives_back_the_volume_of_its_pressures() -> None:
    volumes = np.array([9.0, 10.0, 11.5])
    pressures = 90 / 4 * ((10.0 / volumes) ** 4 - 1)
    assert volume_at_pressure(volumes, pressures, 0.0) == pytest.approx(10.0)
    at_8 = 90 / 4 * ((10.0 / 8.0) ** 4 - 1)
    assert volume_at_pressure(volumes, pressures, at_8) == pytest.approx(8.0)
    assert volume_at_pressure(volumes, -pressures, 0.0) is None  # rising: nothing holds together
    assert volume_at_pressure([10.0], [0.0], 0.0) is None
    assert volume_at_pressure(volumes, pressures, 1e4) == pytest.approx(0.8 * 9.0)  # not believed


def test_a_crystal_with_moments_keeps_the_cell_of_their_order() -> None:
    iron = bulk("Fe", cubic=True)
    assert smallest_cell(iron).get_initial_magnetic_moments().tolist() == [2.3]
    iron.set_initial_magnetic_moments([2.0, -2.0])
    kept = smallest_cell(iron)
    assert kept.get_initial_magnetic_moments().tolist() == [2.0, -2.0]
