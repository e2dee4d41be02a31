"""What failed, what was tried, what worked and what it cost: one table over all attempts of a run.

The status page, the report, the summary and ``mlip-auto dft report`` show these rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlip_autopipec.base.tasks import STOPPED, Failure
from mlip_autopipec.campaign.state import Attempt, CampaignState, TaskRecord
from mlip_autopipec.report.rows import Cure, FailureRow

__all__ = ["HEADS", "cells", "core_hours_lost", "failed_attempts", "failure_rows", "failures_of"]

HEADS = (
    "class",
    "met",
    "tasks",
    "healed",
    "given up",
    "open",
    "core-h lost",
    "cure",
    "tried",
    "worked",
)


@dataclass(slots=True)
class _Count:
    """A row while it is counted."""

    met: int = 0
    healed: int = 0
    quarantined: int = 0
    open: int = 0
    cpu_s: float = 0.0
    message: str = ""
    tried: dict[str, int] = field(default_factory=dict)
    worked: dict[str, int] = field(default_factory=dict)


def failure_rows(state: CampaignState) -> tuple[FailureRow, ...]:
    """One row per failure class, the most frequent first. What the user stopped is no failure."""
    counts: dict[str, _Count] = {}
    for record in state.tasks.values():
        _count(record, counts)
    rows = (_row(kind, count) for kind, count in counts.items())
    return tuple(sorted(rows, key=lambda row: (-row.met, row.kind)))


def failures_of(record: TaskRecord) -> list[tuple[Attempt, Failure]]:
    """The attempts of a task that failed, oldest first."""
    return [
        (attempt, attempt.outcome.failure)
        for attempt in record.attempts
        if attempt.outcome is not None
        and attempt.outcome.failure is not None
        and attempt.outcome.failure.kind != STOPPED
    ]


def failed_attempts(rows: Sequence[FailureRow]) -> int:
    return sum(row.met for row in rows)


def core_hours_lost(rows: Sequence[FailureRow]) -> float:
    return sum(row.core_hours_lost for row in rows)


def _count(record: TaskRecord, counts: dict[str, _Count]) -> None:
    failed = failures_of(record)
    for attempt, failure in failed:
        row = counts.setdefault(failure.kind, _Count())
        row.met += 1
        row.cpu_s += attempt.outcome.cpu_s if attempt.outcome else 0.0
        row.message = failure.message
        following = _after(record, attempt)
        if attempt.cure and following is not None and following.outcome is not None:
            row.tried[attempt.cure] = row.tried.get(attempt.cure, 0) + 1
            worked = row.worked.get(attempt.cure, 0)
            row.worked[attempt.cure] = worked + int(following.outcome.ok)
    for kind in {failure.kind for _, failure in failed}:
        match record.status:
            case "done":
                counts[kind].healed += 1
            case "quarantined":
                counts[kind].quarantined += 1
            case _:
                counts[kind].open += 1


def _after(record: TaskRecord, attempt: Attempt) -> Attempt | None:
    return next((item for item in record.attempts if item.number == attempt.number + 1), None)


def _row(kind: str, count: _Count) -> FailureRow:
    return FailureRow(
        kind=kind,
        met=count.met,
        tasks=count.healed + count.quarantined + count.open,
        healed=count.healed,
        quarantined=count.quarantined,
        open=count.open,
        core_hours_lost=count.cpu_s / 3600,
        message=count.message,
        cures=tuple(
            Cure(cure=cure, tried=tried, worked=count.worked[cure])
            for cure, tried in count.tried.items()
        ),
    )


def cells(rows: Sequence[FailureRow], *, message: bool = False) -> list[tuple[str, ...]]:
    """The table as text under :data:`HEADS`: a line for each cure, the class on its first line.

    ``message``: one column more, with what the last failure of the class said.
    """
    lines: list[tuple[str, ...]] = []
    for row in rows:
        first = (
            row.kind,
            *(str(part) for part in (row.met, row.tasks, row.healed, row.quarantined, row.open)),
            f"{row.core_hours_lost:.3f}",
        )
        cures = [(cure.cure, str(cure.tried), str(cure.worked)) for cure in row.cures]
        for number, cure in enumerate(cures or [("none", "", "")]):
            left = first if number == 0 else ("",) * len(first)
            right = (row.message if number == 0 else "",) if message else ()
            lines.append((*left, *cure, *right))
    return lines
