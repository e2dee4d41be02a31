r"""Why a pw.x run failed: rules over its output, CRASH file, stderr, scheduler messages and exit
code.

Each rule was written against a run that was provoked (``tests/fixtures``) or, where the machine at
hand could not provoke it, against the message in the sources of pw.x 6.5 to 7.x. What decides, from
the top:

===  ============================================================
========================================== no.  sign
class ===  ============================================================
========================================== 1    memory ran out (runtime library, kernel, scheduler)
out_of_memory 2    scratch cannot be written                                     disk 3    error box
of pw.x (``Error in routine``, CRASH)               by the first rule of ``RULES`` that it fits 4
a scheduler's or MPI's last words                             out_of_walltime, interrupted 5
``Maximum CPU time exceeded``, ``Program stopped by user``    out_of_walltime, interrupted 6
``convergence NOT achieved`` after the last success           scf_not_converged 7    killed at the
wall time by us (exit code 124)                 out_of_walltime 8    error box without a rule
unknown 9    signal 11 without words: before the SCF cycle, in it          symmetry, diagonalization
10   output ends without ``JOB DONE``                              interrupted ===
============================================================
==========================================

Rows 1 to 4 look at CRASH, stderr and scheduler files only when the newest run has no ``JOB DONE``:
pw.x never prints it after an error, so that beside it those files tell of another run. Follow-up
errors are why rows 1 and 2 come first. What a run with ``JOB DONE`` must still fulfil is in
:mod:`.checks`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.engines.dft.quantum_espresso.config import CRASH, OUTPUT, STDERR
from mlip_autopipec.engines.dft.quantum_espresso.records import (
    Folder,
    Line,
    Report,
    read_own_folder,
    reports_in,
)

__all__ = ["CLASSES", "KINDS", "RULES", "TIMED_OUT_EXIT_CODE", "Rule", "classify", "fail", "judge"]

#: Exit code that the runtime reports for a program it killed at the wall time (that of coreutils'
#: timeout).
TIMED_OUT_EXIT_CODE = 124
_SIGNAL_11 = 139
_LAST_SIGNAL = 128 + 64

#: Every class a diagnosis can have.
CLASSES = (
    "ok",
    "scf_not_converged",
    "diagonalization",
    "out_of_walltime",
    "interrupted",
    "too_few_bands",
    "smearing_needed",
    "charge_wrong",
    "symmetry",
    "geometry",
    "parallelization",
    "fft_volume",
    "ionic_not_converged",
    "exx",
    "pseudopotential",
    "input",
    "out_of_memory",
    "disk",
    "restart_corrupt",
    "unknown",
)
KINDS: frozenset[str] = frozenset(CLASSES) - {"ok"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern and what it means. Rules are tried in order, the first hit decides.

    ``anywhere``: looked for in every line of output and logs; otherwise only in error reports
    (``Error in routine NAME (CODE): reason`` as one line, and the Fortran runtime's own), because
    words like ``cdiaghg`` or ``volume`` stand in every good output too.
    """

    kind: str
    pattern: re.Pattern[str]
    message: str
    anywhere: bool = False


def _rule(kind: str, pattern: str, message: str, anywhere: bool = False) -> Rule:
    return Rule(kind, re.compile(pattern, re.IGNORECASE), message, anywhere)


