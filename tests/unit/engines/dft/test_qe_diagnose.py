"""Anybody's folder with pw.x output -> the right class with the line that proves it, and `ok` only
when it is.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pw_output_for_tests import FOREIGN, GOOD, HEAD, INPUT, OURS, SCF, box, check

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.commands.diagnose import run
from mlip_autopipec.engines.dft.quantum_espresso.diagnose import CURES, diagnose
from mlip_autopipec.engines.dft.quantum_espresso.failures import CLASSES

RECORDED = {
    OURS / "al_fixed": "smearing_needed",
    OURS / "atoms_013_apart": "geometry",
    OURS / "bad_key": "input",
    OURS / "cg_one_iteration": "diagonalization",
    OURS / "disk_full": "disk",
    OURS / "disk_full_silent": "disk",
    OURS / "disk_full_xml_cut": "disk",
    OURS / "identical_positions": "geometry",
    OURS / "killed": "interrupted",
    OURS / "max_seconds": "out_of_walltime",
    OURS / "memory_limit": "out_of_memory",
    OURS / "missing_pseudo": "pseudopotential",
    OURS / "odd_electrons_fixed": "smearing_needed",
    OURS / "ok_si2": "ok",
    OURS / "ok_si8_thinned": "ok",
    OURS / "outdir_not_writable": "disk",
    OURS / "scf_not_converged": "scf_not_converged",
    OURS / "spin_fixed": "smearing_needed",
    OURS / "terminated": "interrupted",
    OURS / "too_few_bands": "too_few_bands",
    OURS / "too_many_bands": "input",
    OURS / "too_many_pools": "parallelization",
    OURS / "v72_al_fixed": "smearing_needed",
    OURS / "v72_bad_key": "input",
    OURS / "v72_disk_full": "disk",
    OURS / "v72_disk_full_wfc": "disk",
    OURS / "v72_killed": "interrupted",
    OURS / "v72_max_seconds": "out_of_walltime",
    OURS / "v72_missing_pseudo": "pseudopotential",
    OURS / "v72_ok_o2_spin": "ok",
    OURS / "v72_ok_si2": "ok",
    OURS / "v72_scf_not_converged": "scf_not_converged",
    OURS / "zero_kmesh": "input",
    FOREIGN / "bad_upf": "pseudopotential",
    FOREIGN / "band_groups": "parallelization",
    FOREIGN / "density_cut": "restart_corrupt",
    FOREIGN / "flat_cell": "geometry",
    FOREIGN / "fused": "geometry",
    FOREIGN / "input_cut": "input",
    FOREIGN / "job_twice": "scf_not_converged",
    FOREIGN / "maxsec": "out_of_walltime",
    FOREIGN / "md_ok": "ok",
    FOREIGN / "nscf_alone": "restart_corrupt",
    FOREIGN / "program_missing": "unknown",
    FOREIGN / "relax_nstep": "ionic_not_converged",
    FOREIGN / "scf_then_bands": "ok",
    FOREIGN / "stale_xml_killed": "interrupted",
    FOREIGN / "stale_xml_time_limit": "out_of_walltime",
    FOREIGN / "user_stop": "interrupted",
    FOREIGN / "vcrelax_final_scf_off": "ionic_not_converged",
}


def test_every_recorded_folder_is_judged() -> None:
    assert {path for root in (OURS, FOREIGN) for path in root.iterdir()} == set(RECORDED)
    assert set(CURES) == set(CLASSES)


@pytest.mark.parametrize("folder", sorted(RECORDED), ids=lambda path: path.name)
def test_recorded_runs(folder: Path) -> None:
    found = diagnose(folder)
    check(found, RECORDED[folder])
    assert found.evidence or folder.name == "stale_xml_killed"


@pytest.mark.parametrize("name", ["v72_ok_si2", "v72_bad_key", "v72_killed"])
def test_version_7_is_told_apart_without_its_input(name: str, tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text((OURS / name / "pw.out").read_text())
    found = diagnose(tmp_path)
    check(found, RECORDED[OURS / name])
    assert ("7.2" in found.message) is (found.cls == "ok")


@pytest.mark.parametrize(
    "name", ["al_fixed", "cg_one_iteration", "ok_si2", "scf_not_converged", "disk_full"]
)
def test_names_of_files_do_not_matter(name: str, tmp_path: Path) -> None:
    source = OURS / name
    shutil.copy(source / "pw.in", tmp_path / "al.scf.pwi")
    (tmp_path / "job-4711.log").write_text(
        "Loading module espresso\n\n" + (source / "pw.out").read_text()
    )
    check(diagnose(tmp_path), RECORDED[source])
    deeper = tmp_path / "deeper"
    shutil.copytree(source, deeper / "calc")
    check(diagnose(deeper), RECORDED[source])


# Words as in the sources of pw.x 6.5-7.x, for what costs too much to provoke.
@pytest.mark.parametrize(
    ("routine", "reason", "cls"),
    [
        ("cdiaghg", "problems computing cholesky", "diagonalization"),
        (" cdiaghg", "S matrix not positive definite", "diagonalization"),
        ("laxlib_cdiaghg", "eigenvectors failed to converge", "diagonalization"),
        ("rdiaghg", "diagonalization (DSYGV*) failed", "diagonalization"),
        ("ppcg", "zhegvd failed", "diagonalization"),
        ("ppcg", "[Q, R] = qr(X, 0) failed", "diagonalization"),
        ("c_bands", "too many bands are not converged", "diagonalization"),
        ("broyden", "factorization", "diagonalization"),
        ("invchol", "Cholesky failed in invchol.", "diagonalization"),
        ("electrons", "dexx is negative!  Check that exxdiv_treatment is appropriate for the system, or ecutfock may "
         "be too low", "exx"),
        ("electrons", "charge is wrong", "charge_wrong"),
        ("electrons", "charge is wrong: smearing is needed", "smearing_needed"),
        ("setup", "the system is metallic, specify occupations", "smearing_needed"),
        ("setup", "too few bands", "too_few_bands"),
        ("setup", "too few spin up bands", "too_few_bands"),
        ("set_para_diag", "Too few bands for required ndiag", "parallelization"),
        ("divide_et_impera", "some nodes have no k-points", "parallelization"),
        ("mp_start_pools", "invalid number of pools, out of range", "parallelization"),
        ("n_plane_waves", "No plane waves found: running on too many processors?", "parallelization"),
        ("sym_rho_init", "some processors have no G-vectors for symmetrization", "parallelization"),
        ("scale_h", "Not enough space allocated for radial FFT: try restarting with a larger cell_factor.",
         "fft_volume"),
        ("checkallsym", "not orthogonal operation", "symmetry"),
        ("sgama", "Not a group", "symmetry"),
        ("sym_rho_init_shells", "lone vector", "symmetry"),
        ("check_atoms", "atoms #   1 and #   2 overlap!", "geometry"),
        ("check_atoms", "atoms #   1 and #   2 differ by lattice vector ( 1, 0, 0) in crystal axis", "geometry"),
        ("readpp", "file ./pseudo/Si.upf not found", "pseudopotential"),
        ("setup", "conflicting values for igcx", "pseudopotential"),
        ("read_namelists", "bad line in namelist &system: \"  ecutwf = 30\" (error could be in the previous line)",
         "input"),
        ("iosys", "calculation 'scff' not allowed", "input"),
        ("davcio", "error while reading from file \"./out/p.wfc1\"", "restart_corrupt"),
        ("read_rhog", "error reading file ./out/p.save/charge-density", "restart_corrupt"),
        ("davcio", "error while writing from file \"./out/p.wfc1\"", "disk"),
        ("check_tempdir", "temporary directory mkdir failed", "disk"),
        ("diag_bands", " cannot allocate h_diag", "out_of_memory"),
        ("newroutine", "words never seen before", "unknown"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["output", "crash", "crash alone"])
def test_error_boxes_in_output_and_crash_file(
    routine: str, reason: str, cls: str, where: str, tmp_path: Path
) -> None:
    (tmp_path / "calc.in").write_text(INPUT)
    if where == "output":
        (tmp_path / "calc.out").write_text(HEAD + box(routine, reason))
    else:
        (tmp_path / "CRASH").write_text(
            f"\n {'%' * 78}\n     task #         0\n     from {routine.strip()} : error #        "
            f" 1\n     {reason}\n"
        )
        if where == "crash":
            (tmp_path / "calc.out").write_text(HEAD + SCF)
    found = diagnose(tmp_path)
    check(found, cls)
    assert found.evidence[0].file == ("calc.out" if where == "output" else "CRASH")
    assert reason.strip() in found.message


@pytest.mark.parametrize(
    ("words", "cls"),
    [
        ("slurmstepd: error: *** STEP 812.0 ON n1 CANCELLED AT 2026-11-23T16:00:00 DUE TO TIME LIMIT ***",
         "out_of_walltime"),
        ("=>> PBS: job killed: walltime 3622 exceeded limit 3600", "out_of_walltime"),
        ("TERM_RUNLIMIT: job killed after reaching LSF run time limit.", "out_of_walltime"),
        ("slurmstepd: error: *** JOB 812 ON n1 CANCELLED AT 2026-11-23T16:00:00 ***", "interrupted"),
        ("slurmstepd: error: *** JOB 812 ON n1 CANCELLED AT 2026-11-23T16:00:00 DUE TO PREEMPTION ***", "interrupted"),
        ("forrtl: error (78): process killed (SIGTERM)", "interrupted"),
        ("mpirun noticed that process rank 0 with PID 0 on node n1 exited on signal 9 (Killed).", "interrupted"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=812.0. Some of the step tasks have been OOM Killed.",
         "out_of_memory"),
        ("slurmstepd: error: Exceeded job memory limit", "out_of_memory"),
        ("forrtl: severe (41): insufficient virtual memory", "out_of_memory"),
        ("forrtl: No space left on device", "disk"),
        ("forrtl: severe (174): SIGSEGV, segmentation fault occurred", "diagonalization"),
        ("There are not enough slots available in the system to satisfy the 64", "parallelization"),
        ("MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD\nwith errorcode 1.", "interrupted"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["job.err", "slurm-812.out", "calc.e812", "same file"])
def test_words_of_schedulers_and_runtime_libraries(
    words: str, cls: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "calc.in").write_text(INPUT)
    output = HEAD + SCF + (words if name == "same file" else "")
    (tmp_path / "calc.out").write_text(output)
    if name != "same file":
        (tmp_path / name).write_text(words + "\n")
    check(diagnose(tmp_path), cls)


def test_an_error_of_pw_outranks_the_time_limit_that_ended_a_hanging_job(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(HEAD + SCF + box("cdiaghg", "problems computing cholesky"))
    (tmp_path / "a.err").write_text(
        "slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 1 DUE TO TIME LIMIT ***\n"
    )
    check(diagnose(tmp_path), "diagonalization")
    (tmp_path / "a.err").write_text("slurmstepd: error: Detected 1 oom_kill event in StepId=1.0.\n")
    check(diagnose(tmp_path), "out_of_memory")


def test_files_of_another_run_do_not_spoil_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(GOOD)
    check(diagnose(tmp_path), "ok")
    (tmp_path / "CRASH").write_text("     from setup : error #         1\n     too few bands\n")
    (tmp_path / "old.err").write_text(
        "slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 1 DUE TO TIME LIMIT ***\n"
    )
    check(diagnose(tmp_path), "ok")


def test_the_newest_of_several_runs_counts(tmp_path: Path) -> None:
    (tmp_path / "z.out").write_text(GOOD)
    (tmp_path / "a.out").write_text(GOOD.replace("15:33:57", "16:33:57").split("JOB DONE")[0])
    found = diagnose(tmp_path)
    check(found, "interrupted")
    assert "newest of 2 runs" in found.message
    (tmp_path / "a.out").write_text(GOOD.replace("15:33:57", "14:33:57").split("JOB DONE")[0])
    check(diagnose(tmp_path), "ok")


def test_snippets_without_a_header_are_understood(tmp_path: Path) -> None:
    (tmp_path / "aiida.out").write_text("# lines removed\n" + box("electrons", "charge is wrong"))
    check(diagnose(tmp_path), "charge_wrong")
    (tmp_path / "aiida.out").write_text(
        "# lines removed\n  probably because G_par is NOT a reciprocal lattice vector\n"
    )
    check(diagnose(tmp_path), "input")


def test_folders_without_pw(tmp_path: Path) -> None:
    assert diagnose(tmp_path).cls == "unknown"
    (tmp_path / "notes.txt").write_text("out of memory\n")
    assert diagnose(tmp_path).cls == "unknown"
    (tmp_path / "a.in").write_text(INPUT)
    (tmp_path / "a.out").write_text("")
    (tmp_path / "notes.txt").unlink()
    assert diagnose(tmp_path).cls == "interrupted"
    with pytest.raises(InputError):
        diagnose(tmp_path / "gone")


def test_the_command_prints_text_or_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.out").write_text(GOOD)
    assert run([tmp_path]) == 0
    assert ": ok" in capsys.readouterr().out
    assert run([tmp_path, OURS / "al_fixed"], as_json=True) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert good["class"] == "ok" and bad["class"] == "smearing_needed"
    assert set(bad) == {"folder", "class", "message", "evidence", "cure", "runs"}
    assert set(bad["evidence"][0]) == {"file", "line", "text"}
    assert run([OURS / "al_fixed"]) == 1
    assert "cure: occupations = 'smearing'" in capsys.readouterr().out
