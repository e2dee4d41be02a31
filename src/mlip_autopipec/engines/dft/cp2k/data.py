"""Basis sets and pseudopotentials in CP2K's own data files: entries by element and name.

An entry begins with ``Symbol NAME [ALIAS ...]`` and goes on to the next such line. Names end in
``-qN``, the number of valence electrons. Only the physics is hashed: numbers, not comments.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ase.data import atomic_numbers

__all__ = ["Entry", "electrons_of", "entries", "find"]

_ELECTRONS = re.compile(r"-q(\d+)$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One basis set or pseudopotential: ``names`` of ``symbol``, and its rows of numbers."""

    symbol: str
    names: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]

    @property
    def electrons(self) -> int | None:
        """Valence electrons by the suffix ``-qN`` of one of the names, None without one."""
        found = [match for name in self.names if (match := _ELECTRONS.search(name))]
        return int(found[0][1]) if found else None

    @property
    def sha256(self) -> str:
        """Hash of the numbers."""
        text = "\n".join(" ".join(f"{x:.12g}" for x in row) for row in self.rows)
        return hashlib.sha256(f"{self.symbol}\n{text}\n".encode()).hexdigest()


def electrons_of(potential: str) -> int:
    """Valence electrons of a pseudopotential by its name, for example 4 of ``GTH-PBE-q4``.

    Raises ValueError for a name without them.
    """
    match = _ELECTRONS.search(potential)
    if match is None:
        raise ValueError(f"{potential} does not say its valence electrons (-qN)")
    return int(match[1])


def find(path: Path, symbol: str, name: str) -> Entry | None:
    """The entry of an element by one of its names, the first of several."""
    return next((entry for entry in entries(path, symbol) if name in entry.names), None)


@functools.lru_cache(maxsize=16)
def _all(path: Path) -> tuple[Entry, ...]:
    found: list[tuple[str, tuple[str, ...], list[tuple[float, ...]]]] = []
    for line in path.read_text(errors="replace").splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0] in atomic_numbers and len(words) > 1:
            found.append((words[0], tuple(words[1:]), []))
        elif found:
            try:
                found[-1][2].append(tuple(float(word) for word in words))
            except ValueError:
                continue  # options such as NLCC with a number of their own line
    return tuple(Entry(symbol, names, tuple(rows)) for symbol, names, rows in found)


def entries(path: Path, symbol: str) -> tuple[Entry, ...]:
    """All entries of an element in a data file. Raises OSError."""
    return tuple(entry for entry in _all(path) if entry.symbol == symbol)
