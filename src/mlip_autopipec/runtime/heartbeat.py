"""Signs of life of a worker on another machine: a file in its attempt folder, touched every few
seconds.

Only the *change* of the file is looked at, never its age: clocks of a node, a file server and the
driver's machine need not agree. The file's content names the scheduler's job (the block) in which
the worker runs.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlip_autopipec.runtime.executors.parsl.block import BLOCK

__all__ = ["FILE", "PERIOD_S", "SILENT_S", "Watch", "beating", "block_of"]

FILE = "heartbeat"
PERIOD_S = 10.0
#: A worker whose file did not change for so long is dead; file servers may hide changes for a
#: minute.
SILENT_S = 120.0


@contextmanager
def beating(folder: Path, period_s: float = PERIOD_S) -> Iterator[None]:
    """Touch ``folder/heartbeat`` until the block of code ends.

    The thread does nothing but wait and utime(2), so that a fork in the main thread is safe at any
    moment.
    """
    path = folder / FILE
    path.write_text(os.environ.get(BLOCK, ""))
    over = threading.Event()

    def beat() -> None:
        while not over.wait(period_s):
            with contextlib.suppress(
                OSError
            ):  # a file server that is away for a moment, a folder that was removed
                os.utime(path)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def block_of(folder: Path) -> str:
    """The scheduler's job that runs the attempt; empty when it runs outside of any, or has not
    begun.
    """
    try:
        return (folder / FILE).read_text()
    except OSError:
        return ""


@dataclass(slots=True)
class Watch:
    """Remembers when each file was last seen to change, by this process's own clock."""

    silent_s: float = SILENT_S
    _seen: dict[Path, tuple[int, float]] = field(default_factory=dict)

    def silent(self, path: Path) -> bool:
        """Whether ``path`` has been watched for ``silent_s`` without a change (a missing file does
        not change).
        """
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            stamp = 0
        now = time.monotonic()
        before, since = self._seen.setdefault(path, (stamp, now))
        if stamp != before:
            self._seen[path] = (stamp, now)
            return False
        return now - since >= self.silent_s

    def forget(self, path: Path) -> None:
        """Its end is known; keep no memory of it."""
        self._seen.pop(path, None)
