"""Why did this pw.x fail? For any output, or any folder with output of pw.x, not only ours.

Names of files and exit status are not known: outputs, inputs, CRASH, XML and messages of schedulers
are found by content (:mod:`.records`), and given to the run that they tell of (:mod:`.owners`).
Every run has its verdict: first the failures of :mod:`.failures`; a run that says it is done is
then checked like this, and is ``ok`` only when nothing is found:

===  ======================================================================  ===================
no.  sign                                                                    class
===  ======================================================================  ===================
1    time limit, stop on request, last SCF cycle not converged               see failures.py
2    no converged energy and no bands printed                                unknown
3    forces absurd, fused or NaN                                             geometry
4    steps used up, BFGS gave up, final SCF of a vc-relax off (not: dynamics) ionic_not_converged
5    XML of this run (by its time) not converged                             scf_not_converged
6    data file in ``PREFIX.save`` empty or cut off; missing or unreadable    disk; interrupted
===  ======================================================================  ===================

An XML of another time is left out: it may be the success of a run before. A folder without any
``PREFIX.save`` is judged by what was printed. Without any output the XML alone is judged.

The verdict of the whole: in one folder the newest run counts, and a failed one that no later run
of the same input made good; in a tree of folders those at the top count, and where there are none
each folder does (``attempt-1``, ``attempt-2``, ``old`` are tries at one calculation).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso import archives, checks, saved, xml_verdict
from mlip_autopipec.engines.dft.quantum_espresso.classes import CURES, shown_as
from mlip_autopipec.engines.dft.quantum_espresso.failures import judge
from mlip_autopipec.engines.dft.quantum_espresso.records import Folder, read_file, read_tree
from mlip_autopipec.engines.dft.quantum_espresso.runs import Run, reports_in
from mlip_autopipec.engines.dft.quantum_espresso.texts import Line
from mlip_autopipec.engines.dft_port import Diagnosis, RunVerdict

__all__ = ["CURES", "Diagnosis", "diagnose"]

_READS = re.compile(r"Reading input from (\S+)")
_ATTEMPT = re.compile(
    r"(attempt|re?try|try|restart|old|bak|backup|previous|failed)[-_. ]?\d*", re.IGNORECASE
)
#: Names in one message; the rest stands in the verdicts of the runs.
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Judged:
    """A run, and its failure (None: it is good)."""

    found: Folder
    failure: Failure | None

    @property
    def cls(self) -> str:
        return "ok" if self.failure is None else shown_as(self.failure.kind)

    @property
    def name(self) -> str:
        run = self.found.run
        if run is None:
            said = [line.file for line in (*self.found.crash, *self.found.logs)]
            return said[0] if said else self.found.place
        return run.file

    @property
    def reads(self) -> str:
        """The input that the run says it read; for one that says none, its own output's name."""
        run = self.found.run
        lines = run.lines[:200] if run else ()
        return next((hit[1] for line in lines if (hit := _READS.search(line.text))), self.name)

    @property
    def calculation(self) -> str:
        """The folder that it counts for: ``attempt-1`` and ``attempt-2`` are tries at one."""
        parts = Path(self.found.place).parts
        return str(Path(*(part for part in parts if not _ATTEMPT.fullmatch(part))))

    @property
    def began(self) -> datetime:
        run = self.found.run
        return run.started if run and run.started else datetime.min

    def verdict(self) -> RunVerdict:
        run = self.found.run
        message = _praise(self.found) if self.failure is None else self.failure.message
        return RunVerdict(
            self.name,
            run.lines[0].number if run and run.lines else 1,
            run.started.isoformat(sep=" ") if run and run.started else None,
            self.cls,
            message,
        )


def diagnose(path: Path) -> Diagnosis:
    """What happened in a folder, in one file or in an archive. Raises InputError where there is
    none.
    """
    if not path.is_dir() and not path.is_file():
        raise InputError(
            "no such file or folder",
            value=str(path),
            hint="give the output of pw.x, or the folder that holds it",
        )
    packed = [path] if archives.is_archive(path) else []
    found = [] if packed else (read_tree(path) if path.is_dir() else read_file(path))
    if not found and path.is_dir():
        packed = archives.in_folder(path)
    if not packed:
        return _diagnosis(path, found)
    with archives.opened(packed) as place:
        return _diagnosis(path, read_tree(place))


def _diagnosis(path: Path, found: list[Folder]) -> Diagnosis:
    if not found:
        message = "no output of pw.x in this " + ("folder" if path.is_dir() else "file")
        return Diagnosis(str(path), "unknown", message, (), CURES["unknown"])
    judged = [_Judged(item, _failure(item)) for item in found]
    return _whole(path, judged)


def _whole(path: Path, judged: list[_Judged]) -> Diagnosis:
    folders: dict[str, list[_Judged]] = {}
    for item in sorted(judged, key=lambda item: item.began):
        folders.setdefault(item.calculation, []).append(item)
    counted = {".": folders["."]} if "." in folders else folders
    newest = [items[-1] for items in counted.values()]
    failed = [item for item in newest if item.failure is not None]
    failed = failed or [item for items in counted.values() for item in _owed(items)]
    chosen = failed[0] if failed else newest[-1]
    message = _praise(chosen.found) if chosen.failure is None else chosen.failure.message
    failure = chosen.failure
    evidence = (
        tuple(line.evidence() for line in checks.success_lines(_lines(chosen)))
        if failure is None
        else failure.evidence
    )
    return Diagnosis(
        str(path),
        chosen.cls,
        message + _beside(chosen, judged),
        evidence,
        (failure.cure if failure else "") or CURES[chosen.cls],
        tuple(item.verdict() for item in judged),
    )


