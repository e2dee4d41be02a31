"""What a user asks of the method reaches pw.in and its hash, and changes no older method."""

from __future__ import annotations

from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from pw_input_for_tests import PRIMITIVE, entries, method

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.values import content_hash
from mlip_autopipec.commands.label.method import derive_dft
from mlip_autopipec.engines.dft.quantum_espresso.inputs import write_input
from mlip_autopipec.engines.dft.quantum_espresso.method import LATER, Method, check_family

#: As it lies in run folders since the first labels.
STORED = {
    "engine": "quantum_espresso", "functional": "PBE",
    "pseudo_family": "PseudoDojo/0.5/PBE/SR/standard", "pseudos": {"Si": "Si.upf"},
    "pseudo_sha256": {"Si": "0" * 64}, "cutoff_ry": 28.0, "rho_cutoff_ry": 112.0,
    "kspacing_per_a": 0.36, "kmesh_shifted": True, "occupations": "smearing",
    "smearing": "gaussian", "degauss_ry": 0.01, "spin_polarized": False, "starting_moments": {},
    "conv_thr_ry_per_atom": 1e-09,
}  # fmt: skip
STORED_HASH = content_hash(STORED)

VALENCE = {"Si": 4.0, "Ni": 18.0, "O": 6.0, "H": 1.0, "Li": 3.0, "F": 7.0, "Al": 3.0}


def text(atoms: Atoms, version: tuple[int, int] | None = None, **changes: Any) -> str:
    job = LabelJob(atoms, method(*VALENCE, **changes))
    return write_input(job, z_valence=VALENCE, max_seconds=10, version=version)


def test_a_stored_method_says_and_hashes_what_it_did() -> None:
    job = LabelJob(PRIMITIVE, STORED)
    read = Method.of_job(job)
    assert {"engine": "quantum_espresso", **read.model_dump(mode="json")} == STORED
    plan = derive_dft([PRIMITIVE], settings={"kspacing_per_a": "0.36"}).dft
    assert not set(plan.label_method()) & set(LATER)
    changed = plan.with_method(pseudo_sha256={"Si": "0" * 64})
    assert changed.method_hash == STORED_HASH == job.method_hash


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("functional", "PBEsol"),
        ("dispersion", "d3bj"),
        ("charge", "1"),
        ("extra", "&system\n nbnd = 12\n/"),
        ("hubbard", "Si=2.0"),
    ],
)
def test_what_is_asked_for_makes_another_method(key: str, value: str) -> None:
    plain, asked = (derive_dft([PRIMITIVE], settings=s) for s in ({}, {key: value}))
    assert plain.dft.method_hash != asked.dft.method_hash
    reasons = " ".join(asked.reasons.values())
    assert "given" in reasons
    same = Method.of_job(LabelJob(PRIMITIVE, asked.dft.label_method()))
    assert same == asked.dft.method


NIO = bulk("NiO", "rocksalt", a=4.19)


def test_u_stands_where_the_version_of_pw_looks_for_it() -> None:
    hubbard = {"hubbard": {"Ni-3d": 6.0}}
    old = entries(text(NIO, (6, 7), **hubbard))
    assert old["lda_plus_u"] == ".true." and float(old["Hubbard_U(1)"]) == 6.0
    assert old["U_projection_type"] == "'atomic'" and "Hubbard_U(2)" not in old
    new = text(NIO, (7, 2), **hubbard)
    assert "HUBBARD (atomic)\n  U Ni-3d 6.000000" in new
    assert "hubbard_u" not in new.lower() and "lda_plus_u" not in new
    assert "lda_plus_u" not in text(PRIMITIVE, (6, 7), **hubbard), "no nickel in it"
    with pytest.raises(InputError, match="version"):
        text(NIO, None, **hubbard)


def test_both_kinds_of_an_antiferromagnet_have_their_u() -> None:
    atoms = NIO.repeat((2, 1, 1))
    atoms.set_initial_magnetic_moments([2, 0, -2, 0])
    asked = {"hubbard": {"Ni-3d": 6.0}, "spin_polarized": True, "starting_moments": {"Ni": 2.0}}
    found = entries(text(atoms, (6, 7), **asked))
    assert (float(found["Hubbard_U(1)"]), float(found["Hubbard_U(2)"])) == (6.0, 6.0)
    assert "U Ni2-3d 6.0" in text(atoms, (7, 3), **asked)


