"""Kinds of failures, each in words of more than one version, library or scheduler: input mistakes,
machines that cannot run pw.x, files that cannot be made, memory, crashes, ends that are no end.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pw_output_for_tests import GOOD, HEAD, INPUT, SCF, box, check

from mlip_autopipec.base.tasks import PERSON, Failure
from mlip_autopipec.engines.dft.quantum_espresso.classes import CURES, KINDS, MACHINE
from mlip_autopipec.engines.dft.quantum_espresso.diagnose import diagnose
from mlip_autopipec.engines.dft.quantum_espresso.failure_rules import RULES
from mlip_autopipec.engines.dft.quantum_espresso.failures import classify

SUMMARY = "     bravais-lattice index     =            0\n"


# Routine and words as in the sources of 6.5 to 7.5.
@pytest.mark.parametrize(
    ("routine", "reason", "cls"),
    [
        # Input: readers of namelists and cards, whatever they say of reading.
        ("card_hubbard", "Error while reading the HUBBARD card on line            2", "input"),
        ("card_hubbard", "Hubbard projectors are not specified", "input"),
        ("read_cards", "Error while reading atomic position card", "input"),
        ("card_kpoints", "end of file while reading k points", "input"),
        ("card_atomic_positions", "ATOMIC_SPECIES must be present before", "input"),
        ("read_namelists", "reading namelist electrons", "input"),
        ("abc2celldm", "incorrect lattice parameter (b)", "input"),
        ("cell_base_init", "lattice parameter not specified", "input"),
        ("latgen", "wrong celldm(3)", "input"),
        ("cell_dofree", "Isotropic expansion is only allowed for ibrav=1; i.e. for simple cubic", "input"),
        ("init_dofree", "unknown cell_dofree  epitaxial", "input"),
        ("offset_atom_wfc", "Mismatch between the requested and available manifolds", "input"),
        ("init_hubbard", "Hubbard_l should not be > 3", "input"),
        ("exx_grid_init", "wrong EXX q grid", "input"),
        ("exx_grid_init", "k + q is not an S*k", "input"),
        ("tetra_init", "cannot remap grid on k-point list", "input"),
        ("opt_tetra_init", "cannot locate k point", "input"),
        ("kpoint_grid", "too many k-points", "input"),
        ("xc_rVV10", "rVV10 functional not implemented for spin polarized runs", "input"),
        ("nlc", "vdW-DF not available for noncollinear spin case", "input"),
        ("stres_mgga", "noncollinear stress + meta-GGA not implemented", "input"),
        ("init_london", "atom  Xx  not found", "input"),
        ("add_efield", "wrong edir", "input"),
        ("iosys", "diagonalization ppcg not implemented", "input"),
        ("iosys", "PPCG diagonalization not supported anymore (Dec. 2024)", "input"),
        ("a_new_routine", "this option requires nspin = 2", "input"),
        ("another_one", "feature_x is not yet implemented with PAW", "input"),
        ("read_kernel_table", "vdW_kernel_table file not found", "input"),
        ("iosys", "some starting_magnetization MUST be set", "input"),
        ("system_checkin", "Hubbard input via the namelist is not supported anymore", "input"),
        ("read_hubbard", "End of file while parsing Hubbard parameters", "input"),
        ("xclib", "libxc needed for this functional, but it is not linked", "input"),
        # What merely sounds like a mistake of the input.
        ("fft_type_set", "wrong descriptor dimensions", "unknown"),
        ("becscal_gamma", "called in the wrong case", "unknown"),
        ("new_module", "internal error: unknown flag", "unknown"),
        # Files and folders.
        ("create_directory", "unable to create directory ./scratch/si.save/", "disk"),
        ("check_tempdir", "temporary directory /scratch/x/ cannot be created or accessed", "disk"),
        ("create_directory:", "/scratch/p.save/ non existent or non writable", "disk"),
        ("diropn", "error opening ./out/si.wfc1", "disk"),
        ("seqopn", "error opening ./out/si.update", "disk"),
        ("write_scf", "Writing PAW becsum", "disk"),
        # Files of an earlier run.
        ("read_rho_xml", "searching for ./scratch/wse.save/magnetization.x.xml", "restart_corrupt"),
        ("read_rhog", "error reading file ./out/p.save/charge-density", "restart_corrupt"),
        ("qes_read:outputType", "total_energy: wrong number of occurrences", "restart_corrupt"),
        ("read_scf", "Reading ldaU ns", "restart_corrupt"),
        ("pw_readfile", "error opening xml data file", "restart_corrupt"),
        ("qexsd_readschema", "xml data-file ./p.save/data-file-schema.xml not found", "restart_corrupt"),
        # Relaxations that gave up.
        ("bfgs", "dE0s is positive which should never happen", "ionic_not_converged"),
        ("bfgs", "NR step-length unreasonably short", "ionic_not_converged"),
        # Processes.
        ("fft_type_set", "there are processes with no planes. Use pencil decomposition (-pd .true.)",
         "parallelization"),
        ("exx_stress", "stress not available with pools", "parallelization"),
        ("run_pwscf", "image parallelization not allowed", "parallelization"),
        # The machine.
        ("bcast_real", "error in mpi_bcast 1", "unknown"),
        ("laxlib_cdiaghg_gpu", "cusolverDnZhegvdx failed", "diagonalization"),
    ],
)  # fmt: skip
def test_error_boxes(routine: str, reason: str, cls: str, tmp_path: Path) -> None:
    (tmp_path / "calc.in").write_text(INPUT)
    (tmp_path / "calc.out").write_text(HEAD + box(routine, reason))
    found = diagnose(tmp_path)
    check(found, cls)
    assert reason.split(maxsplit=1)[0] in found.message


@pytest.mark.parametrize(
    ("words", "cls"),
    [
        # Programs that cannot start or run.
        ("srun: error: Unable to create step for job 77: Invalid MPI type 'pmi9'", "unknown"),
        ("pw.x: error while loading shared libraries: libmkl_core.so.2: cannot open shared object file", "unknown"),
        ("pw.x: symbol lookup error: pw.x: undefined symbol: ompi_mpi_comm_world", "unknown"),
        ("forrtl: severe (168): Program Exception - illegal instruction", "unknown"),
        ("Please verify that both the operating system and the processor support Intel(R) AVX512F instructions.",
         "unknown"),
        ("Intel MKL FATAL ERROR: Cannot load libmkl_avx2.so or libmkl_def.so.", "unknown"),
        # MPI.
        ("Fatal error in PMPI_Init: Other MPI error, error stack:", "unknown"),
        ("Abort(1090831) on node 0: Fatal error in internal_Init_thread: MPIDI_OFI_init_local failed", "unknown"),
        ("It looks like MPI_INIT failed for some reason; your parallel process is likely to abort.", "unknown"),
        ("Fatal error in PMPI_Allreduce: Invalid communicator, error stack:", "unknown"),
        # Noise of MPI beside the end that the scheduler made.
        ("[n1:1] PMIX ERROR: ERROR in file gds_ds12_lock_pthread.c at line 169\n"
         "slurmstepd: error: *** JOB 9 ON n1 CANCELLED AT 2026-11-23T16:01:00 DUE TO TIME LIMIT ***", "out_of_walltime"),
        ("bash: module: command not found\n=>> PBS: job killed: walltime 3622 exceeded limit 3600", "out_of_walltime"),
        ("mlx5_0: Transport retry count exceeded on mlx5_0:1/IB (synd 0x15)", "interrupted"),
        # GPU.
        ("call to cuStreamSynchronize returned error 700 (CUDA_ERROR_ILLEGAL_ADDRESS): Illegal address", "unknown"),
        ("0: copyout Memcpy FAILED: cudaErrorNoDevice: no CUDA-capable device is detected", "unknown"),
        ("Memory access fault by GPU node-4 (Agent handle: 0x1) on address 0x7f", "unknown"),
        # Runtime errors of the compiled program.
        ("forrtl: severe (153): allocatable array or pointer is not allocated", "unknown"),
        ("At line 88 of file setlocal.f90\nFortran runtime error: Index '0' of dimension 1 of array below lower bound",
         "unknown"),
        ("*** Error in `pw.x': double free or corruption (!prev): 0x0000000002a3b010 ***", "unknown"),
        # The same library, reading: the file decides.
        ("At line 31 of file read_cards.f90 (unit = 5, file = 'stdin')\nFortran runtime error: End of file", "input"),
        ("forrtl: severe (24): end-of-file during read, unit 5, file /home/x/si.in", "input"),
        ("forrtl: severe (59): list-directed I/O syntax error, unit -5, file Internal List-Directed Read", "input"),
        ("forrtl: severe (24): end-of-file during read, unit 4, file /home/x/pp/Fe.pbe-spn.UPF", "pseudopotential"),
        ("mkdir: cannot create directory '/scratch/me': Permission denied", "disk"),
        ("forrtl: severe (38): error during write, unit 99, file /scratch/si.wfc12", "disk"),
        ("Fortran runtime error: Cannot open file '/scratch/a/si.wfc1': Permission denied", "disk"),
        # Memory.
        ("0: ALLOCATE: 5368709120 bytes requested; status = 2(out of memory)", "out_of_memory"),
        ("call to cuMemAlloc returned error 2 (CUDA_ERROR_OUT_OF_MEMORY): Out of memory", "out_of_memory"),
        ("=>> PBS: job killed: mem 132120576kb exceeded limit 131072000kb", "out_of_memory"),
        ("TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.", "out_of_memory"),
        ("job 71 exceeds job hard limit \"h_vmem\" of queue all.q (4.1G > limit:4.0G)", "out_of_memory"),
        ("kernel: Out of memory: Killed process 4711 (pw.x) total-vm:9437184kB", "out_of_memory"),
        # Ends from outside.
        ("=>> PBS: job killed: walltime 86433 exceeded limit 86400", "out_of_walltime"),
        ("TERM_CPULIMIT: job killed after reaching LSF CPU usage limit.", "out_of_walltime"),
        ("===   YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)\nKILLED BY SIGNAL: 9 (Killed)",
         "interrupted"),
        ("srun: error: c017: tasks 0-31: Killed", "interrupted"),
        ("Abort: job 7 exceeded hard wallclock time", "out_of_walltime"),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-23T16:00:00 DUE TO NODE FAILURE ***", "interrupted"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("began", [False, True])
def test_words_of_machines(words: str, cls: str, began: bool, tmp_path: Path) -> None:
    (tmp_path / "calc.in").write_text(INPUT)
    (tmp_path / "calc.out").write_text(HEAD + SUMMARY if began else "")
    (tmp_path / "calc.err").write_text(words + "\n")
    found = diagnose(tmp_path)
    check(found, cls)
    said = found.message + str(found.evidence)
    assert any(line.split()[0] in said for line in words.splitlines())
    if cls == "unknown":  # "restart once as it is" helps none of them
        assert found.cure != CURES["unknown"] and "run it again" not in found.cure


@pytest.mark.parametrize(
    "words",
    [
        "HYDU_create_process (launch.c:73): execvp error on file pw.x (No such file or directory)",
        "bash: line 4: /opt/qe/bin/pw.x: Permission denied",
        "/var/spool/slurmd/job77/slurm_script: line 9: mpirun: command not found",
        "mpirun was unable to launch the specified application as it could not find an executable:",
    ],
)
@pytest.mark.parametrize("name", ["calc.out", "calc.err", "slurm-77.out"])
def test_a_program_that_never_started(words: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "calc.in").write_text(INPUT)
    (tmp_path / "calc.out").write_text("")
    (tmp_path / name).write_text(words + "\n")
    found = diagnose(tmp_path)
    check(found, "unknown")
    assert "pw.x did not start" in found.message and "full path" in found.cure


@pytest.mark.parametrize(
    "words",
    [
        "forrtl: severe (174): SIGSEGV, segmentation fault occurred",
        "Program received signal SIGSEGV: Segmentation fault - invalid memory reference.",
        "[n1:4711] Signal: Segmentation fault (11)",
        "srun: error: n1: task 0: Aborted (core dumped)",
        "=   EXIT CODE: 139",
        "mpirun noticed that process rank 0 with PID 0 on node n1 exited on signal 11 (Segmentation fault).",
    ],
)
def test_a_crash_before_the_first_iteration_is_no_symmetry(words: str, tmp_path: Path) -> None:
    (tmp_path / "a.err").write_text(
        f"{words}\nslurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-11-23T16:00:00 ***\n"
    )
    for head in (HEAD, HEAD + SUMMARY):
        (tmp_path / "a.out").write_text(head)
        found = diagnose(tmp_path)
        check(found, "unknown")
        assert "ulimit -s" in found.cure
    (tmp_path / "a.out").write_text(HEAD + SUMMARY + SCF)
    check(diagnose(tmp_path), "diagonalization")


ASKED = (
    "     Parallel version (MPI), running on    16 processors\n"
    "     MPI processes distributed on     {nodes} nodes\n"
    "     61230 MiB available memory on the printing compute node when the environment starts\n"
    "     Estimated max dynamical RAM per process >       9.41 GB\n"
)
TOTAL = "     Estimated total dynamical RAM >     150.56 GB\n"


@pytest.mark.parametrize(
    ("nodes", "total", "words", "cls"),
    [
        (1, TOTAL, "mpirun noticed that process rank 3 exited on signal 9 (Killed).", "out_of_memory"),
        (1, "", "/var/spool/job: line 7:  4711 Killed   pw.x -in a.in", "out_of_memory"),
        (4, TOTAL, "mpirun noticed that process rank 3 exited on signal 9 (Killed).", "interrupted"),
        (1, TOTAL, "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-23T16:00:00 ***", "interrupted"),
    ],
)  # fmt: skip
def test_memory_behind_signal_9(
    nodes: int, total: str, words: str, cls: str, tmp_path: Path
) -> None:
    (tmp_path / "a.out").write_text(HEAD + ASKED.format(nodes=nodes) + total + SCF)
    (tmp_path / "job.err").write_text(words + "\n")
    check(diagnose(tmp_path), cls)


@pytest.mark.parametrize(
    "line", ["     total energy              =             NaN Ry", "     estimated scf accuracy    <             NaN Ry"]
)  # fmt: skip
def test_energies_that_are_no_numbers_are_not_mixed_away(line: str, tmp_path: Path) -> None:
    bad = "     convergence NOT achieved after   2 iterations: stopping\n"
    (tmp_path / "a.out").write_text(
        GOOD.replace("!    total", f"{line}\n\n!    total").replace(
            "     convergence has been achieved in   9 iterations", bad
        )
    )
    found = diagnose(tmp_path)
    check(found, "geometry")
    assert "pseudopotentials" in found.cure and "mixing does not help" in found.cure


def test_more_time_mends_no_energy_that_is_no_number(tmp_path: Path) -> None:
    nan = "     total energy              =             NaN Ry\n"
    (tmp_path / "a.out").write_text(HEAD + SCF + nan)
    (tmp_path / "a.err").write_text("=>> PBS: job killed: walltime 3622 exceeded limit 3600\n")
    check(diagnose(tmp_path), "geometry")


def test_only_a_clean_stop_is_restarted(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(HEAD + SCF)
    (tmp_path / "a.err").write_text("=>> PBS: job killed: walltime 3622 exceeded limit 3600\n")
    killed = diagnose(tmp_path)
    check(killed, "out_of_walltime")
    (tmp_path / "a.out").write_text(HEAD + SCF + "     Maximum CPU time exceeded\n" + GOOD[-300:])
    (tmp_path / "a.err").unlink()
    stopped = diagnose(tmp_path)
    check(stopped, "out_of_walltime")
    assert "'restart'" in stopped.cure and "'restart'" not in killed.cure


def test_no_cure_deletes_or_names_a_solver_that_is_gone() -> None:
    for words in (*CURES.values(), *(rule.cure for rule in RULES)):
        assert not any(bad in words for bad in ("remove", "delete", "wipe", "rm -", "ppcg"))


def test_our_own_runs(tmp_path: Path) -> None:
    assert MACHINE in KINDS and MACHINE not in CURES
    (tmp_path / "pw.out").write_text(HEAD)
    (tmp_path / "stderr.txt").write_text("")
    assert classify(tmp_path, 139).kind == "symmetry"  # seen for cells just off a symmetric one
    (tmp_path / "pw.out").write_text(HEAD + ASKED.format(nodes=1) + TOTAL + SCF)
    assert classify(tmp_path, 137).kind == "out_of_memory"
    (tmp_path / "pw.out").write_text(HEAD + SCF)
    assert classify(tmp_path, 137).kind == "interrupted"


def test_the_cure_of_a_failure_is_stored_only_where_there_is_one() -> None:
    plain, told = Failure("disk", "full"), Failure("input", "no such solver", cure="name another")
    assert set(plain.to_json()) == {"kind", "message", "evidence"}
    assert [Failure.from_json(item.to_json()) for item in (plain, told)] == [plain, told]
    assert PERSON not in KINDS
