"""Facts of the log: what was written comes back, also what an earlier version wrote."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.events import (
    AttemptPlanned,
    MdBroke,
    MdNoted,
    MdProgressed,
    MdResumed,
    MdStreamed,
    MdSwapped,
    TaskPlanned,
    from_record,
    md_event,
    to_record,
)
from mlip_autopipec.campaign.state import fold


def rows(root: Path) -> list[tuple[str, Any]]:
    with closing(sqlite3.connect(root / "campaign.db")) as log:
        found = log.execute("SELECT kind, data FROM events ORDER BY number").fetchall()
    return [(kind, json.loads(data)) for kind, data in found]


def test_every_row_of_a_stored_log_comes_back_as_it_was(stored_run):
    for kind, data in rows(stored_run):
        assert to_record(from_record(kind, data)) == (kind, data)


def test_lines_of_md_are_events_of_their_own(stored_run):
    events = [from_record(kind, data) for kind, data in rows(stored_run) if kind == "MdReported"]
    assert Counter(type(event).__name__ for event in events) == {
        "MdProgressed": 683,
        "MdStreamed": 25,
        "MdSwapped": 2,
    }


def test_a_stored_log_folds_to_what_its_version_said_of_it(stored_run):
    state = fold(from_record(kind, data) for kind, data in rows(stored_run))
    said = json.loads((stored_run / "status.json").read_text())
    assert (state.swaps, state.breaks, len(state.md_candidates)) == (said["swaps"], 0, 25)
    assert [potential.name for potential in state.potentials] == [
        row["name"] for row in said["potentials"]
    ]
    assert state.dft_calls == said["budget"]["dft_calls_used"] == 57
    for record in state.of_kind("explore"):
        last = record.attempts[-1].progress
        assert last is not None
        if record.status == "done":
            assert last.potential == record.result["potential"]
            assert last.clean_ps == pytest.approx(record.result["clean_ps"], abs=0.5)
    first = state.md_candidates[0]
    assert (first.file, first.potential) == (
        "tasks/explore-a9361e874864/attempt-1/md-00004570.json",
        "001-2cfe4b14ad6f",
    )
    assert first.gamma == pytest.approx(4.352, abs=1e-3)


LINES: tuple[tuple[type, Mapping[str, Any]], ...] = (
    (
        MdStreamed,
        {"type": "candidate", "file": "a.json", "gamma": 4.1, "step": 7, "potential": "p"},
    ),
    (MdSwapped, {"type": "swap", "old": "p", "new": "q", "step": 8}),
    (MdBroke, {"type": "break", "gamma": 12.5, "step": 9, "potential": "q"}),
    (MdResumed, {"type": "resume", "step": 9}),
    (MdProgressed, {"type": "progress", "step": 10, "state": "waiting", "ps": 1.0}),
    (MdNoted, {"type": "thermostat", "kelvin": 300}),
    (MdNoted, {"type": "swap", "new": "q"}),
    (MdNoted, {"no": "type"}),
)


@pytest.mark.parametrize(("kind", "line"), LINES)
def test_a_line_of_md_becomes_its_event_and_the_same_row(kind, line):
    event = md_event("explore-1", 2, 345, line)
    assert type(event) is kind
    name, data = to_record(event)
    assert name == "MdReported"
    assert data == {"task": "explore-1", "attempt": 2, "offset": 345, "report": line}
    assert from_record(name, json.loads(json.dumps(data))) == event


def test_md_waits_from_a_break_or_a_waiting_line_until_it_goes_on():
    task = Task("explore", {"condition": {"name": "nvt-300K"}})
    state = fold([TaskPlanned(task), AttemptPlanned(task.id, 1)])
    (attempt,) = state.tasks[task.id].attempts

    def after(*line) -> tuple[bool, str | None]:
        state.apply(md_event(task.id, 1, 0, dict(line)))
        return attempt.waiting, attempt.potential

    running, waiting = (
        (("type", "progress"), ("step", 1), ("state", word), ("potential", "p"))
        for word in ("running", "waiting")
    )
    assert after(*running) == (False, "p")
    assert after(("type", "break"), ("gamma", 12.0), ("step", 2), ("potential", "p")) == (True, "p")
    assert after(("type", "swap"), ("old", "p"), ("new", "q"), ("step", 2)) == (False, "q")
    assert after(*waiting) == (True, "p")
    assert after(("type", "resume"), ("step", 2)) == (False, "p")
    assert (state.swaps, state.breaks, state.cores_in_use) == (1, 1, 1)
    after(*waiting)
    assert state.cores_in_use == 0
    assert attempt.progress is not None and attempt.progress.waiting
