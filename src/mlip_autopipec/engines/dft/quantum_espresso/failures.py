r"""Why a pw.x run failed: rules over its output, CRASH file, stderr, scheduler messages and exit
code.

What decides, from the top:

1. Memory ran out (runtime library, kernel, scheduler, GPU): ``out_of_memory``.
2. Scratch cannot be written: ``disk``.
3. An error box of pw.x (``Error in routine``, CRASH): by the first rule of ``RULES`` that it fits.
4. Time limit of the queue: ``out_of_walltime``. A machine that cannot start or run pw.x
   (libraries, MPI, GPU): ``machine``.
5. ``Maximum CPU time exceeded``, ``Program stopped by user``.
6. Energies that are no numbers: ``geometry``, also before a time limit or a stop.
7. ``convergence NOT achieved`` after the last success: ``scf_not_converged``.
8. Killed at the wall time by us (exit code 124): ``out_of_walltime``.
9. An error box without a rule: ``unknown``.
10. Signal 11 without words: in the SCF cycle ``diagonalization``; before it ``symmetry`` for our
    own pw.x, which is known to run here, else ``machine``.
11. Killed by signal 9, and pw.x itself asked for more memory than there is: ``out_of_memory``.
12. Nothing of pw.x ran: ``machine``. The output ends without ``JOB DONE``: ``interrupted``.

Numbers 1 to 5 look at CRASH, stderr and scheduler files only when the run has no ``JOB DONE``:
pw.x never prints it after an error, so that beside it those files tell of another run. Follow-up
errors are why 1 and 2 come first. What a run with ``JOB DONE`` must still fulfil is in
:mod:`.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.engines.dft.quantum_espresso import checks, memory
from mlip_autopipec.engines.dft.quantum_espresso.classes import CLASSES, KINDS, MACHINE
from mlip_autopipec.engines.dft.quantum_espresso.config import CRASH, OUTPUT, STDERR
from mlip_autopipec.engines.dft.quantum_espresso.failure_rules import RULES
from mlip_autopipec.engines.dft.quantum_espresso.machine_rules import CRASHED, NOT_STARTED
from mlip_autopipec.engines.dft.quantum_espresso.records import Folder, read_own_folder
from mlip_autopipec.engines.dft.quantum_espresso.rule import Rule
from mlip_autopipec.engines.dft.quantum_espresso.runs import Report, reports_in
from mlip_autopipec.engines.dft.quantum_espresso.texts import Line

__all__ = ["CLASSES", "KINDS", "TIMED_OUT_EXIT_CODE", "classify", "fail", "judge"]

#: Exit code that the runtime reports for a program it killed at the wall time (that of coreutils'
#: timeout).
TIMED_OUT_EXIT_CODE = 124
_SIGNAL_9, _SIGNAL_11 = 137, 139
_LAST_SIGNAL = 128 + 64
#: Last words stand at the end of a file, however long it is (thousands of ranks, each with a
#: backtrace); the head has what a launcher says.
_HEAD_LINES, _TAIL_LINES = 2_000, 20_000

_KILLED = re.compile(r"signal:? 9\b|\bkilled\b|SIGKILL|\b137\b", re.IGNORECASE)
_STARTED_SCF = ("iteration #", "Band Structure Calculation")
_SCF = "Self-consistent Calculation"
_START_CURE = (
    "ulimit -s unlimited and the libraries of the build first; for a cell a few 1e-7 off a"
    " symmetric one more digits, or nosym = .true."
)


def classify(folder: Path, exit_code: int | None) -> Failure:
    """The failure that the files of one of our own attempts show, with the lines that prove it."""
    return judge(read_own_folder(folder, OUTPUT, CRASH, (STDERR,)), exit_code, own=True)


def judge(folder: Folder, exit_code: int | None, own: bool = False) -> Failure:
    """The failure of the run of ``folder``, by the table above. ``own``: our own pw.x, which is
    known to run here.

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
    # Thousands of ranks say the same.
    reports = list({report.words: report for report in reversed(reports)}.values())[::-1]
    lines = _ends(output) + _ends(aside)
    first = RULES if any(report.is_box for report in reports) else _unboxed(lines)
    found = _by_rule(first, reports, lines)
    if found is None or found.kind in ("out_of_walltime", "interrupted"):
        # More time mends no energy that is no number.
        found = checks.not_a_number(output) or found
    if found is not None:
        return found
    if missed := unconverged(output):
        return Failure(
            "scf_not_converged",
            f"the SCF cycle did not converge: {missed.text.strip()}",
            _proof(missed),
        )
    if exit_code == TIMED_OUT_EXIT_CODE:
        return Failure("out_of_walltime", "killed at the wall time", _tail(lines))
    if boxed := next((report for report in reports if report.is_box), None):
        return Failure("unknown", boxed.text, tuple(line.evidence() for line in boxed.lines))
    return _without_words(output, lines, finished, exit_code, own)


