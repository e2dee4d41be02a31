"""The event log: an append-only SQLite table that one driver alone opens.

Write-ahead logging under an exclusive lock needs no shared memory file, so it also holds on file
systems where several readers would not be safe (SQLite documentation, "WAL-Index and shared
memory"). ``synchronous=FULL``: an append that returned survives a power cut.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.files import plain
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.events import Event, from_record, to_record
from mlip_autopipec.campaign.upgrade import LOG_VERSION, upgraded_record

__all__ = ["EventStore"]


class EventStore:
    """Open (or make) the log at ``path``; one of an earlier version is brought to today's form.

    Raises CampaignStateError when it cannot be read, or is of a later version.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            with _closed_on_error(self._connection):
                self._prepare(path)
        except sqlite3.DatabaseError as error:
            raise CampaignStateError(f"{path}: cannot be read as an event log ({error})") from error

    def _prepare(self, path: Path) -> None:
        self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, time REAL NOT NULL,"
            " kind TEXT NOT NULL, data TEXT NOT NULL)"
        )
        self._to_todays_form(path)

    def _to_todays_form(self, path: Path) -> None:
        """Rewrite a log of an earlier version, all or nothing; its number is in the file's header
        (``PRAGMA user_version``), where 0 says that nobody wrote one.
        """
        written = self._connection.execute("PRAGMA user_version").fetchone()[0]
        version = max(1, written)
        if version > LOG_VERSION:
            raise CampaignStateError(
                f"{path}: an event log of version {version}, and this mlip-auto knows versions up"
                f" to {LOG_VERSION}; go on with the mlip-auto that wrote it, or a newer one"
            )
        if written == LOG_VERSION:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        if version < LOG_VERSION:
            self._rewrite(version)
        self._connection.execute(f"PRAGMA user_version={LOG_VERSION}")
        self._connection.execute("COMMIT")

    def _rewrite(self, version: int) -> None:
        rows = self._connection.execute(
            "SELECT time, kind, data FROM events ORDER BY number"
        ).fetchall()
        self._connection.execute("DELETE FROM events")
        self._insert(
            (when, *record)
            for when, kind, data in rows
            for record in upgraded_record((kind, json.loads(data)), version)
        )

    def _insert(self, rows: Iterable[tuple[float, str, Json]]) -> None:
        self._connection.executemany(
            "INSERT INTO events (time, kind, data) VALUES (?, ?, ?)",
            ((when, kind, json.dumps(data, default=plain)) for when, kind, data in rows),
        )

    def load(self) -> list[tuple[float, Event]]:
        """All events with the time (s since the epoch) at which they were recorded, oldest
        first.
        """
        rows = self._connection.execute("SELECT time, kind, data FROM events ORDER BY number")
        return [(when, from_record(kind, json.loads(data))) for when, kind, data in rows]

    def append(self, events: Iterable[Event]) -> float:
        """Record events durably, all or none; returns the time they were given."""
        now = time.time()
        rows = [(now, *to_record(event)) for event in events]
        self._connection.execute("BEGIN IMMEDIATE")
        self._insert(rows)
        self._connection.execute("COMMIT")
        return now

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """A connection that failed would hold its lock for as long as somebody looks at the error."""
    try:
        yield
    except BaseException:
        connection.close()
        raise
