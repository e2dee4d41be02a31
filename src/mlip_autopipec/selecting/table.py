"""Fingerprints on disk: each structure is described once, and rows are mapped into memory, not
loaded.

A folder for each set of parameters: ``rows.f32`` (row after row, little-endian single precision),
``index.bin`` (records of key, first row, number of rows) and ``parameters.json``. Rows are on disk
before the index names them, and only what the index names counts, so a kill costs at most the last
batch.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.values import Json, content_hash

__all__ = ["RowTable", "TableRows"]

ROW = np.dtype("<f4")
RECORD = np.dtype([("key", "V16"), ("first", "<i8"), ("count", "<i8")])
#: A table larger than this is begun anew, so that the folder does not grow without end.
MAX_BYTES = 8 * 2**30


class TableRows:
    """Some rows of a table, in the order wanted, as a matrix (N, D) that is read in parts."""

    def __init__(self, table: NDArray[Any], where: NDArray[np.int64]) -> None:
        self._table, self._where = table, where
        self.shape = (len(where), table.shape[1])
        # Rows that follow one another are handed out without a copy.
        self._first = int(where[0]) if len(where) and (np.diff(where) == 1).all() else None

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        if self._first is not None and isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            return np.asarray(self._table[self._first + start : self._first + stop : step])
        return np.asarray(self._table[self._where[key]])


class RowTable:
    """The rows of structures under one set of ``parameters``, ``columns`` numbers each, in a folder
    below ``root``.
    """

    def __init__(self, root: Path, parameters: Json, columns: int) -> None:
        self.columns = columns
        self.folder = root / content_hash({**parameters, "columns": columns})
        self._rows, self._index = self.folder / "rows.f32", self.folder / "index.bin"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "parameters.json").is_file():
            write_json(self.folder / "parameters.json", parameters)
        with self._locked():
            if self._rows.is_file() and self._rows.stat().st_size > MAX_BYTES:
                self._index.unlink(missing_ok=True)  # first: it may not name rows that are gone
                self._rows.unlink()
        self._known: dict[bytes, tuple[int, int]] = {}
        self._load()

    def __contains__(self, key: bytes) -> bool:
        return key in self._known

    def add(self, keys: Sequence[bytes], blocks: Sequence[NDArray[Any]]) -> None:
        """Append the rows (n, D) of structures."""
        if not keys:
            return
        counts = np.array([len(block) for block in blocks])
        with self._locked():
            first = self._end()
            with self._rows.open("r+b" if self._rows.exists() else "w+b") as file:
                file.seek(first * self.columns * ROW.itemsize)
                file.write(np.concatenate(blocks).astype(ROW).tobytes())
                _flush(file)
            records = np.zeros(len(keys), RECORD)
            records["key"] = np.array(keys, "V16")
            records["first"], records["count"] = first + np.cumsum(counts) - counts, counts
            with self._index.open("r+b" if self._index.exists() else "w+b") as file:
                file.seek(len(self._records()) * RECORD.itemsize)
                file.write(records.tobytes())
                _flush(file)
        self._remember(records)

    def rows(self, keys: Sequence[bytes]) -> tuple[TableRows, NDArray[np.int64]]:
        """The rows of structures, one structure after the other, and where those of each begin (N +
        1 numbers).
        """
        places = np.array([self._known[key] for key in keys], dtype=np.int64).reshape(-1, 2)
        starts = np.concatenate([[0], np.cumsum(places[:, 1])])
        where = np.repeat(places[:, 0] - starts[:-1], places[:, 1]) + np.arange(starts[-1])
        if not len(where):
            return TableRows(np.zeros((0, self.columns), ROW), where), starts
        end = int(where.max()) + 1
        table: NDArray[Any] = np.memmap(self._rows, ROW, mode="r", shape=(end, self.columns))
        return TableRows(table, where), starts

    def _records(self) -> NDArray[Any]:
        """What the index holds; a torn last record does not count."""
        raw = self._index.read_bytes() if self._index.is_file() else b""
        return np.frombuffer(raw[: len(raw) // RECORD.itemsize * RECORD.itemsize], RECORD)

    def _end(self) -> int:
        records = self._records()
        return int((records["first"] + records["count"]).max()) if len(records) else 0

    def _load(self) -> None:
        self._remember(self._records())

    def _remember(self, records: NDArray[Any]) -> None:
        for key, first, count in zip(
            records["key"], records["first"], records["count"], strict=True
        ):
            self._known[key.tobytes()] = (int(first), int(count))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