def _ends(lines: Sequence[Line]) -> tuple[Line, ...]:
    if len(lines) <= _HEAD_LINES + _TAIL_LINES:
        return tuple(lines)
    return (*lines[:_HEAD_LINES], *lines[-_TAIL_LINES:])


def _unboxed(lines: Sequence[Line]) -> tuple[Rule, ...]:
    """The rules for a run without an error box. When it crashed by a signal, the scheduler's
    message that it stopped the other ranks is no cause.
    """
    if not any(CRASHED.search(line.text) for line in lines):
        return RULES
    return tuple(rule for rule in RULES if rule.kind != "interrupted")


def _by_rule(
    rules: Sequence[Rule], reports: Sequence[Report], lines: Sequence[Line]
) -> Failure | None:
    for rule in rules:
        for report in reports:
            if rule.pattern.search(report.text):
                evidence = tuple(line.evidence() for line in report.lines)
                return Failure(rule.kind, f"{rule.message}: {report.text}", evidence, rule.cure)
        if rule.anywhere:
            for line in lines:
                if rule.pattern.search(line.text):
                    message = f"{rule.message}: {line.text.strip()}"
                    if _KILLED.search(line.text) and (asked := memory.too_much(lines)):
                        return asked
                    return Failure(rule.kind, message, _proof(line), rule.cure)
    return None


def unconverged(lines: Sequence[Line]) -> Line | None:
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
    output: tuple[Line, ...],
    lines: tuple[Line, ...],
    finished: bool,
    exit_code: int | None,
    own: bool,
) -> Failure:
    """A run that ended without saying why."""
    crash = next((line for line in lines if CRASHED.search(line.text)), None)
    if exit_code == _SIGNAL_11 or crash is not None:
        proof = _tail(lines) if crash is None else _proof(crash)
        how = "signal 11" if crash is None else crash.text.strip()
        started = (*_STARTED_SCF, _SCF) if own else _STARTED_SCF
        if any(sign in line.text for line in output for sign in started):
            return Failure("diagonalization", f"crashed in the SCF cycle ({how})", proof)
        if own:
            # Seen for lattices a few 1e-7 off a symmetric one: signal 11 in the symmetry analysis,
            # no text at all.
            return Failure("symmetry", f"crashed before the first iteration ({how})", proof)
        message = f"crashed before the first iteration, the program or its surroundings ({how})"
        return Failure(MACHINE, message, proof, _START_CURE)
    absent = next((line for line in lines if NOT_STARTED.pattern.search(line.text)), None)
    if absent is not None and not any("Program PWSCF" in line.text for line in output):
        message = f"{NOT_STARTED.message}: {absent.text.strip()}"
        return Failure(MACHINE, message, _proof(absent), NOT_STARTED.cure)
    if not finished and (exit_code is None or exit_code == 0 or 128 < exit_code <= _LAST_SIGNAL):
        if exit_code == _SIGNAL_9 and (asked := memory.too_much(output)):
            return asked
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


def _tail(lines: Sequence[Line], count: int = 3) -> tuple[Evidence, ...]:
    kept = [line for line in lines[-500:] if line.text.strip()]
    return tuple(line.evidence() for line in kept[-count:])