RULES: tuple[Rule, ...] = (
    # The machine: these also leave follow-up errors, so they come first.
    _rule(
        "out_of_memory",
        r"cannot allocate memory|insufficient virtual memory|oom[-_ ]kill|out[-_ ]of[-_ ]memory|"
        r"error allocating \d+ bytes|std::bad_alloc|exceeded (job|step) memory limit|"
        r"job killed: v?mem|"
        r"memory (usage|use|limit).{0,30}exceed|TERM_MEMLIMIT",
        "not enough memory",
        anywhere=True,
    ),
    _rule(
        "out_of_memory",
        r"cannot allocate|error allocating|allocation (failed|would exceed)|out of memory",
        "not enough memory",
    ),
    _rule(
        "disk",
        r"no space left on device|disk quota exceeded|read-only file system|"
        r"stale (nfs )?file handle",
        "the scratch folder cannot be written",
        anywhere=True,
    ),
    _rule(
        "disk",
        r"error writing|error while writing|cannot write|write error|cannot open.*for writing|"
        r"cannot open xml_recover|cannot be created or accessed|input/output error",
        "the scratch folder cannot be written",
    ),
    _rule(
        "disk",
        r"check_tempdir|tempdir.*(cannot|can't|not).*(creat|writ|access|open)|write_rhog|write_collected_wfc|"
        r"routine (pw_write\w*|write_wfc\w*)",
        "the scratch folder cannot be used",
    ),
    # The calculation itself, where the words are beyond doubt.
    _rule(
        "exx",
        r"dexx is negative|exxdiv_treatment is appropriate",
        "the exchange energy estimate is negative",
        anywhere=True,
    ),
    _rule(
        "fft_volume",
        r"not enough space allocated for radial FFT|larger cell_factor",
        "the cell changed more than the plane waves allow",
        anywhere=True,
    ),
    _rule(
        "fft_volume",
        r"routine scale_h|the nr.{0,2}s are too small|routine (ggen|gvec\w*).*(too many|missing)|"
        r"FFT dimensions|g-vectors missing",
        "the FFT grid does not fit the cell",
    ),
    _rule(
        "diagonalization",
        r"S matrix not positive definite|zhegvd failed|problems computing cholesky|"
        r"cholesky failed|qr\(X, 0\) failed|eigenvectors failed to converge|"
        r"too many bands are not converged|"
        r"diagonalization \(\w+\) failed",
        "the iterative diagonalisation broke down",
        anywhere=True,
    ),
    _rule(
        "diagonalization",
        r"routine broyden",
        "the charge mixing broke down (Broyden factorisation)",
    ),
    # The order of occupations: the more special message first.
    _rule(
        "smearing_needed",
        r"smearing is needed|specify occupations|fixed occupations and lsda need tot_|"
        r"fixed occupations.*(odd|even).*electrons|lsda or smearing",
        "occupations are fixed but should be smeared",
    ),
    _rule(
        "restart_corrupt",
        r"starting and expected charges differ",
        "the charge density read is another one",
    ),
    _rule(
        "charge_wrong",
        r"charge is wrong|smooth density is wrong|number of electrons.*(is )?wrong|"
        r"cannot bracket ef",
        "the electrons do not add up to the charge",
    ),
    _rule(
        "parallelization",
        r"too few bands for required ndiag|ndiag|invalid number of (pools|images|band groups)|"
        r"routine (mp_start_\w+|divide_et_impera|laxlib_start\w*)|nodes have no k-points|"
        r"pools with no k-points|"
        r"processors have no|running on too many processors|no plane waves found|"
        r"too many processors|"
        r"must be divisor of parent_nproc|incompatible with nproc|task_groups|"
        r"sub-group communicator",
        "the split over processes does not fit",
    ),
    _rule(
        "parallelization",
        r"not enough slots available|more processors than permitted|"
        r"requested task count.*exceeds",
        "the split over processes does not fit the machine",
        anywhere=True,
    ),
    _rule(
        "too_few_bands",
        r"too few (spin (up|dw|down) )?bands|increase nbnd",
        "fewer bands than electrons need",
    ),
    _rule(
        "input",
        r"more bands than PWs|too many bands, or too few plane waves",
        "more bands than plane waves: nbnd is too large or ecutwfc too small",
    ),
    _rule(
        "geometry",
        r"check_atoms|atoms #\s*\d+\s+and\s+#?\s*\d+\s+(overlap|differ by)|overlapping atoms|"
        r"routine coset.*nsym|singular determinant|linearly dependent|routine (recips|"
        r"volume)\b|left-handed",
        "atoms or cell make no sense",
    ),
    _rule("geometry", r"Fatal error:\s+\d+ overlapping atoms", "atoms overlap", anywhere=True),
    _rule(
        "pseudopotential",
        r"\breadpp\b|read_upf|read_ps|upf_to_internal|routine \w*upf\w*|scan_(begin|end)|"
        r"pseudopotential|\.upf\b.*not found|conflicting values for|inconsistent DFT|"
        r"your pseudopotential file|"
        r"file xmltools\.f90|routine (set_dft|enforce_dft)\w*|read_pp",
        "a pseudopotential cannot be used",
    ),
    _rule(
        "restart_corrupt",
        r"read_rhog?\b|error (while )?reading|fatal error reading xml|cannot read rho|"
        r"(charge|wfc|restart).*error opening|error opening.*(charge|wfc|restart|\.save)|"
        r"read_collected_wfc|read_wfc|"
        r"pw_restart|read_xml_file|read_conf_from_file|qexsd_readschema|xml data file.*not found|"
        r"needed files (are missing|not found)|routine potinit|cannot open restart|davcio",
        "files of an earlier run are broken or missing",
    ),
    _rule(
        "symmetry",
        r"not a group|symmetry operation.*not|original symmetry operations|sgam_at|sgama|sym_rho|"
        r"inverse not defined|lone vector|wrong (number of )?symmetr|irred\w*_bz|"
        r"not orthogonal operation|"
        r"checkallsym|kpoint_grid|too many k-points|not compatible with FFT grid|"
        r"incompatible FFT grid|"
        r"routine (set_sym\w*|smallg\w*|inverse_s|multable|s_axis\w*|symmetri\w*|coset|"
        r"divide_class\w*|"
        r"set_irr\w*|d_matrix|find_sym|code_group|find_group|exx_grid_init)",
        "the symmetry analysis failed",
    ),
    _rule(
        "diagonalization",
        r"zhegvd|dsygvd|\bp?[cr]diaghg|c_bands|[cr]egterg|\bppcg|routine paro|rotate_wfc|"
        r"routine (laxlib_\w+|\w*cholesky\w*|diag\w*)|solution of the linear system",
        "the iterative diagonalisation broke down",
    ),
    _rule("scf_not_converged", r"negative dr2", "the charge mixing lost its way"),
    _rule(
        "input",
        r"read_namelists|read_cards|card_\w+|reading namelist|bad line in namelist|"
        r"wrong axis vectors|"
        r"routine (iosys|readin|input\w*|system_checkin|control_checkin|electrons_checkin|"
        r"cell_base\w*|setup|gcutoff|"
        r"set_occupations|latgen|init_pos|open_input_file|parse_unit|read_input\w*|get_dft_name|\w*_checkin|"
        r"set_\w+|k_points|n_plane_waves|sort_tau|ions_base\w*)|G_par",
        "the input is refused",
    ),
    _rule(
        "input",
        r"G_par is NOT a reciprocal lattice vector",
        "the k-point strings do not fit the lattice",
        anywhere=True,
    ),
    # The last words of others.
    _rule(
        "out_of_walltime",
        r"due to time limit|walltime \S+ exceeded|exceed(s|ed)? (its |the )?(wall ?clock|"
        r"wall ?time|time) limit|job killed: wall|TERM_RUNLIMIT|wall ?clock limit",
        "the queue's time limit ended it",
        anywhere=True,
    ),
    _rule(
        "out_of_walltime", r"maximum CPU time exceeded", "max_seconds was reached", anywhere=True
    ),
    _rule(
        "interrupted",
        r"CANCELLED AT|preempt(ed|ion)|node[ _]fail|program stopped by user request|"
        r"signal received, stopping|exited on signal (9|15|1)\b|KILLED BY SIGNAL: (9|15)|"
        r"process killed \(SIGTERM\)|caught signal (9|15)|^\s*(killed|terminated)\s*$|"
        r"line \d+:\s+\d+ (killed|terminated)|lost communication|job aborted due to",
        "stopped from outside",
        anywhere=True,
    ),
)

