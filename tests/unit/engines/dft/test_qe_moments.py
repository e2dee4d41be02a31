"""Moments that the structure says, and those of an antiferromagnet by rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pw_input_for_tests import entries, method

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.commands.label.method import derive_dft
from mlip_autopipec.engines.dft.quantum_espresso.inputs import write_input
from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft.quantum_espresso.species import MOST_SPECIES, species_of
from mlip_autopipec.engines.dft.quantum_espresso.spin import state_problem
from mlip_autopipec.science.magnetic_order import alternating

VALENCE = {"Mn": 15.0, "O": 6.0, "Fe": 16.0, "Cr": 14.0}
MNO = bulk("MnO", "rocksalt", a=4.44, cubic=True)  # Mn O Mn O ...


def text(atoms: Atoms, **changes: Any) -> str:
    spin = {"spin_polarized": True, "starting_moments": {"Mn": 5.0, "Fe": 4.0, "Cr": 4.0}}
    job = LabelJob(atoms, method(*VALENCE, **{**spin, **changes}))
    return write_input(job, z_valence=VALENCE, max_seconds=10)


def antiferromagnet() -> Atoms:
    atoms = MNO.copy()
    atoms.set_initial_magnetic_moments([5, 0, 5, 0, -5, 0, -5, 0])
    return atoms


def test_opposite_moments_are_two_species_of_one_element() -> None:
    written = text(antiferromagnet())
    found = entries(written)
    assert found["ntyp"] == "3" and found["nspin"] == "2"
    starts = [float(found[f"starting_magnetization({i})"]) for i in (1, 2, 3)]
    assert starts == pytest.approx([5 / 15, -5 / 15, 0.0], abs=1e-6)
    card = written.partition("ATOMIC_SPECIES\n")[2].splitlines()[:3]
    assert [line.split()[0] for line in card] == ["Mn1", "Mn2", "O"]
    assert [line.split()[2] for line in card] == ["Mn.upf", "Mn.upf", "O.upf"]
    rows = written.partition("ATOMIC_POSITIONS angstrom\n")[2].splitlines()[:8]
    names = ["Mn1", "O", "Mn1", "O", "Mn2", "O", "Mn2", "O"]
    assert [row.split()[0] for row in rows] == names
    assert "nspin" not in entries(text(antiferromagnet(), spin_polarized=False))


def test_a_column_of_zeros_says_nothing() -> None:
    zeros = MNO.copy()
    zeros.set_initial_magnetic_moments([0.0] * 8)
    assert text(zeros) == text(MNO)
    assert not derive_dft([bulk("Si")]).dft.label_method()["spin_polarized"]


def test_the_moments_of_a_structure_make_the_method_spin_polarised() -> None:
    copper = bulk("Cu", a=3.6)
    copper.set_initial_magnetic_moments([0.5])
    found = derive_dft([copper])
    assert found.dft.label_method()["spin_polarized"] is True
    assert "which moments" in found.reasons["dft.method.spin_polarized"]


def test_many_different_moments_are_no_more_species_than_pw_takes() -> None:
    atoms = bulk("Mn", "fcc", a=3.6).repeat((3, 3, 3))
    atoms.set_initial_magnetic_moments(np.linspace(-13, 13, 27))
    species, names = species_of(atoms, moments=True)
    assert len(species) == 3 <= MOST_SPECIES and len(names) == 27
    assert [one.moment for one in species] == [7.0, 0.0, -7.0]


def test_atoms_of_other_moments_are_no_images_of_each_other() -> None:
    """Symmetry and k-points are those of the magnetic crystal: fewer rotations, more points."""
    plain, split = text(MNO), text(antiferromagnet())
    assert ".false." in entries(plain)["nosym"] and "nosym = .false." in split


def feo(repeats: tuple[int, int, int] = (1, 1, 1)) -> Atoms:
    cell = np.array([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]]) * 4.3
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), (0.75, 0.75, 0.75)]
    return Atoms("Fe2O2", scaled_positions=places, cell=cell, pbc=True).repeat(repeats)


def test_signs_alternate_through_straight_bridges() -> None:
    moments = alternating(feo(), {"Fe": 4.0})
    assert moments is not None and moments.tolist() == [4.0, -4.0, 0.0, 0.0]
    large = feo((2, 2, 2))
    big = alternating(large, {"Fe": 4.0})
    assert big is not None and abs(big.sum()) < 1e-9
    # Planes (111): iron atoms a cube's edge apart are opposite, along each of the three edges.
    iron = np.flatnonzero(big)
    for first in iron:
        for second in iron:
            if abs(large.get_distance(first, second, mic=True) - 4.3) < 0.01:
                assert big[first] == -big[second]
    bcc = alternating(bulk("Cr", "bcc", a=2.88, cubic=True), {"Cr": 4.0})
    assert bcc is not None and bcc.tolist() == [4.0, -4.0]
    assert alternating(bulk("FeO", "rocksalt", a=4.3), {"Fe": 4.0}) is None
    assert alternating(bulk("Si"), {"Fe": 4.0}) is None


def test_a_state_that_jumps_is_told_from_one_that_holds() -> None:
    job = LabelJob(feo(), method("Fe", "O", spin_polarized=True, magnetic_order="antiferro",
                                 starting_moments={"Fe": 4.0}))  # fmt: skip
    asked = Method.of_job(job)
    assert state_problem(job.atoms, asked, 0.0, 7.22) is None  # as pw.x found it
    assert "turned" in str(state_problem(job.atoms, asked, 8.0, 8.1))
    assert "lost" in str(state_problem(job.atoms, asked, 0.0, 0.0))
    ferro = asked.model_copy(update={"magnetic_order": "ferro"})
    assert state_problem(job.atoms, ferro, 0.0, 0.0) is None, "nobody asked for moments"
    own = feo()
    own.set_initial_magnetic_moments([4, 4, 0, 0])
    assert state_problem(own, ferro, 8.0, 8.1) is None
    assert state_problem(own, ferro, 0.0, 0.1) is not None


def test_the_order_of_a_method_starts_what_says_nothing_itself() -> None:
    found = entries(text(feo(), magnetic_order="antiferro"))
    starts = [float(found[f"starting_magnetization({i})"]) for i in (1, 2, 3)]
    assert starts == pytest.approx([0.25, -0.25, 0.0])
    own = feo()
    own.set_initial_magnetic_moments([4, 4, 0, 0])
    assert entries(text(own, magnetic_order="antiferro"))["ntyp"] == "2"