def _lines(item: _Judged) -> tuple[Line, ...]:
    return item.found.run.lines if item.found.run else ()


def _owed(items: list[_Judged]) -> list[_Judged]:
    """Those that failed and that no later run made good, from the same input or in the same file;
    the newest first.
    """
    owed: list[_Judged] = []
    later: set[str] = set()
    for item in reversed(items):
        marks = {f"input {item.reads}", f"file {item.name}"}
        if item.failure is not None and not later & marks:
            owed.append(item)
        later |= marks
    return owed


def _beside(chosen: _Judged, judged: list[_Judged]) -> str:
    """What else a person should know: other runs, above all failed ones, and files of others."""
    notes = []
    if len(judged) > 1:
        named = f"{chosen.name}, one of {len(judged)} runs"
        same = [item for item in judged if item.found.place == chosen.found.place]
        if len(same) > 1 and same[-1] is chosen:
            named = f"{chosen.name}, the newest of {len(same)} runs in the folder"
        notes.append(named)
        bad = [item for item in judged if item.failure is not None and item is not chosen]
        notes += [_list("failed too" if chosen.failure else "failed", bad)] if bad else []
    if chosen.found.strange:
        notes.append(_list("of another run:", chosen.found.strange))
    return f" ({'; '.join(notes)})" if notes else ""


def _list(title: str, items: Iterable[_Judged | str]) -> str:
    names = [item if isinstance(item, str) else f"{item.name} {item.cls}" for item in items]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{title} {', '.join(names[:_MOST_NAMED])}{more}"


def _praise(found: Folder) -> str:
    if found.run is None:
        return "the XML says converged; no printed output"
    version = f"pw.x {found.run.version}" if found.run.version else "pw.x"
    return f"{version} finished and converged"


def _failure(found: Folder) -> Failure | None:
    run = found.run
    if run is None:
        if found.crash or found.logs:
            return judge(found, None)
        newest = max(
            found.xmls,
            key=lambda path: (xml_verdict.created(path) is not None, path.stat().st_mtime),
        )
        return xml_verdict.xml_problem(found.root, newest)
    if not run.finished or reports_in(run.lines, "output"):
        return judge(found, None)
    said = judge(found, 0)
    if said.kind in ("out_of_walltime", "interrupted", "scf_not_converged", "geometry"):
        return said
    return _unfulfilled(found, run)


def _unfulfilled(found: Folder, run: Run) -> Failure | None:
    xml = _xml_of(found, run)
    return (
        checks.missing_result(run.lines)
        or checks.force_problem(run.lines)
        or checks.ionic_problem(run.lines, _calculation(found, run))
        or _lost_data(found, run)
        or (None if xml is None else xml_verdict.xml_problem(found.root, xml))
    )


def _lost_data(found: Folder, run: Run) -> Failure | None:
    """A data file that this run should have left, and that is not whole.

    One of another run does not count.
    """
    inputs = _inputs(found, run)
    if any(_keyword(text, "disk_io") == "none" for text in inputs):
        return None
    prefixes = {_keyword(text, "prefix") or "pwscf" for text in inputs}
    said = tuple(line.evidence() for line in checks.success_lines(run.lines))[-1:]
    for save in found.saves:
        path = save / saved.DATA_FILE
        created = xml_verdict.created(path) if path in found.xmls else None
        of_another = created is not None and not xml_verdict.of_same_time(created, run)
        if of_another or (prefixes and save.stem not in prefixes):
            continue
        if lost := saved.lost_data(save, found.root, said):
            return lost
    return None


def _inputs(found: Folder, run: Run) -> list[str]:
    """Texts of the input that the run says it read, or of all inputs when it names none of them."""
    named = {matched[1] for line in run.lines[:200] if (matched := _READS.search(line.text))}
    paths = [path for path in found.inputs if path.name in named] or found.inputs
    return [path.read_text(errors="replace") for path in paths]


def _keyword(text: str, key: str) -> str | None:
    """Value of a character keyword of a namelist, None when it is not set."""
    matched = re.search(
        rf"^[^!\n]*\b{key}\s*=\s*['\"]([^'\"]+)['\"]", text, re.IGNORECASE | re.MULTILINE
    )
    return matched[1].strip() if matched else None


def _calculation(found: Folder, run: Run) -> str | None:
    """The keyword of the input, when all inputs that may belong to the run agree on one."""
    kinds = {(_keyword(text, "calculation") or "scf").lower() for text in _inputs(found, run)}
    return kinds.pop() if len(kinds) == 1 else None


def _xml_of(found: Folder, run: Run) -> Path | None:
    """The XML that this run wrote."""
    for path in sorted(found.xmls, key=lambda path: path.name != saved.DATA_FILE):
        created = xml_verdict.created(path)
        if created is not None and xml_verdict.of_same_time(created, run):
            return path
    return None
