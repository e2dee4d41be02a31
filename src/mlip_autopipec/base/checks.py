"""One line of what ``mlip-auto doctor`` finds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True, slots=True)
class Check:
    """Is a part of the outside world there? ``mend``: the command that helps; ``optional``: the
    run works without it.
    """

    name: str
    ok: bool
    version: str = ""
    detail: str = ""
    mend: str = ""
    optional: bool = False
