"""The screen keeps what DFT can use and says why it drops the rest."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.calculators.emt import EMT
from ase.data import covalent_radii

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.contacts import closest_contact
from mlip_autopipec.science.screening import Limits, composition, screen


def _candidate(atoms: Atoms, name: str = "x") -> Candidate:
    return Candidate(atoms, Provenance("test", name))


def _copper(**changes: float) -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.positions[0, 0] += changes.get("dx", 0.0)
    return atoms


def test_contact_is_measured_in_sums_of_covalent_radii_and_through_the_boundary() -> None:
    distance = 0.9 * 2 * covalent_radii[14]
    # The two atoms meet across the face of the cell, not inside it.
    atoms = Atoms(
        "Si2", positions=[[0.1, 5, 5], [10.1 - distance, 5, 5]], cell=[10, 10, 10], pbc=True
    )
    assert closest_contact(atoms) == pytest.approx(0.9)
    atoms.pbc = False
    assert closest_contact(atoms) == np.inf


def test_hydrogen_may_come_nearer() -> None:
    distance = 0.65 * (covalent_radii[1] + covalent_radii[8])
    atoms = Atoms("OH", positions=[[0, 0, 0], [distance, 0, 0]], cell=[8, 8, 8], pbc=True)
    assert closest_contact(atoms) > 0.7
    heavy = Atoms(
        "OC", positions=[[0, 0, 0], [0.65 * (covalent_radii[6] + covalent_radii[8]), 0, 0]]
    )
    assert closest_contact(heavy) == pytest.approx(0.65)


def test_each_limit_rejects_with_its_own_reason() -> None:
    near, pushed, stretched = _copper(dx=1.6), _copper(dx=0.7), _copper()
    stretched.set_cell(stretched.cell * 1.6, scale_atoms=True)
    candidates = [_candidate(item) for item in (_copper(), near, pushed, stretched)]
    result = screen(
        candidates,
        EMT(),
        Limits(0.7, max_force_ev_per_a=4.0, max_energy_above_lowest_ev_per_atom=2.0),
    )
    assert [verdict.kind for verdict in result.verdicts] == [
        None,
        "too_close",
        "large_force",
        "high_energy",
    ]
    assert result.accepted == [candidates[0]]
    assert result.reasons() == {"high_energy": 1, "large_force": 1, "too_close": 1}
    assert "limit 4" in str(result.rejected[1].reason)
    assert not result.geometry_only


def test_energy_is_compared_with_the_relaxed_start_too() -> None:
    """A batch of bad structures alone must not raise its own bar."""
    stretched = _copper()
    stretched.set_cell(stretched.cell * 1.6, scale_atoms=True)
    alone = screen([_candidate(stretched)], EMT(), Limits())
    assert alone.reasons() == {}
    known = screen([_candidate(stretched)], EMT(), Limits(), {composition(stretched): 0.0})
    assert known.reasons() == {"high_energy": 1}


def test_energies_of_other_compositions_do_not_count() -> None:
    mixed = _copper()
    mixed.symbols[0] = "Au"
    assert composition(mixed) != composition(_copper())
    result = screen([_candidate(mixed)], EMT(), Limits(), {composition(_copper()): -50.0})
    assert result.reasons() == {}


def test_without_a_surrogate_only_geometry_is_judged_and_it_says_so() -> None:
    result = screen(
        [_candidate(_copper(dx=0.7)), _candidate(_copper(dx=1.6))],
        None,
        Limits(max_force_ev_per_a=0.1),
    )
    assert [verdict.kind for verdict in result.verdicts] == [None, "too_close"]
    assert result.geometry_only


def test_a_failed_surrogate_rejects_the_candidate_but_a_bug_is_not_hidden() -> None:
    class Refuses(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, *args: object, **kwargs: object) -> None:
            raise CalculationFailed("no neighbour")

    class Broken(Refuses):
        def calculate(self, *args: object, **kwargs: object) -> None:
            raise ZeroDivisionError

    assert screen([_candidate(_copper())], Refuses(), Limits()).reasons() == {"surrogate_failed": 1}
    with pytest.raises(ZeroDivisionError):
        screen([_candidate(_copper())], Broken(), Limits())


def test_each_candidate_is_evaluated_once() -> None:
    class Counting(EMT):
        calls = 0

        def calculate(self, *args: object, **kwargs: object) -> None:
            Counting.calls += 1
            super().calculate(*args, **kwargs)

    screen([_candidate(_copper(dx=0.1 * n)) for n in range(3)], Counting(), Limits())
    assert Counting.calls == 3


def test_energies_are_compared_by_the_atom_whatever_the_size_of_the_cell() -> None:
    """The same strained crystal in cells of 4 and 32 atoms lies as far above the relaxed one."""
    strained = bulk("Cu", cubic=True)
    strained.set_cell(strained.cell * 1.15, scale_atoms=True)
    cells = [bulk("Cu", cubic=True), strained, strained * (2, 2, 2)]
    limits = Limits(0.5, max_energy_above_lowest_ev_per_atom=1.0)
    result = screen([_candidate(atoms) for atoms in cells], EMT(), limits)
    assert [verdict.kind for verdict in result.verdicts] == [None, None, None]
    _, small, large = (verdict.energy_ev_per_atom for verdict in result.verdicts)
    assert small == pytest.approx(large)
    strained.calc = EMT()
    assert small == pytest.approx(strained.get_potential_energy() / 4)
