"""Whose CRASH, and whose log? Files beside an output may tell of another run in the same folder.

Every start of pw.x in a folder removes CRASH there, and every rank that fails writes its box into
it, so that the box of a run's own output stands in its CRASH too. Logs are told apart by their
names (``a.err`` beside ``a.out``), by the times that they print, and by those of the files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mlip_autopipec.engines.dft.quantum_espresso.runs import Report, Run, reports_in
from mlip_autopipec.engines.dft.quantum_espresso.texts import Line

__all__ = ["Log", "owner_of_crash", "owners_of_logs"]

#: Clocks of nodes and of file servers differ, files are copied one after the other.
_SLACK = timedelta(minutes=10)
#: A log of the same name as the output is its own also where a container counts in UTC.
_SLACK_OF_NAMED = timedelta(hours=14)
#: Queues that let a job run longer are rare: a log that speaks later is of another job.
_LONGEST_JOB = timedelta(days=14)
_STAMPS = (
    re.compile(r"\b(20\d\d)-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)"),
    re.compile(r"\b(20\d\d)/(\d\d)/(\d\d)[ -](\d\d):(\d\d):(\d\d)"),
)
_C_TIME = re.compile(
    r"\b([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?: [A-Z]{2,5})? (20\d\d)\b"
)
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


@dataclass(frozen=True, slots=True)
class Log:
    """A file of a scheduler or of standard error. ``modified``: of the file, seconds."""

    name: str
    lines: tuple[Line, ...]
    modified: float


def owner_of_crash(runs: Sequence[Run], crash: Sequence[Line], folder: Path) -> int | None:
    """Index of the run (oldest first) whose CRASH it is; None where it is none of theirs."""
    if not crash:
        return None
    said = [report.words for report in reports_in(crash, "crash")]
    silent: int | None = None
    for index in reversed(range(len(runs))):
        boxes = [item for item in reports_in(runs[index].lines, "output") if item.is_box]
        if any(_same(box, words) for box in boxes for words in said):
            return index
        if silent is None and index == len(runs) - 1 and not boxes and not runs[index].finished:
            silent = index
    if silent is not None and not _before(runs[silent], (folder / Path(crash[0].file).name)):
        return silent
    return None


def _same(box: Report, words: str) -> bool:
    mine = box.words
    return mine.startswith(words) or words.startswith(mine)


def _before(run: Run, path: Path) -> bool:
    """The file was written before the run began."""
    return path.is_file() and path.stat().st_mtime < _began(run)


def _began(run: Run) -> float:
    return run.modified - run.spent_s - _SLACK.total_seconds()


def owners_of_logs(
    runs: Sequence[Run], logs: Sequence[Log], neighbours: Sequence[str] = ()
) -> list[int | None]:
    """For each log the index of the run (oldest first) that it speaks of. ``neighbours``: names of
    outputs that are not among the runs, whose logs belong to none of these.
    """
    stems = [_stem(run.file) for run in runs]
    others = {_stem(name) for name in neighbours} - set(stems)
    return [None if _stem(log.name) in others else _owner(log, runs, stems) for log in logs]


def _stem(name: str) -> str:
    return Path(name).name.split(".")[0].lower()


def _owner(log: Log, runs: Sequence[Run], stems: Sequence[str]) -> int | None:
    named = [index for index, other in enumerate(stems) if other == _stem(log.name)]
    stamps = _stamps(log.lines)
    for index in reversed(named or range(len(runs))):
        run = runs[index]
        if stamps and run.started is not None:
            slack = _SLACK_OF_NAMED if named else _SLACK
            if run.started - slack <= stamps[-1] <= run.started + _LONGEST_JOB:
                return index
        elif log.modified >= _began(run):
            return index
    return None


def _stamps(lines: Sequence[Line]) -> list[datetime]:
    """Times that a log prints, in order."""
    found: list[datetime] = []
    for line in lines:
        for pattern in _STAMPS:
            found += [_time(*map(int, one)) for one in pattern.findall(line.text)]
        for month, day, hour, minute, second, year in _C_TIME.findall(line.text):
            number = _MONTHS.find(month) // 3 + 1
            found.append(_time(int(year), number, int(day), int(hour), int(minute), int(second)))
    return sorted(stamp for stamp in found if stamp != datetime.min)


def _time(*parts: int) -> datetime:
    try:
        return datetime(*parts)  # type: ignore[arg-type]
    except ValueError:
        return datetime.min
