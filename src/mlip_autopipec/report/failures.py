"""What failed, what was tried, what worked and what it cost: a table over all attempts of a
campaign.
"""

from __future__ import annotations

from typing import Any

from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.attempts import STOPPED
from mlip_autopipec.campaign.state import CampaignState, TaskRecord

__all__ = ["healing"]


def healing(state: CampaignState) -> list[Json]:
    """One row per failure class, the most frequent first.

    ``met``: attempts that failed so; ``tasks``: how many structures (or other tasks) that were;
    ``healed`` of them in the end, ``quarantined``, or ``open`` still; ``cures``: change -> how
    often it was ``tried`` (the next attempt has ended) and ``worked`` (and succeeded);
    ``core_hours_lost``: CPU time of the failed attempts (a worker that vanished could not report
    any). Attempts that the user stopped are no failures.
    """
    rows: dict[str, Json] = {}
    for record in state.tasks.values():
        if len(record.attempts) > 1 or record.status == "quarantined":
            _count(record, rows)
    table = [{**row, "cures": list(row["cures"].values())} for row in rows.values()]
    return sorted(table, key=lambda row: (-row["met"], row["class"]))


def _count(record: TaskRecord, rows: dict[str, Json]) -> None:
    seen = set()
    for index, attempt in enumerate(record.attempts):
        failure = attempt.outcome.failure if attempt.outcome else None
        if failure is None or attempt.outcome is None or failure.kind == STOPPED:
            continue
        row = rows.setdefault(failure.kind, _empty(failure.kind))
        row["met"] += 1
        row["core_hours_lost"] += attempt.outcome.cpu_s / 3600
        if failure.kind not in seen:
            seen.add(failure.kind)
            row["tasks"] += 1
            word = {"done": "healed", "quarantined": "quarantined"}.get(record.status, "open")
            row[word] += 1
        following = record.attempts[index + 1].outcome if index + 1 < len(record.attempts) else None
        if attempt.cure and following is not None:
            cure = row["cures"].setdefault(
                attempt.cure, {"cure": attempt.cure, "tried": 0, "worked": 0}
            )
            cure["tried"] += 1
            cure["worked"] += int(following.ok)


def _empty(kind: str) -> Json:
    row: dict[str, Any] = {
        "class": kind,
        "met": 0,
        "tasks": 0,
        "healed": 0,
        "quarantined": 0,
        "open": 0,
    }
    return {**row, "core_hours_lost": 0.0, "cures": {}}
