"""Frames to rows of a table, with the time that is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.progress import PLAIN_EVERY_S, Progress
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.train.pacemaker.projections import AceProjections
from mlip_autopipec.science.fingerprints import Soap, structure_fingerprints, structure_key
from mlip_autopipec.science.reading import Frames
from mlip_autopipec.science.selection import Method
from mlip_autopipec.selecting.table import RowTable

__all__ = ["Counter", "Described", "Scan", "describer", "fill", "scan", "structure_rows"]

#: Rows are written in batches of about this many bytes.
BATCH_BYTES = 16 * 2**20
LINE_EVERY_S = 0.5
# Longer vectors are folded (distances within 2 % and 9 %), so that 100,000 structures of any number
# of elements take 400 MB on disk, and their environments, at 16 atoms each, the same.
MAX_COLUMNS, MAX_ENVIRONMENT_COLUMNS = 1024, 64


class Described(Protocol):
    """An atomic fingerprint with a name for itself: SOAP, or the projections on an ACE basis."""

    columns: int

    @property
    def parameters(self) -> Json: ...

    def __call__(self, atoms: Atoms) -> NDArray[np.float64]: ...


def describer(method: Method, elements: Sequence[str], potential: Path | None = None) -> Described:
    """What ``method`` goes by, for a table of any length: B-projections for ``d_optimal``, else
    SOAP, folded if long.

    ``potential``: whose ACE basis is used. Raises MissingProgramError without dscribe or pyace.
    """
    if method == "d_optimal":
        return AceProjections(elements, potential)
    return Soap(elements, MAX_ENVIRONMENT_COLUMNS if method == "environments" else MAX_COLUMNS)


def structure_rows(
    method: Method, structures: Sequence[Atoms], elements: Sequence[str]
) -> NDArray[np.float64]:
    """(n_structures, D) the same in memory and never folded, for the candidates of a campaign."""
    if method != "d_optimal":
        return structure_fingerprints(structures, elements)
    describe = AceProjections(elements)
    return np.array([describe(atoms).mean(axis=0) for atoms in structures]).reshape(
        -1, describe.columns
    )


class Counter:
    """One line ``what: done of total, time left`` rewritten twice a second on a terminal; once a
    minute elsewhere.
    """

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._what, self._total = progress, what, total
        self._begun = self._shown = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        quiet = LINE_EVERY_S if self._progress.stream.isatty() else PLAIN_EVERY_S
        if now - self._shown < quiet or not done:
            return
        self._shown = now
        left = (now - self._begun) * (self._total - done) / done
        shown = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min"
        self._progress.line(f"{self._what}: {done} of {self._total}, {shown} left")


@dataclass(frozen=True)
class Scan:
    """What a first look at a file tells: a key for each frame, and the elements of all."""

    keys: list[bytes]
    elements: frozenset[str]

    @property
    def first_of_each(self) -> list[int]:
        """Indices of the frames that are not exact copies of an earlier one."""
        found: dict[bytes, int] = {}
        for index, key in enumerate(self.keys):
            found.setdefault(key, index)
        return list(found.values())


def scan(frames: Frames, progress: Progress) -> Scan:
    """Read every frame once. Raises InputError for the first one that cannot be used."""
    keys: list[bytes] = []
    elements: set[str] = set()
    counter = Counter(progress, f"reading {frames.file.name}", len(frames))
    for index in range(len(frames)):
        atoms = frames[index]
        keys.append(structure_key(atoms))
        elements.update(atoms.get_chemical_symbols())
        counter(index + 1)
    return Scan(keys, frozenset(elements))


def fill(
    table: RowTable,
    frames: Frames,
    keys: Sequence[bytes],
    wanted: Sequence[int],
    describe: Described,
    progress: Progress,
    *,
    per_atom: bool,
) -> None:
    """Describe those frames of ``wanted`` that the table does not know: a row per atom, or their
    mean.
    """
    missing = list({keys[index]: index for index in wanted if keys[index] not in table}.values())
    counter = Counter(progress, "fingerprints", len(missing))
    names: list[bytes] = []
    blocks: list[NDArray[np.float32]] = []
    held = 0
    for number, index in enumerate(missing, 1):
        vectors = describe(frames[index])
        rows = vectors if per_atom else vectors.mean(axis=0, keepdims=True)
        names.append(keys[index])
        blocks.append(rows.astype(np.float32))
        held += blocks[-1].nbytes
        if held > BATCH_BYTES or number == len(missing):
            table.add(names, blocks)
            names, blocks, held = [], [], 0
        counter(number)
