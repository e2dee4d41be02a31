"""What a probe of the doctor tells the process that started it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Answer", "Found"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a probe saw that went well."""

    detail: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The line that a probe's process prints; ``mend``: the command that installs what it lacks."""

    ok: bool
    detail: str
    version: str = ""
    mend: str = ""
