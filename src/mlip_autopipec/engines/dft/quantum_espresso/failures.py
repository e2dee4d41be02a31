r"""Why a pw.x run failed: a table of rules over its output, CRASH file, stderr and exit code.

Each rule was written against a run that was provoked (``tests/fixtures/qe``) or, where the machine at hand could not
provoke it, against the message in the sources of pw.x 6.7 and 7.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.engines.dft.quantum_espresso.config import CRASH, OUTPUT, STDERR
from mlip_autopipec.types import Evidence, Failure

__all__ = ["KINDS", "RULES", "TIMED_OUT_EXIT_CODE", "Rule", "classify", "fail"]

#: Exit code that the runtime reports for a program it killed at the wall time (that of coreutils' timeout).
TIMED_OUT_EXIT_CODE = 124


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern and what it means. Rules are tried in order, the first hit decides.

    ``anywhere``: the pattern is looked for in all of the output; otherwise only where pw.x reports errors (the two
    lines of an error box, CRASH, stderr), because words like ``cdiaghg`` or ``volume`` stand in every good output too.
    """

    kind: str
    pattern: re.Pattern[str]
    message: str
    anywhere: bool = False


def _rule(kind: str, pattern: str, message: str, anywhere: bool = False) -> Rule:
    return Rule(kind, re.compile(pattern, re.IGNORECASE), message, anywhere)


RULES: tuple[Rule, ...] = (
    # The machine: these also leave follow-up errors, so they come first.
    _rule("out_of_memory", r"cannot allocate memory|error allocating|insufficient virtual memory|oom-kill|"
          r"out of memory", "not enough memory"),
    _rule("disk", r"no space left on device|write_rhog: error writing|error writing file|disk quota exceeded|"
          r"error while writing from file|cannot open xml_recover|davcio: error while writing",
          "the scratch folder cannot be written"),
    _rule("disk", r"check_tempdir|tempdir.*(cannot|can't|not).*(creat|writ|access|open)|cannot open.*for writing",
          "the scratch folder cannot be used"),
    _rule("restart_corrupt", r"read_rhog|read_rho|error reading file|error opening.*(charge|wfc)|read_collected_wfc|"
          r"pw_restart|davcio: error while reading|qexsd_readschema|xml data file not found",
          "files of an earlier run are broken"),
    # What a person (or the plan) got wrong.
    _rule("smearing_needed", r"smearing is needed", "occupations are fixed but the system is metallic"),
    _rule("smearing_needed", r"fixed occupations and lsda need tot_magnetization", "spin needs smeared occupations"),
    _rule("smearing_needed", r"fixed occupations.*(odd|even).*electrons|lsda or smearing", "odd number of electrons"),
    _rule("charge_wrong", r"charge is wrong|starting.*charge.*renormalised.*error|smooth density is wrong",
          "the electrons do not add up to the charge"),
    _rule("too_few_bands", r"too few (spin (up|down) )?bands", "fewer bands than electrons need"),
    _rule("too_many_bands", r"more bands than PWs", "more bands than plane waves"),
    _rule("geometry", r"atoms #\s*\d+\s+and\s+#?\s*\d+\s+(overlap|differ by lattice vector)|check_atoms",
          "two atoms sit on the same place"),
    _rule("pseudopotential", r"\breadpp\b|read_upf|read_ps|pseudopotential.*(not found|missing)|file.*\.upf.*not found|"
          r"inconsistent DFT|wrong pseudopotential", "a pseudopotential cannot be read"),
    _rule("parallelization", r"invalid number of pools|mp_start_pools|mp_start_bands|some nodes have no k-points|"
          r"some processors have no|not enough slots|ndiag.*(square|too large)|cholesky.*ndiag",
          "the split over processes does not fit"),
    # The calculation itself.
    _rule("diagonalization", r"S matrix not positive definite|zhegvd failed|problems computing cholesky",
          "the iterative diagonalisation broke down", anywhere=True),
    _rule("diagonalization", r"S matrix not positive definite|zhegvd|dsygvd|problems computing cholesky|"
          r"too many bands are not converged|eigenvectors failed to converge|cdiaghg|rdiaghg|pcdiaghg|"
          r"c_bands: .*not converged.*stopping", "the iterative diagonalisation broke down"),
    _rule("symmetry", r"not a group|symmetry operation.*not|sgam_at|sym_rho_init|inverse not defined|lone vector|"
          r"wrong (number of )?symmetr|irreducible_bz|not orthogonal operation|kpoint_grid|too many k-points|"
          r"error in routine\s+(set_sym|smallg|inverse_s|multable|s_axis)", "the symmetry analysis failed"),
    _rule("input", r"read_namelists|read_cards|card_(kpoints|atomic|cell)|error in routine\s+(iosys|readin|input|"
          r"system_checkin|card_\w+|cell_base|setup|gcutoff|set_occupations|volume)|bad line in namelist|"
          r"wrong axis vectors", "the input is refused"),
    _rule("out_of_walltime", r"maximum CPU time exceeded", "the time limit was reached", anywhere=True),
    _rule("scf_not_converged", r"convergence NOT achieved", "the SCF cycle did not converge", anywhere=True),
)  # fmt: skip

