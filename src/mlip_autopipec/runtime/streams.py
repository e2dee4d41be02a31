"""Reading what running MD streams: complete lines past an offset, a torn last line left for the
next look.
"""

from __future__ import annotations

import json
from pathlib import Path

from mlip_autopipec.campaign.events import MdEvent, MdProgressed, md_event

__all__ = ["read_stream"]


def read_stream(path: Path, task_id: str, attempt: int, offset: int) -> list[MdEvent]:
    """Happenings past byte ``offset``, each with the offset after it; of progress in a row
    only the newest is kept.
    """
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(offset)
        raw = file.read()
    events: list[MdEvent] = []
    for line in raw.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        offset += len(line)
        try:
            report = json.loads(line)
        except ValueError:
            continue  # a line torn by a kill, completed by the next writer
        if not isinstance(report, dict):
            continue
        event = md_event(task_id, attempt, offset, report)
        if isinstance(event, MdProgressed) and events and isinstance(events[-1], MdProgressed):
            events.pop()
        events.append(event)
    return events
