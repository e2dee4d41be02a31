"""What a folder says: printed output, error reports, messages of schedulers; found by name for our
own runs, by content for anyone's.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from mlip_autopipec.base.tasks import Evidence

__all__ = ["Folder", "Line", "Report", "Run", "read_folder", "read_own_folder", "reports_in"]

Role = Literal["output", "crash", "log"]

_MAX_TEXT_BYTES = 400_000_000
_HEAD_BYTES = 4096
_PROGRAM = re.compile(r"^\s*Program PWSCF\s+v\.?\s*(\S+)", re.MULTILINE)
_STARTS = re.compile(
    r"Program PWSCF.*starts on\s+(\d+)\s*([A-Za-z]{3})\s*(\d{4})\s+at\s+(\d+):\s*(\d+):\s*(\d+)"
)
_ENDED = re.compile(
    r"This run was terminated on:\s+(\d+):\s*(\d+):\s*(\d+)\s+(\d+)\s*([A-Za-z]{3})\s*(\d{4})"
)
_BOX = re.compile(r"Error in routine\s+(\S+)\s+\((-?\d+)\):", re.IGNORECASE)
_CRASH_BOX = re.compile(r"^\s*from\s+(\S+)\s+:\s+error #\s*(-?\d+)")
_FORTRAN = re.compile(
    r"Error allocating|Operating system error|At line \d+ of file|Fortran runtime error|forrtl:"
    r" severe|^In file '"
)
_ONLY_PW_SAYS = re.compile(
    r"Self-consistent Calculation|estimated scf accuracy|Maximum CPU time exceeded|G_par is NOT a"
    r" reciprocal|"
    r"convergence NOT achieved after|BFGS Geometry Optimization"
)
_OUTPUT_NAME = re.compile(r"\.(out|pwo|log)$|^(slurm-|stdout)|\.o\d+$", re.IGNORECASE)
_LOG_NAME = re.compile(
    r"err|\.e\d+$|\.(out|log|txt|po|pe)\d*$|^slurm|\.o\d+$|^(stdout|stderr|nohup)", re.IGNORECASE
)
_NEVER = {
    ".upf",
    ".py",
    ".sh",
    ".json",
    ".yaml",
    ".yml",
    ".md",
    ".cif",
    ".xyz",
    ".xsf",
    ".csv",
    ".gz",
    ".dat",
    ".db",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, counted from 1."""

    file: str
    number: int
    text: str

    def evidence(self) -> Evidence:
        return Evidence(self.file, self.number, self.text.strip())


@dataclass(frozen=True, slots=True)
class Report:
    """An error report: ``routine (code): reason`` in one line, and the lines it was made from."""

    text: str
    lines: tuple[Line, ...]
    role: Role


@dataclass(frozen=True, slots=True)
class Run:
    """The last run of pw.x in one output file."""

    file: str
    lines: tuple[Line, ...]
    version: str | None
    started: datetime | None
    ended: datetime | None
    modified: float

    @property
    def finished(self) -> bool:
        """``JOB DONE`` stands in the output. Says nothing about success."""
        return any(line.text.lstrip().startswith("JOB DONE") for line in self.lines[-200:])


@dataclass(frozen=True, slots=True)
class Folder:
    """Everything that speaks in a folder. ``run``: the newest run, None when no output of pw.x was
    found.

    ``saves``: the folders ``PREFIX.save``, whatever is in them.
    """

    path: Path
    run: Run | None
    others: tuple[str, ...]
    crash: tuple[Line, ...]
    logs: tuple[Line, ...]
    inputs: tuple[Path, ...]
    xmls: tuple[Path, ...]
    saves: tuple[Path, ...] = ()


def read_own_folder(folder: Path, output: str, crash: str, logs: Iterable[str]) -> Folder:
    """A folder whose file names are known. ``run`` is never None: a missing output is an empty
    one.
    """
    return Folder(
        folder,
        _run(folder / output, _lines(folder / output)),
        (),
        _lines(folder / crash),
        tuple(line for name in logs for line in _lines(folder / name)),
        (),
        (),
    )


def read_folder(folder: Path) -> Folder:
    """Find what belongs to pw.x by content, at the top of ``folder`` or, where nothing is there,
    one level below.
    """
    found = _read_level(folder, [folder])
    if found.run is None and not found.crash and not found.inputs:
        below = _read_level(folder, sorted(child for child in folder.iterdir() if child.is_dir()))
        if below.run is not None or below.crash:
            return below
    return found


