"""Archives of calculations: read as the folders that they hold, and never unpacked beside them."""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from mlip_autopipec.engines.dft.quantum_espresso.texts import MAX_TEXT_BYTES

__all__ = ["in_folder", "is_archive", "opened"]

_NAME = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
#: An archive of calculations has fewer files; one with more is no answer to "why did it fail".
_MOST_FILES = 10_000


def is_archive(path: Path) -> bool:
    """By its name: a damaged one is an archive too."""
    return _NAME.search(path.name) is not None and path.is_file()


def in_folder(folder: Path) -> list[Path]:
    """The archives in a folder, by name."""
    return [path for path in sorted(folder.iterdir()) if is_archive(path)]


@contextlib.contextmanager
def opened(paths: Sequence[Path]) -> Iterator[Path]:
    """A folder that is there for a while, with a folder for each archive in it. Only plain files
    are taken, as many and as large as outputs are; of a damaged archive what can be read.
    """
    with tempfile.TemporaryDirectory(prefix="mlip-diagnose-") as place:
        for path in paths:
            left = MAX_TEXT_BYTES
            with contextlib.suppress(
                OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile
            ):
                for number, (name, modified, file) in enumerate(_members(path)):
                    target = _inside(Path(place) / path.name, name)
                    if number >= _MOST_FILES or left <= 0:
                        break
                    if target is not None:
                        left -= _write(target, file, left, modified)
        yield Path(place)


def _members(path: Path) -> Iterator[tuple[str, float, IO[bytes]]]:
    """Name, time (seconds) and content of each plain file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            for info in packed.infolist():
                if not info.is_dir():
                    stamp = time.mktime((*info.date_time, 0, 0, -1))
                    with packed.open(info) as file:
                        yield info.filename, stamp, file
        return
    with tarfile.open(path) as packed_tar:
        for member in packed_tar:
            content = packed_tar.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name, member.mtime, content


def _inside(folder: Path, name: str) -> Path | None:
    """Where a file of an archive goes; None for a name that leaves the folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0]:
        return None
    return folder.joinpath(*parts)


def _write(target: Path, file: IO[bytes], limit: int, modified: float) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = target.write_bytes(file.read(limit))
    os.utime(target, (modified, modified))
    return written
