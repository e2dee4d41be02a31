"""Spin where it is needed, whatever the crystals of the campaign do; and one method for all."""

from __future__ import annotations

from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pw_input_for_tests import PRIMITIVE, entries, method

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.quantum_espresso.inputs import write_input
from mlip_autopipec.engines.dft.quantum_espresso.spin import unpaired

VALENCE = {
    "H": 1.0, "C": 4.0, "O": 6.0, "Na": 9.0, "Mg": 10.0, "Al": 3.0, "Si": 4.0, "Cl": 7.0,
    "Fe": 16.0, "Eu": 11.0,
}  # fmt: skip


def said(atoms: Atoms, **changes: Any) -> dict[str, str]:
    job = LabelJob(atoms, method(*VALENCE, **changes))
    return entries(write_input(job, z_valence=VALENCE, max_seconds=10))


def boxed(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.center(vacuum=5.0)
    return copy


@pytest.mark.parametrize(
    ("symbol", "unpaired_electrons"),
    [("H", 1), ("C", 2), ("O", 2), ("Na", 1), ("Al", 1), ("Si", 2), ("Cl", 1)],
)
def test_a_free_atom_has_the_multiplicity_of_its_ground_state(
    symbol: str, unpaired_electrons: int
) -> None:
    found = said(boxed(Atoms(symbol)))
    assert (found["nspin"], found["occupations"]) == ("2", "'fixed'") and "degauss" not in found
    assert float(found["conv_thr"].replace("d", "e")) == 1e-5
    assert float(found["tot_magnetization"]) == unpaired_electrons
    assert float(found["starting_magnetization(1)"]) == pytest.approx(
        unpaired_electrons / VALENCE[symbol], abs=1e-6
    )


def test_a_closed_shell_needs_no_spin_and_an_open_d_shell_smearing() -> None:
    closed = said(boxed(Atoms("Mg")))
    assert "nspin" not in closed and "tot_magnetization" not in closed
    iron = said(boxed(Atoms("Fe")), smearing="mv")
    assert (iron["occupations"], iron["smearing"]) == ("'smearing'", "'gaussian'")
    assert float(iron["tot_magnetization"]) == 4


def test_a_frozen_f_shell_leaves_no_moment_that_its_electrons_cannot_have() -> None:
    assert (unpaired("Eu", 17.0), unpaired("Eu", 10.0)) == (7, 0)
    assert (unpaired("Gd", 18.0), unpaired("Gd", 11.0)) == (8, 1)


def test_a_free_pair_starts_from_the_moments_of_its_atoms_and_finds_its_own() -> None:
    found = said(boxed(Atoms("SiNa", positions=[[0, 0, 0], [0, 0, 2.8]])), smearing="mv")
    assert (found["nspin"], found["smearing"]) == ("2", "'gaussian'")
    assert "tot_magnetization" not in found
    assert float(found["starting_magnetization(1)"]) == pytest.approx(0.5 / 9, abs=1e-6)
    assert float(found["starting_magnetization(2)"]) == 0.25
    assert "nspin" not in said(boxed(Atoms("Mg2", positions=[[0, 0, 0], [0, 0, 3.9]])))


def test_an_odd_electron_is_unpaired_where_nothing_shares_it() -> None:
    assert float(said(boxed(molecule("CH3")))["tot_magnetization"]) == 1
    assert "nspin" not in said(boxed(molecule("CH4")))
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    assert "nspin" not in said(salt)
    del salt[1]
    assert float(said(salt)["tot_magnetization"]) == 1
    for smearing in ("mv", "gaussian"):
        assert "nspin" not in said(bulk("Al", a=4.05), smearing=smearing)
        assert "nspin" not in said(PRIMITIVE, smearing=smearing)


def test_spin_where_it_is_needed_is_no_other_method() -> None:
    crystal = LabelJob(PRIMITIVE, method("Si"))
    assert LabelJob(boxed(Atoms("Si")), method("Si")).method_hash == crystal.method_hash
