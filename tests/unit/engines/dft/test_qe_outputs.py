"""pw.x's recorded files -> labels with the right numbers, signs and units, or failures of the right
kind.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso.cures import repair
from mlip_autopipec.engines.dft.quantum_espresso.engine import QuantumEspresso
from mlip_autopipec.engines.dft.quantum_espresso.failures import KINDS, classify

RECORDED = Path(__file__).parents[3] / "fixtures" / "qe"
RY_EV, BOHR_A, KBAR_EV_PER_A3 = 13.605693122994, 0.529177210903, 6.241509074e-4

FAILED = {
    "al_fixed": "smearing_needed",
    "atoms_013_apart": "geometry",
    "bad_key": "input",
    "cg_one_iteration": "diagonalization",
    "identical_positions": "geometry",
    "killed": "interrupted",
    "max_seconds": "out_of_walltime",
    "missing_pseudo": "pseudopotential",
    "odd_electrons_fixed": "smearing_needed",
    "scf_not_converged": "scf_not_converged",
    "spin_fixed": "smearing_needed",
    "terminated": "interrupted",
    "too_few_bands": "too_few_bands",
    "too_many_bands": "input",
    "too_many_pools": "parallelization",
    "zero_kmesh": "input",
    "disk_full": "disk",
    "disk_full_silent": "disk",
    "disk_full_xml_cut": "disk",
    "memory_limit": "out_of_memory",
    "outdir_not_writable": "disk",
    "v72_al_fixed": "smearing_needed",
    "v72_bad_key": "input",
    "v72_disk_full": "disk",
    "v72_disk_full_wfc": "disk",
    "v72_killed": "interrupted",
    "v72_max_seconds": "out_of_walltime",
    "v72_missing_pseudo": "pseudopotential",
    "v72_scf_not_converged": "scf_not_converged",
}
#: Recorded with pw.x 7.2 where the name says so, else 6.7.
GOOD = {"ok_si2", "ok_si8_thinned", "v72_ok_o2_spin", "v72_ok_si2"}


def recorded(name: str) -> tuple[Path, LabelJob, int]:
    case = json.loads((RECORDED / name / "case.json").read_text())
    return RECORDED / name, LabelJob.from_json(case["job"]), case["exit_code"]


def parsed(name: str) -> Label | Failure:
    return QuantumEspresso().parse(*recorded(name))


@pytest.mark.parametrize("name", ["ok_si2", "ok_si8_thinned", "v72_ok_si2"])
def test_label_agrees_with_what_pw_printed(name: str) -> None:
    folder, job, _ = recorded(name)
    text = (folder / "pw.out").read_text()
    label = parsed(name)
    assert isinstance(label, Label)
    energy_ry = float(re.findall(r"^!\s+total energy\s+=\s+(\S+) Ry", text, re.MULTILINE)[0])
    assert label.energy_ev == pytest.approx(energy_ry * RY_EV, abs=2e-7)
    rows = re.findall(r"atom\s+\d+ type\s+\d+\s+force =\s+(\S+)\s+(\S+)\s+(\S+)", text)[
        : len(job.atoms)
    ]
    forces = np.array(rows, dtype=float) * RY_EV / BOHR_A
    assert np.abs(forces).max() > 0.3
    np.testing.assert_allclose(label.forces, forces, atol=3e-7)
    block = text.split("total   stress")[1].splitlines()[1:4]
    kbar = np.array([[float(word) for word in line.split()[3:6]] for line in block])
    expected = (
        -np.array([kbar[0, 0], kbar[1, 1], kbar[2, 2], kbar[1, 2], kbar[0, 2], kbar[0, 1]])
        * KBAR_EV_PER_A3
    )
    assert label.stress is not None
    np.testing.assert_allclose(label.stress, expected, atol=0.006 * KBAR_EV_PER_A3)
    assert label.method_hash == job.method_hash
    assert label.scf_steps >= 5 and label.wall_s > 0


def test_forces_pull_a_displaced_atom_back() -> None:
    label, (_, job, _) = parsed("ok_si2"), recorded("ok_si2")
    assert isinstance(label, Label)
    displacement = job.atoms.positions[1] - job.atoms.positions[0] - np.full(3, 5.47 / 4)
    assert label.forces[1] @ displacement < 0 < label.forces[0] @ displacement


def test_no_failed_run_is_left_unchecked() -> None:
    assert {path.name for path in RECORDED.iterdir()} == set(FAILED) | GOOD
    assert set(FAILED.values()) <= KINDS


@pytest.mark.parametrize("name", sorted(FAILED))
@pytest.mark.parametrize("salvage", [False, True])
def test_provoked_failures_are_told_apart(name: str, salvage: bool) -> None:
    folder, job, code = recorded(name)
    result = QuantumEspresso().parse(folder, job, None if salvage else code)
    assert isinstance(result, Failure)
    assert result.kind == FAILED[name]
    for evidence in result.evidence:
        lines = (folder / evidence.file).read_text().splitlines()
        assert evidence.text.strip() in lines[evidence.line - 1]
    assert result.evidence


def test_geometry_of_the_calculation_must_be_the_one_asked_for() -> None:
    folder, job, code = recorded("ok_si2")
    wrong = job.atoms.copy()
    wrong.positions[1, 0] += 3e-4
    result = QuantumEspresso().parse(
        folder, LabelJob(wrong, job.method, job.numerics, job.kmesh), code
    )
    assert isinstance(result, Failure) and result.kind == "restart_corrupt"
    moved = job.atoms.copy()
    moved.positions[1] += moved.cell.array[0] - moved.cell.array[2]
    assert isinstance(
        QuantumEspresso().parse(folder, LabelJob(moved, job.method, {}, job.kmesh), code), Label
    )


def test_forces_above_the_ceiling_are_refused() -> None:
    folder, job, code = recorded("ok_si8_thinned")
    result = QuantumEspresso().parse(folder, job.with_numerics(max_force_ev_per_a=0.5), code)
    assert isinstance(result, Failure) and result.kind == "geometry"


def test_an_exit_code_other_than_zero_is_never_a_success() -> None:
    folder, job, _ = recorded("ok_si2")
    result = QuantumEspresso().parse(folder, job, 2)
    assert isinstance(result, Failure) and result.kind == "unknown"


def test_half_an_xml_is_no_label(tmp_path: Path) -> None:
    folder, job, code = recorded("ok_si2")
    copy = shutil.copytree(folder, tmp_path / "attempt")
    xml = copy / "out" / "p.save" / "data-file-schema.xml"
    xml.write_text(xml.read_text()[:5000])
    result = QuantumEspresso().parse(copy, job, code)
    assert isinstance(result, Failure) and result.kind == "disk"
    for content in ("", "  \n"):
        xml.write_text(content)
        result = QuantumEspresso().parse(copy, job, code)
        assert isinstance(result, Failure) and result.kind == "disk" and "empty" in result.message
    xml.unlink()
    result = QuantumEspresso().parse(copy, job, code)
    assert (
        isinstance(result, Failure) and result.kind == "interrupted" and "missing" in result.message
    )
    (xml.parent / "wfc1.dat").touch()
    result = QuantumEspresso().parse(copy, job, code)
    assert isinstance(result, Failure) and result.kind == "disk" and "wfc1.dat" in result.message
    shutil.rmtree(copy / "out")
    result = QuantumEspresso().parse(copy, job, None)
    assert (
        isinstance(result, Failure)
        and result.kind == "interrupted"
        and "JOB DONE" in result.evidence[0].text
    )


def test_net_force_and_nan_are_refused(tmp_path: Path) -> None:
    folder, job, code = recorded("ok_si2")
    copy = shutil.copytree(folder, tmp_path / "attempt")
    xml = copy / "out" / "p.save" / "data-file-schema.xml"
    good = xml.read_text()
    forces = re.search(r"<forces rank[^>]*>\s*(\S+)", good)
    assert forces is not None
    xml.write_text(good[: forces.start(1)] + "NaN" + good[forces.end(1) :])
    result = QuantumEspresso().parse(copy, job, code)
    assert isinstance(result, Failure) and result.kind == "geometry"
    xml.write_text(good[: forces.start(1)] + "0.5" + good[forces.end(1) :])
    result = QuantumEspresso().parse(copy, job, code)
    assert isinstance(result, Failure)


def write(folder: Path, **files: str) -> Path:
    for name, text in {"out": "", **files}.items():
        (folder / {"out": "pw.out", "crash": "CRASH", "err": "stderr.txt"}[name]).write_text(text)
    return folder


# Messages that cost too much to provoke in a test; words as in the sources and measured runs of
# pw.x.
@pytest.mark.parametrize(
    ("files", "code", "kind"),
    [
        (
            {"err": "     Error allocating  1.2E+09 bytes: Cannot allocate memory"},
            1,
            "out_of_memory",
        ),
        (
            {"out": "     Error in routine read_rhog (1):\n      error reading file ./out/p"},
            1,
            "restart_corrupt",
        ),
        (
            {"out": "     Error in routine  cdiaghg (185):\n      S matrix not positive definite"},
            42,
            "diagonalization",
        ),
        (
            {"out": "     Error in routine write_rhog (1):\n  error writing file ./out/rho"},
            1,
            "disk",
        ),
        (
            {"out": "     unit-cell volume = 1\n     Self-consistent Calculation\n iteration #  1"},
            137,
            "interrupted",
        ),
        ({"out": "     Program PWSCF v.6.7 starts"}, 139, "symmetry"),
        ({"out": "     Program PWSCF\n     Self-consistent Calculation"}, 139, "diagonalization"),
        ({"out": "     Self-consistent Calculation"}, 124, "out_of_walltime"),
        ({"out": "     Error in routine electrons (1):\n  charge is wrong"}, 1, "charge_wrong"),
        ({"crash": "     task #  0\n     from sgam_at : error #  1\n     invalid"}, 1, "symmetry"),
        ({"out": "     Error in routine newroutine (7):\n  never seen before"}, 1, "unknown"),
        ({}, None, "interrupted"),
    ],
)
def test_known_messages(tmp_path: Path, files: dict[str, str], code: int | None, kind: str) -> None:
    assert classify(write(tmp_path, **files), code).kind == kind


def test_spin_and_elements_come_through(tmp_path: Path) -> None:
    folder, job, code = recorded("ok_si2")
    other = Atoms("Ge2", positions=job.atoms.positions, cell=job.atoms.cell, pbc=True)
    result = QuantumEspresso().parse(folder, LabelJob(other, job.method), code)
    assert isinstance(result, Failure) and result.kind == "restart_corrupt"


def test_an_unpolarised_cell_of_a_polarised_method_has_no_moment() -> None:
    folder, job, code = recorded("ok_si2")
    polarised = {**job.method, "spin_polarized": True, "starting_moments": {"Fe": 4.0, "Si": 0.0}}
    label = QuantumEspresso().parse(
        folder, LabelJob(job.atoms, polarised, job.numerics, job.kmesh), code
    )
    assert isinstance(label, Label) and label.total_magnetization == 0.0
    assert label.method_hash == LabelJob(job.atoms, polarised).method_hash != job.method_hash


def test_a_label_that_lost_the_moments_it_was_asked_for_is_refused() -> None:
    folder, job, code = recorded("ok_si2")  # calculated without spin
    atoms = job.atoms.copy()
    atoms.set_initial_magnetic_moments([3.0, -3.0])
    method = {**job.method, "spin_polarized": True}
    found = QuantumEspresso().parse(folder, LabelJob(atoms, method, job.numerics, job.kmesh), code)
    assert isinstance(found, Failure) and found.kind == "magnetic_state"
    assert "lost" in found.message and "6.00" in found.message
    assert repair(LabelJob(atoms, method), [found]) is None, "no setting brings them back"


def test_the_triplet_of_oxygen_comes_through() -> None:
    label, (_, job, _) = parsed("v72_ok_o2_spin"), recorded("v72_ok_o2_spin")
    assert isinstance(label, Label)
    assert label.total_magnetization == pytest.approx(2.0, abs=1e-6)
    assert label.stress is None and not any(job.atoms.pbc)
    # 1.23 Å at a cutoff that is much too low: the forces are along the bond, equal and opposite.
    bond = job.atoms.positions[1] - job.atoms.positions[0]
    assert np.linalg.norm(np.cross(label.forces[1], bond)) < 0.2 * abs(label.forces[1] @ bond)
    np.testing.assert_allclose(label.forces[0], -label.forces[1], atol=1e-3)


@pytest.mark.parametrize("name", sorted(set(FAILED) | GOOD))
def test_the_version_that_made_a_recording_is_known(name: str) -> None:
    head = (RECORDED / name / "pw.out").read_text()[:200]
    assert ("PWSCF v.7.2 " in head) is name.startswith("v72_")
