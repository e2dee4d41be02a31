r"""Why a pw.x run failed: rules over its output, CRASH file, stderr, scheduler messages and exit
code.

What decides, from the top:

1. Memory ran out (runtime library, kernel, scheduler): ``out_of_memory``.
2. Scratch cannot be written: ``disk``.
3. An error box of pw.x (``Error in routine``, CRASH): by the first rule of ``RULES`` that it fits.
4. A scheduler's or MPI's last words: ``out_of_walltime`` or ``interrupted``.
5. ``Maximum CPU time exceeded``, ``Program stopped by user``: likewise.
6. ``convergence NOT achieved`` after the last success: ``scf_not_converged``.
7. Killed at the wall time by us (exit code 124): ``out_of_walltime``.
8. An error box without a rule: ``unknown``.
9. Signal 11 without words: before the SCF cycle ``symmetry``, in it ``diagonalization``.
10. The output ends without ``JOB DONE``: ``interrupted``.

Numbers 1 to 4 look at CRASH, stderr and scheduler files only when the newest run has no ``JOB
DONE``: pw.x never prints it after an error, so that beside it those files tell of another run.
Follow-up errors are why 1 and 2 come first. What a run with ``JOB DONE`` must still fulfil is in
:mod:`.checks`.
"""

from __future__ import annotations

import re
from pathlib import Path

from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.engines.dft.quantum_espresso.config import CRASH, OUTPUT, STDERR
from mlip_autopipec.engines.dft.quantum_espresso.failure_rules import RULES
from mlip_autopipec.engines.dft.quantum_espresso.records import (
    Folder,
    Line,
    Report,
    read_own_folder,
    reports_in,
)

__all__ = ["CLASSES", "KINDS", "TIMED_OUT_EXIT_CODE", "classify", "fail", "judge"]

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