_CRASHED = re.compile(
    r"SIGSEGV|signal 11|Segmentation fault|SIGBUS|SIGFPE|caught signal 11|KILLED BY SIGNAL: 11",
    re.I,
)
_STARTED_SCF = re.compile(r"iteration #|Self-consistent Calculation|Band Structure Calculation")
_NOT_STARTED = re.compile(
    r"command not found|error while loading shared libraries|cannot execute|No such file or"
    r" directory.*pw|"
    r"could not (find|launch|access) (the )?(executable|program|process)|execve\(\)",
    re.IGNORECASE,
)


def classify(folder: Path, exit_code: int | None) -> Failure:
    """The failure that the files of one of our own attempts show, with the lines that prove it."""
    return judge(read_own_folder(folder, OUTPUT, CRASH, (STDERR,)), exit_code)


def judge(folder: Folder, exit_code: int | None) -> Failure:
    """The failure of the newest run in a folder, by the table above.

    The caller knows that it did not succeed.
    """
    run = folder.run
    output: tuple[Line, ...] = run.lines if run else ()
    boxes = reports_in(output, "output")
    finished = run is not None and run.finished and not boxes
    aside = () if finished else folder.logs
    reports = boxes + (
        [] if finished else reports_in(folder.crash, "crash") + reports_in(aside, "log")
    )
    lines = output + aside
    if found := _by_rule(reports, lines):
        return found
    if missed := unconverged(output):
        return Failure(
            "scf_not_converged",
            f"the SCF cycle did not converge: {missed.text.strip()}",
            _proof(missed),
        )
    if exit_code == TIMED_OUT_EXIT_CODE:
        return Failure("out_of_walltime", "killed at the wall time", _tail(lines))
    if boxed := next(
        (report for report in reports if report.text.startswith("Error in routine")), None
    ):
        return Failure("unknown", boxed.text, tuple(line.evidence() for line in boxed.lines))
    return _without_words(output, lines, finished, exit_code)


