"""What MD streams, read while it writes: whole lines, each once, whatever a kill left behind."""

from __future__ import annotations

import json

from mlip_autopipec.campaign.events import MdProgressed, MdStreamed, MdSwapped
from mlip_autopipec.runtime.streams import read_stream


def line(kind: str, **values) -> str:
    return json.dumps({"type": kind, **values}) + "\n"


def test_of_progress_in_a_row_the_newest_is_kept_and_the_rest_in_order(tmp_path):
    path = tmp_path / "stream.jsonl"
    path.write_text(
        line("progress", step=1, state="running")
        + line("progress", step=2, state="running")
        + line("candidate", file="a.json", gamma=4.5, step=3, potential="p")
        + line("progress", step=4, state="waiting")
        + line("swap", old="p", new="q", step=4)
    )
    events = read_stream(path, "explore-1", 1, 0)
    assert [(type(event), getattr(event, "step", None)) for event in events] == [
        (MdProgressed, 2),
        (MdStreamed, 3),
        (MdProgressed, 4),
        (MdSwapped, 4),
    ]
    assert events[-1].offset == path.stat().st_size
    assert read_stream(path, "explore-1", 1, events[1].offset) == events[2:]
    assert read_stream(path, "explore-1", 1, events[-1].offset) == []


def test_a_torn_line_is_left_and_then_skipped(tmp_path):
    path = tmp_path / "stream.jsonl"
    path.write_text(line("progress", step=1) + '{"type": "swa')
    (first,) = read_stream(path, "explore-1", 1, 0)
    assert first.offset == len(line("progress", step=1))
    with path.open("a") as file:  # the next writer goes on behind it
        file.write(line("resume", step=1) + "7\n" + line("resume", step=2))
    events = read_stream(path, "explore-1", 1, first.offset)
    assert [event.step for event in events] == [2]


def test_no_stream_yet_is_no_news(tmp_path):
    assert read_stream(tmp_path / "stream.jsonl", "explore-1", 1, 0) == []
