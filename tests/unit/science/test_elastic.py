"""Elastic constants: against curvatures of the energy, in axes that are turned, and what symmetry
leaves of them.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.units import GPa
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.science.properties.calls import expected_calls
from mlip_autopipec.science.properties.elastic import (
    ElasticConstants,
    Stiffness,
    deformed,
    rotated,
    stiffness_of,
)
from mlip_autopipec.science.properties.port import Answer, Comparison, Found, Known, evaluated

# At rest by effective-medium theory, so that stress and energy give the same constants.
COPPER = bulk("Cu", a=3.5900, cubic=True)
ALUMINIUM = bulk("Al", a=3.9949, cubic=True)


def found_by(crystal: Atoms, calculator: Calculator, item: ElasticConstants | None = None) -> Found:
    item = item or ElasticConstants()
    found = item.from_calculator(answered(crystal, calculator, item), calculator)
    assert isinstance(found, Found), found
    return found


def answered(crystal: Atoms, calculator: Calculator, item: ElasticConstants) -> Known:
    """All that the property asks, step by step."""
    known = Known(crystal)
    while asked := item.structures(known):
        bare = tuple(Answer(question.candidate, nothing()) for question in asked)
        new = evaluated(Known(crystal, answers=bare), calculator).answers
        known = Known(crystal, answers=(*known.answers, *new))
    return known


def nothing() -> Label:
    return Label(0.0, np.zeros((1, 3)), None, "method", 1, 0.0)


def curvature_gpa(crystal: Atoms, one: int, other: int, calculator: Calculator) -> float:
    """C as the second derivative of the energy by strains, per volume, written independently."""
    step = 4e-3

    def energy(a: float, b: float) -> float:
        strain = np.zeros(6)
        strain[one] += a
        strain[other] += b
        exx, eyy, ezz, gyz, gxz, gxy = strain
        tensor = np.array(
            [
                [exx, gxy / 2, gxz / 2],
                [gxy / 2, eyy, gyz / 2],
                [gxz / 2, gyz / 2, ezz],
            ]
        )
        atoms = crystal.copy()
        atoms.set_cell(crystal.cell.array @ (np.eye(3) + tensor), scale_atoms=True)
        atoms.calc = calculator
        return float(atoms.get_potential_energy())

    terms = (energy(step, step), energy(step, -step), energy(-step, step), energy(-step, -step))
    second = (terms[0] - terms[1] - terms[2] + terms[3]) / (4 * step**2)
    return second / crystal.get_volume() / GPa


@pytest.mark.parametrize("crystal", [COPPER, ALUMINIUM], ids=["Cu", "Al"])
def test_stress_and_curvature_of_the_energy_give_the_same_constants(crystal: Atoms) -> None:
    values = found_by(crystal, EMT()).values
    assert list(values) == ["c11_gpa", "c12_gpa", "c44_gpa"]
    for key, one, other in (("c11_gpa", 0, 0), ("c12_gpa", 0, 1), ("c44_gpa", 3, 3)):
        assert values[key] == pytest.approx(curvature_gpa(crystal, one, other, EMT()), rel=0.02)


def test_the_constants_of_copper_make_its_bulk_modulus() -> None:
    """(C11 + 2 C12) / 3 is that of the equation of state (134 GPa by effective-medium theory)."""
    values = found_by(COPPER, EMT()).values
    modulus = (float(values["c11_gpa"] or 0) + 2 * float(values["c12_gpa"] or 0)) / 3
    assert modulus == pytest.approx(134, rel=0.02)


def test_central_forces_obey_cauchy() -> None:
    """Pair forces in a cubic lattice: C12 = C44 where there is no pressure."""
    calculator = LennardJones(rc=6.0, smooth=True, ro=5.0)

    def pressure(a: float) -> float:
        crystal = bulk("Ar", "fcc", a=a, cubic=True)
        crystal.calc = calculator
        return float(crystal.get_stress()[0])

    at_rest = bulk("Ar", "fcc", a=brentq(pressure, 1.5, 1.6), cubic=True)
    values = found_by(at_rest, calculator, ElasticConstants(strain=0.002)).values
    assert values["c12_gpa"] == pytest.approx(values["c44_gpa"], rel=1e-3)
    assert float(values["c11_gpa"] or 0) > 1.5 * float(values["c12_gpa"] or 0)


@pytest.mark.parametrize("angles", [(45, 0, 0), (30, 20, 50), (90, 0, 90)])
def test_the_tensor_turns_with_the_crystal(angles: tuple[float, float, float]) -> None:
    """All 21 entries in turned axes: wrong signs or another order of Voigt's would show here."""
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    turned = COPPER.copy()
    turned.set_cell(COPPER.cell.array @ turn.T, scale_atoms=True)
    straight, crooked = (full_stiffness(atoms) for atoms in (COPPER, turned))
    tensor = np.zeros((3, 3, 3, 3))
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    for (a, (i, j)), (b, (k, m)) in itertools.product(enumerate(pairs), repeat=2):
        for p, q in {(i, j), (j, i)}:
            for r, s in {(k, m), (m, k)}:
                tensor[p, q, r, s] = straight[a, b]
    expected = np.einsum("ai,bj,ck,dm,ijkm->abcd", turn, turn, turn, turn, tensor)
    by_voigt = np.array([[expected[i, j, k, m] for k, m in pairs] for i, j in pairs])
    assert crooked == pytest.approx(by_voigt, abs=0.3)
    assert rotated(straight, turn) == pytest.approx(by_voigt, abs=1e-9)
    form = Stiffness.allowed_by(turned)
    assert len(form.independent) == 3  # whatever the axes