KINDS: frozenset[str] = frozenset({rule.kind for rule in RULES} | {"interrupted", "unknown"})

_ERROR = re.compile(r"Error in routine\s+(\S+)\s+\((-?\d+)\):")
_FORTRAN = re.compile(r"Error allocating|Operating system error|At line \d+ of file|Fortran runtime error|forrtl:")
_CRASHED = re.compile(r"SIGSEGV|signal 11|Segmentation fault|forrtl: severe")


def classify(folder: Path, exit_code: int | None) -> Failure:
    """The failure that the files of ``folder`` show, with the lines that prove it."""
    lines = list(_lines(folder))
    reported = [_is_error_report(lines, index) for index in range(len(lines))]
    for rule in RULES:
        for index, (file, number, text) in enumerate(lines):
            if (rule.anywhere or reported[index]) and rule.pattern.search(text):
                return Failure(rule.kind, f"{rule.message}: {text.strip()}", _around(lines, index, file, number))
    if exit_code == TIMED_OUT_EXIT_CODE:
        return Failure("out_of_walltime", "killed at the wall time", _tail(lines))
    for index, (file, number, text) in enumerate(lines):
        if found := _ERROR.search(text):
            message = f"error in routine {found[1]} ({found[2]})"
            return Failure("unknown", message, _around(lines, index, file, number))
    return _without_words(lines, exit_code)


def _without_words(lines: list[tuple[str, int, str]], exit_code: int | None) -> Failure:
    """A run that ended without saying why."""
    crashed = any(_CRASHED.search(text) for _, _, text in lines)
    started_scf = any(re.search(r"iteration #|Self-consistent Calculation", text) for _, _, text in lines)
    finished = any("JOB DONE" in text for _, _, text in lines)
    if exit_code == 139 or crashed:
        if not started_scf:
            # Seen for lattices a few 1e-7 off a symmetric one: signal 11 in the symmetry analysis, no text at all.
            return Failure("symmetry", "crashed (signal 11) before the first iteration", _tail(lines))
        return Failure("diagonalization", "crashed (signal 11) in the SCF cycle", _tail(lines))
    if not finished and (exit_code is None or exit_code == 0 or exit_code > 128):
        how = "the output ends early" if exit_code in (None, 0) else f"killed by signal {int(exit_code or 0) - 128}"
        return Failure("interrupted", how, _tail(lines))
    return Failure("unknown", f"exit code {exit_code} without a known message", _tail(lines))


def fail(kind: str, message: str, folder: Path, file: str, pattern: str | None = None) -> Failure:
    """A failure of ``kind`` with the lines of ``file`` that match ``pattern`` (at most five) as evidence."""
    lines = [entry for entry in _lines(folder) if entry[0] == file]
    shown = lines[-3:] if pattern is None else [entry for entry in lines if re.search(pattern, entry[2])][-5:]
    return Failure(kind, message, tuple(Evidence(name, number, text.rstrip()) for name, number, text in shown))


def _lines(folder: Path) -> Iterator[tuple[str, int, str]]:
    for name in (OUTPUT, CRASH, STDERR):
        path = folder / name
        if path.is_file():
            for number, text in enumerate(path.read_text(errors="replace").splitlines(), 1):
                yield name, number, text


def _is_error_report(lines: list[tuple[str, int, str]], index: int) -> bool:
    """True for CRASH and stderr, and for the two lines of an error box (or Fortran's own) in the output."""
    file, _, text = lines[index]
    above = lines[index - 1][2] if index else ""
    return file != OUTPUT or any(_ERROR.search(line) or _FORTRAN.search(line) for line in (text, above))


def _around(lines: list[tuple[str, int, str]], index: int, file: str, number: int) -> tuple[Evidence, ...]:
    """The line, with the ``Error in routine`` line above it or the reason below it."""
    chosen = [
        entry
        for entry in lines[max(0, index - 1) : index + 2]
        if entry[0] == file and (entry[1] == number or _ERROR.search(entry[2]) or _ERROR.search(lines[index][2]))
    ]
    return tuple(Evidence(name, at, text.strip()) for name, at, text in chosen if text.strip(" %"))


def _tail(lines: list[tuple[str, int, str]], count: int = 3) -> tuple[Evidence, ...]:
    filled = [entry for entry in lines if entry[2].strip()]
    return tuple(Evidence(name, number, text.strip()) for name, number, text in filled[-count:])
