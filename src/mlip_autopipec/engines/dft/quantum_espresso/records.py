"""What a folder says: printed output, error reports, messages of schedulers; found by name for our
own runs, by content for anyone's.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mlip_autopipec.engines.dft.quantum_espresso import owners, texts
from mlip_autopipec.engines.dft.quantum_espresso.runs import (
    PROGRAM,
    Run,
    reports_in,
    run_of,
    runs_in,
    snippet_of_pw,
)
from mlip_autopipec.engines.dft.quantum_espresso.texts import Line

__all__ = ["Folder", "read_file", "read_own_folder", "read_tree"]

_HEAD_BYTES = 4096
_OUTPUT_NAME = re.compile(r"\.(out|pwo|log|pw)(\.\w+)?$|^(slurm-|stdout)|\.o\d+$", re.IGNORECASE)
#: Files in which runtime libraries and schedulers speak.
_LOG_NAME = re.compile(
    r"(^|[._-])(std)?err(or)?([._-]?\d+)?(\.(txt|log|out))?$|std(err|out)|\.[ep]e?\d+$|^slurm|"
    r"scheduler",
    re.IGNORECASE,
)
#: Files in which they may speak: when one line looks like theirs.
_MAYBE_LOG = re.compile(r"\.(out|log|txt|po|o)\d*(\.\w+)?$|^(nohup|screenlog)", re.IGNORECASE)
_MACHINE_SAYS = re.compile(
    r"^\s*(slurmstepd|srun|sbatch|mpirun|mpiexec|orterun|prterun|prun|aprun|jsrun|forrtl|"
    r"libgomp|OMP|UCX|kernel|timeout|PBS|qsub|\S*sh)\b[^a-z]*:|^\s*(killed|terminated)\s*$|"
    r"^=+ +BAD TERM|^=>> PBS|TERM_[A-Z]+:|HYDU?_|\bP?MPIR?_\w+|PMIX|ORTE|SIG[A-Z]{3,4}\b|"
    r"mpi(run|exec).*(noticed|was unable|could not)|CUDA|cuda[A-Z]|\bhip[A-Z]|"
    r"Fortran runtime error|Operating system error|Error allocating|status = 2\(|"
    r"command not found|cannot execute|permission denied|Accelerator Fatal|Out of memory: Kill|"
    r"not enough slots|error while loading shared|Intel MKL|exceeds? job hard limit|std::bad_alloc",
    re.IGNORECASE | re.MULTILINE,
)
_NOTE_NAME = re.compile(r"note|readme|todo|diary|idea|license|changelog", re.IGNORECASE)
_NO_SPEECH = re.compile(r"<qes:espresso|<UPF|<\?xml|\A#!")
#: Files that are neither: data, programs, prose, pictures.
_NEVER = re.compile(
    r"\.(upf|psml|wfc|hdf5|h5|dat|db|csv|cif|xyz|extxyz|xsf|json|ya?ml|toml|py|sh|c|f90|ipynb|zip|"
    r"tar|tgz|md|rst|org|tex|bib|html|pdf|png)(\.(gz|bz2|xz))?$",
    re.IGNORECASE,
)
#: Folders below are searched to this depth; deeper ones are somebody's archive.
_MAX_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Folder:
    """All that speaks of one run. ``run``: None where no output of pw.x was found. ``root``: what
    names of files are relative to.

    ``others``: names of the outputs beside it; ``strange``: what tells of another run, for people;
    ``saves``: the folders ``PREFIX.save``, whatever is in them.
    """

    root: Path
    run: Run | None
    others: tuple[str, ...] = ()
    crash: tuple[Line, ...] = ()
    logs: tuple[Line, ...] = ()
    inputs: tuple[Path, ...] = ()
    xmls: tuple[Path, ...] = ()
    saves: tuple[Path, ...] = ()
    strange: tuple[str, ...] = ()

    @property
    def speaks(self) -> bool:
        """Something was printed, not only a data file written."""
        return self.run is not None or bool(self.crash or self.logs)

    @property
    def place(self) -> str:
        """The folder of its files, relative to ``root``."""
        named = [self.run.file] if self.run else [line.file for line in (*self.crash, *self.logs)]
        return str(Path(named[0]).parent) if named else "."


def read_own_folder(folder: Path, output: str, crash: str, logs: Iterable[str]) -> Folder:
    """A folder whose file names are known. ``run`` is never None: a missing output is an empty
    one.
    """
    path = folder / output
    lines = _lines(path)
    modified = path.stat().st_mtime if path.is_file() else 0.0
    found = runs_in(lines, modified) if lines else []
    return Folder(
        folder,
        found[-1] if found else run_of(lines, output, modified),
        crash=_lines(folder / crash),
        logs=tuple(line for name in logs for line in _lines(folder / name)),
    )


def _lines(path: Path) -> tuple[Line, ...]:
    if not path.is_file():
        return ()
    return texts.lines_of(path.read_text(errors="replace"), path.name)


@dataclass
class _Found:
    """What one folder holds, sorted by what it is."""

    runs: list[Run] = field(default_factory=list)
    empty: list[Run] = field(default_factory=list)
    crash: list[Line] = field(default_factory=list)
    logs: list[owners.Log] = field(default_factory=list)
    inputs: list[Path] = field(default_factory=list)
    #: Names of other outputs, where one is asked for.
    neighbours: list[str] = field(default_factory=list)


def read_tree(root: Path) -> list[Folder]:
    """Every run below ``root``, folder by folder, the oldest of each folder first."""
    found: list[Folder] = []
    for place, names, _ in os.walk(root):
        depth = len(Path(place).relative_to(root).parts)
        names[:] = sorted(
            name
            for name in names
            if depth < _MAX_DEPTH and not name.startswith(".") and not name.endswith(".save")
        )
        found += _read_folder(root, Path(place))
    # Data files alone tell of a run only where nothing else does.
    return [item for item in found if item.speaks] or found[:1]


def read_file(path: Path) -> list[Folder]:
    """The runs of one file, with what its folder says of them; a file that holds none (CRASH, the
    log of a job) as it stands.
    """
    found = _read_folder(path.parent, path.parent, only=path)
    name = path.name
    runs = [item for item in found if item.run is not None and item.run.file == name]
    if runs:
        return runs
    data = texts.decode(texts.read_bytes(path)) or ""
    lines = texts.lines_of(data, name)
    if re.search(r"<qes:espresso", data[:_HEAD_BYTES]):
        return [Folder(path.parent, None, xmls=(path,))]
    if name.upper().startswith("CRASH") and lines:
        return [Folder(path.parent, None, crash=lines)]
    if not data.strip() or snippet_of_pw(data):
        return [Folder(path.parent, run_of(lines, name, path.stat().st_mtime))]
    return [Folder(path.parent, None, logs=lines)] if _MACHINE_SAYS.search(data) else []


def _read_folder(root: Path, folder: Path, only: Path | None = None) -> list[Folder]:
    found = _Found()
    with contextlib.suppress(PermissionError):
        for path in sorted(folder.iterdir()):
            with contextlib.suppress(PermissionError):
                _sort_in(found, path, str(path.relative_to(root)), only)
    runs = sorted(found.runs, key=lambda run: (run.started or datetime.min, run.modified))
    if not runs and (found.inputs or found.crash or found.logs):
        runs = found.empty[:1]
    xmls, saves = tuple(sorted(_xmls(folder))), tuple(sorted(_saves(folder)))
    inputs = tuple(found.inputs)
    if not runs:
        logs = tuple(line for log in found.logs for line in log.lines)
        if (
            not found.crash
            and not (logs and found.inputs)
            and not _machine_alone(logs)
            and not xmls
        ):
            return []
        return [Folder(root, None, (), tuple(found.crash), logs, inputs, xmls, saves)]
    others = tuple(dict.fromkeys(run.file for run in runs))
    crash = owners.owner_of_crash(runs, found.crash, folder)
    log_of = owners.owners_of_logs(runs, found.logs, found.neighbours)
    unowned = [log.name for log, owner in zip(found.logs, log_of, strict=True) if owner is None]
    result = []
    for index, run in enumerate(runs):
        own = [log for log, owner in zip(found.logs, log_of, strict=True) if owner == index]
        strange = [*unowned]
        if found.crash and crash is None:
            said = reports_in(found.crash, "crash")
            words = re.sub(r"^Error in routine ", "", said[0].text) if said else "no words"
            strange.append(f"{found.crash[0].file} ({words})")
        result.append(
            Folder(
                root,
                run,
                tuple(name for name in others if name != run.file),
                tuple(found.crash) if crash == index else (),
                tuple(line for log in own for line in log.lines),
                inputs,
                xmls,
                saves,
                tuple(strange),
            )
        )
    return result


def _machine_alone(logs: tuple[Line, ...]) -> bool:
    """Words of a scheduler or a runtime library without any output of pw.x."""
    return any(_MACHINE_SAYS.search(line.text) for line in logs)


def _sort_in(found: _Found, path: Path, name: str, only: Path | None) -> None:
    """Read one file and put it where it belongs."""
    head = _head(path)
    if head is None:
        return
    modified = path.stat().st_mtime
    if not head.strip():
        if _OUTPUT_NAME.search(path.name):
            found.empty.append(run_of((), name, modified))
        return
    crash = path.name.upper().startswith("CRASH")
    if only is not None and path != only and not crash and PROGRAM.search(head):
        found.neighbours.append(name)
        return
    text = texts.decode(texts.read_bytes(path)) or ""
    headers = {header[1] for header in PROGRAM.finditer(text)}
    if crash:
        found.crash += texts.lines_of(text, name)
    elif "PWSCF" in headers:
        found.runs += runs_in(texts.lines_of(text, name), modified)
    elif not headers and _is_input(text) and not _OUTPUT_NAME.search(path.name):
        found.inputs.append(path)
    elif not headers and not _NOTE_NAME.search(path.name):
        _sort_speech(found, text, name, modified)


def _head(path: Path) -> str | None:
    """The first words of a text file that may tell of a run, None for any other file."""
    if not path.is_file() or path.stat().st_size > texts.MAX_TEXT_BYTES:
        return None
    if _NEVER.search(path.name):
        return None
    head = texts.decode(texts.read_bytes(path, _HEAD_BYTES))
    return None if head is None or _NO_SPEECH.search(head) else head


def _sort_speech(found: _Found, text: str, name: str, modified: float) -> None:
    """Words of unknown origin: an output whose header was cut away, or a log."""
    file = Path(name).name
    if _OUTPUT_NAME.search(file) and snippet_of_pw(text):
        found.runs.append(run_of(texts.lines_of(text, name), name, modified))
    elif _LOG_NAME.search(file) or (_MAYBE_LOG.search(file) and _MACHINE_SAYS.search(text)):
        found.logs.append(owners.Log(name, texts.lines_of(text, name), modified))


def _is_input(text: str) -> bool:
    return re.search(r"^\s*&(control|system)\b", text, re.IGNORECASE | re.MULTILINE) is not None


def _xmls(folder: Path) -> Iterator[Path]:
    for path in (*folder.glob("*.xml"), *folder.glob("*/*.xml"), *folder.glob("*/*/*.xml")):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if b"qes:espresso" in file.read(_HEAD_BYTES):
                yield path


def _saves(folder: Path) -> Iterator[Path]:
    for path in (*folder.glob("*.save"), *folder.glob("*/*.save")):
        if path.is_dir():
            yield path
