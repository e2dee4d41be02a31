"""The event log: all of a batch or nothing, and its version."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign import upgrade
from mlip_autopipec.campaign.events import (
    AttemptPlanned,
    CampaignEnded,
    DriverStarted,
    Event,
    TaskCancelled,
    TaskPlanned,
)
from mlip_autopipec.runtime import store as store_module
from mlip_autopipec.runtime.store import EventStore

EVENTS: list[Event] = [
    DriverStarted("hash", 1.5, {"dft_calls": 20}),
    TaskPlanned(Task("generate", {"seed": 4}, priority=3)),
    CampaignEnded("stalled", "nothing left"),
]


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def set_version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={version}")
        connection.commit()


def write(path: Path, events: list[Event]) -> list[float]:
    store = EventStore(path)
    times = [store.append([event]) for event in events]
    store.close()
    return times


def read(path: Path) -> list[tuple[float, Event]]:
    store = EventStore(path)
    try:
        return store.load()
    finally:
        store.close()


def test_events_come_back_in_order_with_the_time_they_were_given(tmp_path: Path) -> None:
    times = write(tmp_path / "log.db", EVENTS)
    assert read(tmp_path / "log.db") == list(zip(times, EVENTS, strict=True))
    assert version_of(tmp_path / "log.db") == upgrade.LOG_VERSION


def test_a_batch_that_cannot_be_written_leaves_nothing_of_itself(tmp_path: Path) -> None:
    write(tmp_path / "log.db", EVENTS[:1])
    store = EventStore(tmp_path / "log.db")
    with pytest.raises(TypeError):
        store.append([EVENTS[2], DriverStarted("hash", 0.0, {"calls": object()})])
    store.close()
    assert [event for _, event in read(tmp_path / "log.db")] == EVENTS[:1]


def test_a_log_without_a_number_is_of_the_first_version(tmp_path: Path) -> None:
    write(tmp_path / "log.db", EVENTS)
    set_version(tmp_path / "log.db", 0)
    assert [event for _, event in read(tmp_path / "log.db")] == EVENTS
    assert version_of(tmp_path / "log.db") == upgrade.LOG_VERSION


def test_a_log_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    write(path, EVENTS)
    set_version(path, upgrade.LOG_VERSION + 1)
    with pytest.raises(CampaignStateError, match=r"log\.db: an event log of version \d+") as caught:
        EventStore(path)
    assert "\n" not in str(caught.value)
    assert version_of(path) == upgrade.LOG_VERSION + 1


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_text("not a database, and long enough to be looked at" * 40)
    with pytest.raises(CampaignStateError, match="cannot be read as an event log"):
        EventStore(tmp_path / "log.db")


def test_an_earlier_log_is_rewritten_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up next version splits an event in two and renames a key of another."""
    path = tmp_path / "log.db"
    old: list[Event] = [AttemptPlanned("label-1", 1), TaskCancelled("label-1", "why")]
    times = write(path, old)

    def step(record: upgrade.Record) -> list[upgrade.Record]:
        kind, data = record
        if kind == "TaskCancelled":
            return [(kind, {**data, "reason": "new " + data["reason"]})]
        return [record, (kind, {**data, "attempt": data["attempt"] + 1})]

    after = upgrade.LOG_VERSION + 1
    monkeypatch.setattr(upgrade, "_STEPS", {**upgrade._STEPS, upgrade.LOG_VERSION: step})
    for module in (upgrade, store_module):
        monkeypatch.setattr(module, "LOG_VERSION", after)
    expected = [
        (times[0], AttemptPlanned("label-1", 1)),
        (times[0], AttemptPlanned("label-1", 2)),
        (times[1], TaskCancelled("label-1", "new why")),
    ]
    assert read(path) == expected
    assert read(path) == expected, "not a second time"
    assert version_of(path) == after


def test_a_log_that_cannot_be_upgraded_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"
    write(path, EVENTS)
    before = upgrade.LOG_VERSION

    def broken(record: upgrade.Record) -> list[upgrade.Record]:
        raise KeyError("half way")

    with monkeypatch.context() as patched:
        patched.setattr(upgrade, "_STEPS", {before: broken})
        for module in (upgrade, store_module):
            patched.setattr(module, "LOG_VERSION", before + 1)
        with pytest.raises(KeyError):
            EventStore(path)
    assert [event for _, event in read(path)] == EVENTS
    assert version_of(path) == before
