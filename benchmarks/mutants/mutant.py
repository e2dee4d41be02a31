"""One deliberate fault."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault. ``file``: below ``src/mlip_autopipec``; ``old`` stands there exactly once."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
