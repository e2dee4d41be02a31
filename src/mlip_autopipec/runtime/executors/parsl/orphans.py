"""Blocks of dead drivers: they may finish what they have begun, and are then cancelled.

A block is found by the record of its driver (``parsl/blocks.jsonl``) or, when the driver died
between sbatch and the record, by its name, which begins with the label of the run folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlip_autopipec.base.files import append_line
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.executors import local
from mlip_autopipec.runtime.executors.parsl.queues import Queue, short_id
from mlip_autopipec.runtime.heartbeat import FILE, Watch, block_of

__all__ = ["Orphans", "record_block", "record_session", "run_label"]

_BLOCKS, _SESSIONS = "blocks.jsonl", "sessions.jsonl"
_IDLE_LOOKS = 3
_SILENT_S = 120.0


def run_label(root: Path) -> str:
    """Begins the name of every block of a run folder."""
    return f"mlip-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"


def record_block(home: Path, session: str, job: str) -> None:
    append_line(home / _BLOCKS, {"session": session, "job": job, "time": time.time()})


def record_session(home: Path, session: str, interchange: str) -> None:
    """``interchange``: ``host:pid:start time`` of the process that outlives a killed driver."""
    append_line(
        home / _SESSIONS, {"session": session, "interchange": interchange, "time": time.time()}
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Whole JSON lines; a torn last one (kill) is skipped."""
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


class Orphans:
    """Looks after the blocks of earlier sessions of one run folder until none is left."""

    def __init__(self, root: Path, home: Path, queue: Queue) -> None:
        self._root, self._home, self._queue = root, home, queue
        self._idle: dict[str, int] = {}
        self._watch = Watch(_SILENT_S)
        self._settled = False
        self._unfinished: list[Path] | None = None

    def look(self, session: str) -> int:
        """One look (call it every few seconds; ``session`` is the living one); returns how many
        blocks are left.
        """
        if self._settled:
            return 0
        jobs = self._queue.jobs()
        if jobs is None:  # the scheduler is away: nothing is known, nothing is done
            return len(self._idle)
        recorded = {
            short_id(entry["job"])
            for entry in _lines(self._home / _BLOCKS)
            if entry["session"] != session
        }
        ours, mark = f"parsl.{run_label(self._root)}-", f"-{session}." if session else None
        named = {job for job, facts in jobs.items() if facts.name.startswith(ours)}
        alive = {
            job for job in (recorded & set(jobs)) | named if not (mark and mark in jobs[job].name)
        }
        if not alive:
            self._end_interchanges(session)
            self._settled = True
            self._idle.clear()
            return 0
        busy = self._busy()
        self._idle = {job: 0 if job in busy else self._idle.get(job, 0) + 1 for job in alive}
        over = {
            job
            for job, looks in self._idle.items()
            if looks >= _IDLE_LOOKS or not jobs[job].running
        }
        if over and self._queue.cancel(over):
            note = {
                "time": time.time(),
                "text": "blocks of an earlier driver cancelled",
                "jobs": sorted(over),
            }
            append_line(self._home / "log.jsonl", note)
        return len(alive)

    def _busy(self) -> set[str]:
        """Blocks in which an unfinished attempt gives signs of life."""
        if self._unfinished is None:
            # Once: the folders of what a dead driver handed over are all there, and those of ten
            # thousand finished attempts are not looked at again every few seconds.
            self._unfinished = list((self._root / "tasks").glob("*/attempt-*"))
        self._unfinished = [
            attempt for attempt in self._unfinished if not (attempt / layout.OUTCOME).exists()
        ]
        beats = [(attempt, attempt / FILE) for attempt in self._unfinished]
        return {
            short_id(block_of(one))
            for one, beat in beats
            if beat.exists() and not self._watch.silent(beat)
        }

    def _end_interchanges(self, session: str) -> None:
        for entry in _lines(self._home / _SESSIONS):
            if entry["session"] != session:
                local.end(entry["interchange"])