def _by_rule(reports: list[Report], lines: tuple[Line, ...]) -> Failure | None:
    for rule in RULES:
        for report in reports:
            if rule.pattern.search(report.text):
                evidence = tuple(line.evidence() for line in report.lines)
                return Failure(rule.kind, f"{rule.message}: {report.text}", evidence)
        if rule.anywhere:
            for line in lines:
                if rule.pattern.search(line.text):
                    return Failure(rule.kind, f"{rule.message}: {line.text.strip()}", _proof(line))
    return None


def unconverged(lines: tuple[Line, ...]) -> Line | None:
    """``convergence NOT achieved``, unless a later SCF cycle of the same run (a relaxation) did
    converge.
    """
    for line in reversed(lines):
        if "convergence has been achieved" in line.text:
            return None
        if "convergence NOT achieved" in line.text:
            return line
    return None


def _without_words(
    output: tuple[Line, ...], lines: tuple[Line, ...], finished: bool, exit_code: int | None
) -> Failure:
    """A run that ended without saying why."""
    crash = next((line for line in lines if _CRASHED.search(line.text)), None)
    if exit_code == _SIGNAL_11 or crash is not None:
        proof = _tail(lines) if crash is None else _proof(crash)
        if not any(_STARTED_SCF.search(line.text) for line in output):
            # Seen for lattices a few 1e-7 off a symmetric one: signal 11 in the symmetry analysis,
            # no text at all.
            return Failure("symmetry", "crashed (signal 11) before the first iteration", proof)
        return Failure("diagonalization", "crashed (signal 11) in the SCF cycle", proof)
    if absent := next((line for line in lines if _NOT_STARTED.search(line.text)), None):
        return Failure("unknown", f"pw.x did not start: {absent.text.strip()}", _proof(absent))
    if not finished and (exit_code is None or exit_code == 0 or 128 < exit_code <= _LAST_SIGNAL):
        if not output and not lines:
            return Failure("interrupted", "no output was written", ())
        how = (
            "the output ends early"
            if exit_code in (None, 0)
            else f"killed by signal {int(exit_code or 0) - 128}"
        )
        return Failure("interrupted", how, _tail(output or lines))
    return Failure("unknown", f"exit code {exit_code} without a known message", _tail(lines))


def fail(kind: str, message: str, folder: Path, file: str, pattern: str | None = None) -> Failure:
    """A failure of ``kind`` with the lines of ``file`` that match ``pattern`` (at most five) as
    evidence.
    """
    run = read_own_folder(folder, file, CRASH, ()).run
    lines = run.lines if run else ()
    shown = (
        lines[-3:]
        if pattern is None
        else [line for line in lines if re.search(pattern, line.text)][-5:]
    )
    return Failure(kind, message, tuple(line.evidence() for line in shown))


def _proof(line: Line) -> tuple[Evidence, ...]:
    return (line.evidence(),)


def _tail(lines: tuple[Line, ...], count: int = 3) -> tuple[Evidence, ...]:
    return tuple(line.evidence() for line in lines if line.text.strip())[-count:]
