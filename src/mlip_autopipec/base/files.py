"""Durable small files: everything that must survive a kill is written here.

A file is written under a temporary name in its own folder, flushed to disk and renamed, so that a
reader sees the old content or the new, never half of it (POSIX rename(2)).
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "append_line",
    "atomic_write",
    "claim",
    "data_folder",
    "plain",
    "read_json",
    "write_json",
]


def atomic_write(path: Path, data: bytes | str, *, flush: bool = True) -> None:
    """Replace ``path`` with ``data`` durably (temporary file, fsync, rename, fsync of the folder).

    ``flush=False`` leaves out both fsync: kill -9 still cannot hurt, only a power cut. For what is
    written again from what is durable.
    """
    raw = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if flush:
        _fsync_folder(path.parent)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def plain(value: Any) -> Any:
    """Numpy values as plain JSON ones."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def write_json(path: Path, value: Any, *, indent: int | None = 1, flush: bool = True) -> None:
    """``value`` as JSON (numpy allowed), written by :func:`atomic_write`; ``indent=None`` is ten
    times faster.
    """
    atomic_write(path, json.dumps(value, indent=indent, default=plain) + "\n", flush=flush)


def read_json(path: Path) -> Any:
    """The parsed content of a JSON file."""
    return json.loads(path.read_text())


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line and flush it to disk; a torn last line (kill) is left to the reader to
    skip.
    """
    with path.open("ab") as file:
        file.write((json.dumps(value, default=plain) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def claim(path: Path, content: str) -> bool:
    """Create ``path`` exclusively; False when somebody else has it already (O_EXCL, safe on NFSv3
    and later).
    """
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return True


def data_folder() -> Path:
    """Root of everything that is installed for the user: ``$MLIP_DATA`` or
    ``~/.local/share/mlip-autopipec``.
    """
    chosen = os.environ.get("MLIP_DATA")
    return (
        Path(chosen).expanduser() if chosen else Path.home() / ".local" / "share" / "mlip-autopipec"
    )
