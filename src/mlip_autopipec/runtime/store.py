"""The event log: an append-only SQLite table that one driver alone opens.

Write-ahead logging under an exclusive lock needs no shared memory file, so it also holds on file
systems where several readers would not be safe (SQLite documentation, "WAL-Index and shared
memory"). ``synchronous=FULL``: an append that returned survives a power cut.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.files import plain
from mlip_autopipec.campaign.events import Event, from_record, to_record

__all__ = ["EventStore"]


class EventStore:
    """Open (or make) the log at ``path``. Raises CampaignStateError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, time REAL NOT NULL,"
                " kind TEXT NOT NULL, data TEXT NOT NULL)"
            )
        except sqlite3.DatabaseError as error:
            raise CampaignStateError(f"{path}: cannot be read as an event log ({error})") from error

    def load(self) -> list[tuple[float, Event]]:
        """All events with the time (s since the epoch) at which they were recorded, oldest
        first.
        """
        rows = self._connection.execute("SELECT time, kind, data FROM events ORDER BY number")
        return [(when, from_record(kind, json.loads(data))) for when, kind, data in rows]

    def append(self, events: Iterable[Event]) -> float:
        """Record events durably, all or none; returns the time they were given."""
        now = time.time()
        rows = [
            (now, kind, json.dumps(data, default=plain)) for kind, data in map(to_record, events)
        ]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO events (time, kind, data) VALUES (?, ?, ?)", rows)
        self._connection.execute("COMMIT")
        return now

    def close(self) -> None:
        self._connection.close()
