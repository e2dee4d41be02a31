"""Who ran when, and how long DFT, training and MD were at work at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mlip_autopipec.campaign.events import (
    AttemptEnded,
    AttemptPlanned,
    Event,
    MdBroke,
    MdEvent,
    MdProgressed,
    MdResumed,
    MdSwapped,
    TaskCancelled,
)
from mlip_autopipec.campaign.state import CampaignState

__all__ = ["Span", "TimelineRow", "overlap_minutes", "timeline"]

Span = tuple[float, float]
"""Begin and end in seconds, since the epoch or since the start of the run."""


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """An attempt of a task from ``start`` to ``end`` (s); ``waits``: spans in which MD waited for a
    better potential.
    """

    kind: str
    start: float
    end: float
    ok: bool = True
    waits: tuple[Span, ...] = ()

    def since(self, begin: float) -> TimelineRow:
        """The same with ``begin`` as the zero of time."""
        waits = tuple((first - begin, last - begin) for first, last in self.waits)
        return replace(self, start=self.start - begin, end=self.end - begin, waits=waits)

    @property
    def at_work(self) -> tuple[Span, ...]:
        """The spans of the attempt without those in which it waited."""
        begin, spans = self.start, []
        for first, last in sorted(self.waits):
            spans.append((begin, min(first, self.end)))
            begin = max(begin, last)
        return tuple((first, last) for first, last in [*spans, (begin, self.end)] if last > first)


@dataclass(slots=True)
class _Attempt:
    """An attempt while the log is read; ``end`` None: it still runs."""

    kind: str
    start: float
    end: float | None = None
    ok: bool = True
    waits: list[Span] = field(default_factory=list)
    waits_since: float | None = None

    def take(self, when: float, event: MdEvent) -> None:
        match event:
            case MdBroke() | MdProgressed(waiting=True) if self.waits_since is None:
                self.waits_since = when
            case MdSwapped() | MdResumed() if self.waits_since is not None:
                self.waits.append((self.waits_since, when))
                self.waits_since = None

    def close(self, when: float, ok: bool) -> None:
        self.end, self.ok = when, ok

    def row(self, now: float) -> TimelineRow:
        end = now if self.end is None else self.end
        last = [] if self.waits_since is None else [(self.waits_since, end)]
        return TimelineRow(self.kind, self.start, end, self.ok, (*self.waits, *last))


def timeline(
    state: CampaignState, history: Sequence[tuple[float, Event]]
) -> tuple[TimelineRow, ...]:
    """One row an attempt, in the order in which they began; what still runs ends now."""
    rows: list[_Attempt] = []
    running: dict[str, _Attempt] = {}
    for when, event in history:
        match event:
            case AttemptPlanned(task_id, _):
                running[task_id] = _Attempt(state.tasks[task_id].task.kind, when)
                rows.append(running[task_id])
            case AttemptEnded(task_id, _, outcome) if task_id in running:
                running.pop(task_id).close(when, outcome.ok)
            case TaskCancelled(task_id, _) if task_id in running:
                running.pop(task_id).close(when, True)
            case (
                MdProgressed(task_id) | MdBroke(task_id) | MdSwapped(task_id) | MdResumed(task_id)
            ) if task_id in running:
                running[task_id].take(when, event)
    return tuple(row.row(history[-1][0]) for row in rows)


def overlap_minutes(
    rows: Sequence[TimelineRow], kinds: Sequence[str] = ("label", "train", "explore")
) -> float:
    """Minutes in which at least two of the three kinds of work (DFT, training, MD) ran at once;
    waiting is no work.
    """
    work = [(row.kind, *span) for row in rows if row.kind in kinds for span in row.at_work]
    edges = sorted({edge for _, *span in work for edge in span})
    shared_s = 0.0
    for begin, end in itertools.pairwise(edges):
        at_work = {kind for kind, first, last in work if first <= begin and last >= end}
        shared_s += (end - begin) * (len(at_work) >= 2)
    return shared_s / 60