@pytest.mark.parametrize(
    "given", [{"He": 3.0}, {"Ni-4s": 3.0}, {"Ni": 60.0}, {"Nix": 1.0}, {"Mg": 5.0}]
)
def test_a_u_that_cannot_be_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(InputError) as refused:
        derive_dft([NIO], settings={"hubbard": given})
    assert "hubbard" in str(refused.value)


def test_dispersion_functional_and_charge_reach_the_input() -> None:
    found = entries(text(PRIMITIVE, dispersion="d3bj", input_dft="pbesol", charge=1))
    assert (found["vdw_corr"], found["dftd3_version"]) == ("'dft-d3'", "4")
    assert (found["input_dft"], found["tot_charge"]) == ("'pbesol'", "1")
    assert entries(text(PRIMITIVE, dispersion="d3"))["dftd3_version"] == "3"
    water = molecule("H2O")
    water.center(vacuum=5)
    radical = entries(text(water, charge=1))
    assert radical["nspin"] == "2", "nine electrons less one are odd"
    free = Atoms("O")
    free.center(vacuum=5)
    assert "tot_charge" not in entries(text(free, charge=1)), "the reference atom is neutral"


def test_the_dipole_correction_falls_back_in_the_vacuum_of_a_slab_alone() -> None:
    slab = fcc111("Al", (1, 1, 3), a=4.05, vacuum=6.0)
    slab.pbc = (True, True, False)
    slab.positions[:, 2] += 5.0
    found = entries(text(slab, dipole_correction=True))
    assert (found["tefield"], found["dipfield"], found["edir"]) == (".true.", ".true.", "3")
    start, width = float(found["emaxpos"]), float(found["eopreg"])
    heights = slab.get_scaled_positions()[:, 2] % 1.0
    inside = [(height - start) % 1.0 < width for height in heights]
    assert not any(inside) and float(found["eamp"]) == 0.0
    middle = (start + width / 2 - heights) % 1.0
    assert min(*middle, *(1 - middle)) * slab.cell[2, 2] > 5.0
    assert "dipfield" not in entries(text(PRIMITIVE, dipole_correction=True))
    assert derive_dft([slab]).dft.label_method()["dipole_correction"] is True
    assert "dipole_correction" not in derive_dft([PRIMITIVE]).dft.label_method()


def test_a_fragment_adds_to_the_input_and_takes_the_place_of_nothing() -> None:
    given = "&SYSTEM\n  nbnd=12, ! more bands\n  report = 1\n/\n"
    plan = derive_dft([PRIMITIVE], settings={"extra": given}).dft
    other = derive_dft([PRIMITIVE], settings={"extra": "&system\n nbnd = 12\n report=1\n /"}).dft
    assert plan.method_hash == other.method_hash
    found = entries(text(PRIMITIVE, extra=plan.label_method()["extra"]))
    assert (found["nbnd"], found["report"], found["ecutwfc"]) == ("12", "1", "28")
    with pytest.raises(InputError, match="edir"):
        slab = fcc111("Al", (1, 1, 2), a=4.05, vacuum=6.0)
        slab.pbc = (True, True, False)
        text(slab, dipole_correction=True, extra="&system\n  edir = 1\n/")


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("&system\n ecutwfc = 90\n/", "dft.cutoff_ry"),
        ("&control\n outdir = '/'\n/", "each calculation"),
        ("&system\n lspinorb = .true.\n/", "spin-orbit"),
        ("&ions\n/", "&ions"),
        ("&system\n nbnd = 12", "does not end"),
        ("K_POINTS gamma", "K_POINTS"),
        ("nbnd = 12", "neither in a namelist"),
        ("&system\n nbnd 12\n/", "entry = value"),
        ("", "holds neither"),
    ],
)
def test_a_fragment_that_cannot_stand_is_refused_in_one_line(fragment: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        derive_dft([PRIMITIVE], settings={"extra": fragment})
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_family_that_was_changed_by_half_is_refused() -> None:
    silicon = derive_dft([PRIMITIVE]).dft.method
    assert isinstance(silicon, Method)
    check_family(silicon, ["Si"])
    with pytest.raises(InputError, match=r"functional.*PBE's"):
        check_family(silicon.model_copy(update={"functional": "LDA"}), ["Si"])
    soft = silicon.model_copy(update={"pseudo_family": "SSSP/1.3.0/PBE/efficiency"})
    with pytest.raises(InputError, match=r"rho_cutoff_ry.*needs .* Ry for its density"):
        check_family(soft, ["Cu"])
