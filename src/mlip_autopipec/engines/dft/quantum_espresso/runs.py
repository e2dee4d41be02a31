"""The runs of pw.x that one output tells of, and the error reports in it (versions 3 to 7.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from mlip_autopipec.engines.dft.quantum_espresso.texts import Line

__all__ = ["PROGRAM", "Report", "Role", "Run", "reports_in", "run_of", "runs_in", "snippet_of_pw"]

Role = Literal["output", "crash", "log"]

#: The header of any program of Quantum ESPRESSO.
PROGRAM = re.compile(r"^\s*Program\s+(\w[\w.-]*)\s+v\.?\s*(\S+)", re.MULTILINE)
_PW = "PWSCF"
_CLOCK = r"(\d+)\s*([A-Za-z]{3})\s*(\d{4})\s+at\s+(\d+):\s*(\d+):\s*(\d+)"
_STARTS = re.compile(rf"(?:starts on|Today is)\s+{_CLOCK}")
_ENDED = re.compile(
    r"This run was terminated on:\s+(\d+):\s*(\d+):\s*(\d+)\s+(\d+)\s*([A-Za-z]{3})\s*(\d{4})"
)
_HEADER_LINES = 5
#: Serial copies of pw.x under one mpirun print a header each, at the same time.
_SAME_LAUNCH = timedelta(seconds=5)
#: The first version that says JOB DONE; those before end with their table of clocks.
_SAYS_DONE = 5
_LAST_CLOCK = re.compile(r"^\s*PWSCF\s+:.*(CPU|WALL)")
_SPENT = re.compile(r"total cpu time spent up to now is\s+(\d+\.?\d*)")

_BOX = re.compile(r"Error in routine\s+(.+?)\s+\((-?\d+)\):", re.IGNORECASE)
#: In CRASH, and in outputs of versions before 5.
_CRASH_BOX = re.compile(r"^\s*from\s+(.+?)\s+:\s+error #\s*(-?\d+)")
_FORTRAN = re.compile(
    r"Error allocating|Operating system error|At line \d+ of file|Fortran runtime error|forrtl:"
    r" (severe|error)|^In file '|\bP?G?FIO-[FS]-\d+|lib-\d+ : UNRECOVERABLE"
)
#: Words of which a report of the Fortran runtime has one, looked for before the pattern.
_FORTRAN_SIGNS = ("llocat", "perating", "At line", "ortran", "forrtl", "In file", "FIO-", "lib-")
_ONLY_PW_SAYS = re.compile(
    r"Self-consistent Calculation|estimated scf accuracy|Maximum CPU time exceeded|G_par is NOT a"
    r" reciprocal|convergence NOT achieved after|BFGS Geometry Optimization"
)


@dataclass(frozen=True, slots=True)
class Report:
    """An error report: ``routine (code): reason`` in one line, and the lines it was made from."""

    text: str
    lines: tuple[Line, ...]
    role: Role

    @property
    def is_box(self) -> bool:
        """From pw.x itself, not from the runtime library."""
        return self.text.startswith("Error in routine")

    @property
    def words(self) -> str:
        """Routine and reason without the code, which differs from rank to rank."""
        return re.sub(r"\s+", " ", re.sub(r" \(-?\d+\):", ":", self.text)).strip().lower()


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pw.x in an output file. ``finished``: it says that it is done (``JOB DONE``; old
    versions: their clocks), which says nothing about success. ``modified``: of the file, seconds.
    """

    file: str
    lines: tuple[Line, ...]
    version: str | None
    started: datetime | None
    ended: datetime | None
    modified: float
    finished: bool

    @property
    def spent_s(self) -> float:
        """Seconds that it says it worked, 0 where it says none."""
        for line in reversed(self.lines):
            if "total cpu time spent" in line.text and (found := _SPENT.search(line.text)):
                return float(found[1])
        return 0.0


