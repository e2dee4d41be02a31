"""Text files as people keep them: compressed, of any encoding, with any line ends."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mlip_autopipec.base.tasks import Evidence

__all__ = ["MAX_TEXT_BYTES", "Line", "decode", "lines_of", "read_bytes"]

#: No output of pw.x that anybody keeps as text is larger; a wave function may be. Also what a
#: compressed file may grow to.
MAX_TEXT_BYTES = 400_000_000
#: Small, so that what stands before a damaged place of a packed file is kept.
_PART_BYTES = 100_000
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
#: Share of NUL bytes, every other byte, from which a text without a mark is UTF-16.
_UTF16_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, counted from 1."""

    file: str
    number: int
    text: str

    def evidence(self) -> Evidence:
        return Evidence(self.file, self.number, self.text.strip())


def read_bytes(path: Path, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The first ``limit`` bytes of a file, unpacked where it is compressed; what can be read of a
    packed file that is damaged or cut off.

    Raises OSError.
    """
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        packed = _unpacked(file, start)
        return file.read(limit) if packed is None else b"".join(_parts(packed, limit))


def _unpacked(file: BinaryIO, start: bytes) -> io.BufferedIOBase | None:
    """The content of a compressed file, by its first bytes; None for any other file."""
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file) if start.startswith(b"\xfd7zXZ\0") else None


def _parts(packed: io.BufferedIOBase, limit: int) -> Iterator[bytes]:
    while limit > 0:
        try:
            part = packed.read(min(limit, _PART_BYTES))
        except (OSError, EOFError, lzma.LZMAError, zlib.error):
            return  # cut off or damaged: what was read so far still tells of the run
        if not part:
            return
        yield part
        limit -= len(part)


def decode(data: bytes) -> str | None:
    """The text, or None for what is no text: UTF-8, UTF-16 (marked or seen by its NUL bytes), else
    Latin-1.
    """
    for mark, encoding in _BOMS.items():
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    # A machine that went down leaves a block of NUL bytes behind the last words.
    head = data[:4096].rstrip(b"\0")
    if 0 in head:
        for encoding, at in (("utf-16-le", 1), ("utf-16-be", 0)):
            if head[at::2].count(0) >= _UTF16_SHARE * len(head):
                return data.decode(encoding, errors="replace")
        return None
    data = data.replace(b"\0", b"")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def lines_of(text: str, name: str) -> tuple[Line, ...]:
    """Its lines as an editor counts them: LF, CR LF or CR alone."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    texts = text.split("\n")
    if not texts[-1]:
        texts.pop()
    return tuple(Line(name, number, line) for number, line in enumerate(texts, 1))