def _read_level(root: Path, folders: list[Path]) -> Folder:
    runs: list[Run] = []
    crash: list[Line] = []
    logs: list[Line] = []
    inputs: list[Path] = []
    empty: list[Path] = []
    for path in sorted(path for folder in folders for path in folder.iterdir()):
        if (
            not path.is_file()
            or path.suffix.lower() in _NEVER
            or path.stat().st_size > _MAX_TEXT_BYTES
        ):
            continue
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if b"\0" in head:
            continue
        start = head.decode(errors="replace")
        name = str(path.relative_to(root))
        if path.name.upper().startswith("CRASH"):
            crash += _lines(path, name)
        elif re.search(r"<qes:espresso|<UPF|<\?xml|^#!", start):
            continue
        elif _is_input(start):
            inputs.append(path)
        elif not start.strip():
            if _OUTPUT_NAME.search(path.name):
                empty.append(path)
        elif _PROGRAM.search(start) or (_LOG_NAME.search(path.name) and _speaks_like_pw(path)):
            runs.append(_run(path, _lines(path, name)))
        elif _LOG_NAME.search(path.name):
            logs += _lines(path, name)
    runs.sort(key=lambda run: (run.started or datetime.min, run.modified))
    newest = runs[-1] if runs else None
    if newest is None and inputs and empty:
        newest = _run(empty[0], ())
    others = tuple(run.file for run in runs[:-1])
    xmls, saves = (
        sorted(path for folder in folders for path in find(folder)) for find in (_xmls, _saves)
    )
    return Folder(
        root, newest, others, tuple(crash), tuple(logs), tuple(inputs), tuple(xmls), tuple(saves)
    )


def _is_input(text: str) -> bool:
    namelist = re.search(r"^\s*&(control|system)\b", text, re.IGNORECASE | re.MULTILINE)
    return namelist is not None and "Program PWSCF" not in text


def _speaks_like_pw(path: Path) -> bool:
    """A header may stand below what mpirun or a job script printed, or be cut away."""
    with path.open(errors="replace") as file:
        text = file.read(2_000_000)
    return bool(_PROGRAM.search(text) or _BOX.search(text) or _ONLY_PW_SAYS.search(text))


def _xmls(folder: Path) -> list[Path]:
    found = []
    for path in (*folder.glob("*.xml"), *folder.glob("*/*.xml"), *folder.glob("*/*/*.xml")):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if b"qes:espresso" in file.read(_HEAD_BYTES):
                found.append(path)
    return found


def _saves(folder: Path) -> list[Path]:
    return [path for path in (*folder.glob("*.save"), *folder.glob("*/*.save")) if path.is_dir()]


def _lines(path: Path, name: str | None = None) -> tuple[Line, ...]:
    if not path.is_file():
        return ()
    texts = path.read_text(errors="replace").splitlines()
    return tuple(Line(name or path.name, number, text) for number, text in enumerate(texts, 1))


def _run(path: Path, lines: tuple[Line, ...]) -> Run:
    """The part from the last ``Program PWSCF`` on: outputs are often appended to one file."""
    first = max(
        (index for index, line in enumerate(lines) if _PROGRAM.search(line.text)), default=0
    )
    lines = lines[first:]
    version = _PROGRAM.search(lines[0].text) if lines else None
    started = _STARTS.search(lines[0].text) if lines else None
    ended = next(
        (found for line in reversed(lines[-200:]) if (found := _ENDED.search(line.text))), None
    )
    return Run(
        lines[0].file if lines else path.name,
        lines,
        version[1] if version else None,
        _date(*started.groups()) if started else None,
        _date(*ended.groups()[3:], *ended.groups()[:3]) if ended else None,
        path.stat().st_mtime if path.is_file() else 0.0,
    )


def _date(*parts: str) -> datetime | None:
    day, month, year, hour, minute, second = parts
    try:
        date = datetime.strptime(f"{int(day):02d}{month}{year}", "%d%b%Y")
        return date.replace(hour=int(hour), minute=int(minute), second=int(second))
    except ValueError:
        return None


def reports_in(lines: tuple[Line, ...], role: Role) -> list[Report]:
    """Error boxes of pw.x (``Error in routine``, ``from ... : error #``) and messages of the
    Fortran runtime.
    """
    reports = []
    for index, line in enumerate(lines):
        box = _BOX.search(line.text) or (_CRASH_BOX.search(line.text) if role != "output" else None)
        if box:
            reason = _until_rule(lines[index + 1 : index + 6])
            text = " ".join(entry.text.strip() for entry in reason)
            reports.append(
                Report(f"Error in routine {box[1]} ({box[2]}): {text}", (line, *reason), role)
            )
        elif _FORTRAN.search(line.text):
            following = tuple(entry for entry in lines[index + 1 : index + 2] if entry.text.strip())
            text = " ".join(entry.text.strip() for entry in (line, *following))
            reports.append(Report(text, (line, *following), role))
    return reports


def _until_rule(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    kept: list[Line] = []
    for line in lines:
        if "%%%%" in line.text or _BOX.search(line.text):
            break
        if line.text.strip():
            kept.append(line)
    return tuple(kept)
