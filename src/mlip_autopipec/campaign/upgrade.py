"""Event logs of earlier versions, read as logs of today's.

The log carries the number of its form; 1 is also that of a log that carries none. Whoever changes
what an event's record holds raises ``LOG_VERSION`` by one and adds to ``_STEPS`` the function that
turns one record of the form before into those of the new one. The store rewrites a log once, when
it is opened.
"""

from __future__ import annotations

from collections.abc import Callable

from mlip_autopipec.base.values import Json

__all__ = ["LOG_VERSION", "Record", "upgraded_record"]

Record = tuple[str, Json]
"""Kind and content of an event, as :func:`mlip_autopipec.campaign.events.to_record` gives them."""

LOG_VERSION = 1
"""The form that this program writes."""

_STEPS: dict[int, Callable[[Record], list[Record]]] = {}
"""Version -> how a record of that version becomes records of the next."""


def upgraded_record(record: Record, version: int) -> list[Record]:
    """The records of today's form that stand for one of an earlier version."""
    found = [record]
    for step in range(version, LOG_VERSION):
        found = [new for old in found for new in _STEPS[step](old)]
    return found