def runs_in(lines: Sequence[Line], modified: float) -> list[Run]:
    """Runs of pw.x in one file, as they stand there: outputs are often appended, and job scripts
    run other programs too, whose parts are left out.
    """
    headers = [
        (index, found[1])
        for index, line in enumerate(lines)
        if "Program" in line.text and (found := PROGRAM.match(line.text))
    ]
    runs: list[Run] = []
    ends = [index for index, _ in headers[1:]] + [len(lines)]
    for (start, program), end in zip(headers, ends, strict=False):
        if program != _PW:
            continue
        run = run_of(tuple(lines[start:end]), lines[0].file, modified)
        if runs and _same_launch(runs[-1], run):
            first = runs.pop().lines[0].number - lines[0].number
            run = run_of(tuple(lines[first:end]), lines[0].file, modified)
        runs.append(run)
    return runs


def _same_launch(one: Run, following: Run) -> bool:
    if one.started is None or following.started is None or one.finished:
        return False
    close = abs(following.started - one.started) <= _SAME_LAUNCH
    return close and not reports_in(one.lines, "output")


def run_of(lines: tuple[Line, ...], file: str, modified: float) -> Run:
    """All ``lines`` as one run, from its header on where there is one."""
    version = PROGRAM.match(lines[0].text) if lines else None
    head = lines[:_HEADER_LINES]
    started = next((found for line in head if (found := _STARTS.search(line.text))), None)
    ended = next(
        (
            found
            for line in reversed(lines)
            if "terminated on" in line.text and (found := _ENDED.search(line.text))
        ),
        None,
    )
    return Run(
        file,
        lines,
        version[2] if version else None,
        _date(*started.groups()) if started else None,
        _date(*ended.groups()[3:], *ended.groups()[:3]) if ended else None,
        modified,
        _finished(lines, version[2] if version else None),
    )


def _finished(lines: Sequence[Line], version: str | None) -> bool:
    if any(
        "JOB DONE" in line.text and line.text.lstrip().startswith("JOB DONE")
        for line in reversed(lines)
    ):
        return True
    major = re.match(r"\d+", version or "")
    if major is None or int(major[0]) >= _SAYS_DONE:
        return False
    return any("PWSCF" in line.text and _LAST_CLOCK.match(line.text) for line in reversed(lines))


def _date(*parts: str) -> datetime | None:
    day, month, year, hour, minute, second = parts
    try:
        date = datetime.strptime(f"{int(day):02d}{month}{year}", "%d%b%Y")
        return date.replace(hour=int(hour), minute=int(minute), second=int(second))
    except ValueError:
        return None


def snippet_of_pw(text: str) -> bool:
    """Output of pw.x whose header was cut away."""
    return bool(_BOX.search(text) or _ONLY_PW_SAYS.search(text))


def reports_in(lines: Sequence[Line], role: Role) -> list[Report]:
    """Error boxes of pw.x (``Error in routine``, ``from ... : error #``) and messages of the
    Fortran runtime.
    """
    found = list(_reports(lines, role))
    if role == "crash" and lines and not any(report.is_box for report in found):
        # Bare words: some errors are written without a box.
        found += [Report(line.text.strip(), (line,), role) for line in lines if line.text.strip()]
    return found


def _reports(lines: Sequence[Line], role: Role) -> Iterator[Report]:
    for index, line in enumerate(lines):
        text = line.text
        box = _BOX.search(text) if "in routine" in text else None
        if box is None and "error #" in text:
            box = _CRASH_BOX.search(text)
        if box:
            reason = _until_rule(lines[index + 1 : index + 6])
            words = " ".join(entry.text.strip() for entry in reason)
            yield Report(f"Error in routine {box[1]} ({box[2]}): {words}", (line, *reason), role)
        elif any(sign in text for sign in _FORTRAN_SIGNS) and _FORTRAN.search(text):
            following = tuple(entry for entry in lines[index + 1 : index + 2] if entry.text.strip())
            words = " ".join(entry.text.strip() for entry in (line, *following))
            yield Report(words, (line, *following), role)


def _until_rule(lines: Sequence[Line]) -> tuple[Line, ...]:
    kept: list[Line] = []
    for line in lines:
        if "%%%%" in line.text or _BOX.search(line.text):
            break
        if line.text.strip():
            kept.append(line)
    return tuple(kept)