def full_stiffness(crystal: Atoms) -> Any:
    """C (6, 6) without any knowledge of symmetry."""
    strains, stresses = [], []
    for axis, sign in itertools.product(range(6), (1, -1)):
        strain = 0.005 * sign * np.eye(6)[axis]
        atoms = deformed(crystal, strain)
        atoms.calc = EMT()
        strains.append(strain)
        stresses.append(atoms.get_stress() / GPa)
    triclinic = Atoms("HHeLi", positions=[[0, 0, 0], [0.3, 1, 0.2], [1.1, 0.2, 0.8]],
                      cell=[[3, 0, 0], [0.3, 4, 0], [0.4, 0.5, 5]], pbc=True)  # fmt: skip
    form = Stiffness.allowed_by(triclinic)
    assert len(form.independent) == 21 and form.strains() == list(range(6))
    matrix = stiffness_of(form, strains, stresses)
    assert matrix is not None
    return matrix


def test_a_crystal_given_in_other_axes_has_the_same_constants() -> None:
    turned = COPPER.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    primitive = bulk("Cu", a=3.5900)
    expected = found_by(COPPER, EMT()).values
    for crystal in (turned, primitive):
        assert found_by(crystal, EMT()).values == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("crystal", "constants", "calls"),
    [
        (bulk("Si", "diamond", a=5.43), "11 12 44", 4),
        (bulk("NaCl", "rocksalt", a=5.64), "11 12 44", 4),
        (bulk("Mg", "hcp", a=3.2, c=5.2), "11 12 13 33 44", 6),
        (bulk("In", "bct", a=3.25, c=4.95), "11 12 13 33 44 66", 8),
        (bulk("Bi", "rhombohedral", a=4.75, alpha=57.2), "11 12 13 14 33 44", None),
    ],
    ids=["diamond", "rocksalt", "hcp", "tetragonal", "trigonal"],
)
def test_symmetry_leaves_the_constants_of_the_textbook(
    crystal: Atoms, constants: str, calls: int | None
) -> None:
    item = ElasticConstants()
    calculator = LennardJones(sigma=2.5, rc=7.0, smooth=True, ro=6.0)
    asked = answered(crystal, calculator, item).answers
    if calls is not None:
        assert len(asked) in (calls, calls + 2)  # two more around another volume
    assert len(asked) <= item.calls
    if constants in ("11 12 44", "11 12 13 33 44"):
        assert abs(len(asked) - expected_calls(item)) <= 2, "what the plan's estimate counts"
    names = [key[1:3] for key in found_by(crystal, calculator).values]
    if constants.split()[3:4] == ["14"]:  # C14 or C15 by the choice of the axis x
        names = [name.replace("15", "14") for name in names]
    assert " ".join(names) == constants


def test_the_stress_of_the_start_does_not_matter() -> None:
    """All stresses higher by one and the same: what a cell off its minimum, or a small basis set,
    adds.
    """
    item = ElasticConstants()
    known = answered(COPPER, EMT(), item)
    shifted = []
    for answer, label in known.labelled:
        assert label.stress is not None
        stress = label.stress + np.array([0.01, 0.02, 0.03, 0.01, -0.01, 0.02])
        shifted.append(Answer(answer.candidate, Label(0.0, label.forces, stress, "method", 1, 0.0)))
    one, other = (
        item.from_labels(Known(COPPER, answers=answers))
        for answers in (known.answers, tuple(shifted))
    )
    assert isinstance(one, Found) and isinstance(other, Found)
    assert other.values == pytest.approx(one.values, abs=1e-6)


def test_what_the_labels_do_not_determine_is_a_failure() -> None:
    item = ElasticConstants()
    asked = item.structures(Known(COPPER))
    answers = tuple(Answer(question.candidate, nothing()) for question in asked)
    without = item.from_labels(Known(COPPER, answers=answers))
    assert isinstance(without, Failure) and "no stress" in without.message
    known = evaluated(Known(COPPER, answers=answers), EMT())
    few = item.from_labels(Known(COPPER, answers=known.answers[:2]))
    assert isinstance(few, Failure) and "too few" in few.message
    none = item.from_labels(Known(COPPER))
    assert isinstance(none, Failure)


def test_a_small_constant_is_judged_by_the_large_ones() -> None:
    dft = Found({"c11_gpa": 200.0, "c14_gpa": 4.0})
    ours = Found({"c11_gpa": 215.0, "c14_gpa": 7.0})
    large, small = ElasticConstants().values(Comparison(dft, ours))
    assert large.kind == "relative" and large.error == pytest.approx(0.075) and large.met
    assert small.kind == "absolute" and small.error == pytest.approx(3.0) and small.met
    assert small.tolerance == pytest.approx(4.0)
    (unknown,) = ElasticConstants().values(Comparison())
    assert unknown.potential is None and unknown.met is None


def test_an_unstable_crystal_is_told() -> None:
    item = ElasticConstants()
    dft = Found({}, {"stresses_gpa": [[1.0] * 6], "stable": True})
    ours = Found({}, {"stresses_gpa": [[2.0] * 6], "stable": False})
    shown = item.shown(Comparison(dft, ours))
    assert shown.chart is not None and "not stable" in shown.notes[0]
    assert item.shown(Comparison(dft, Found(failure="no stress"))).notes == (
        "No value by the potential: no stress.",
    )
