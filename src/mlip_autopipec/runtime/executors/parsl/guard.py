"""Runs Parsl's interchange with a bounded life: ``python -m ...guard SECONDS FOLDER COMMAND...``.

Parsl's interchange outlives a killed driver for ever. Here it outlives it for the walltime of a
block, so that running blocks can finish what they hold, and is then ended. FOLDER only shows, in a
list of processes, whose it is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType

__all__ = ["main"]

_LOOK_EVERY_S = 2.0


def main(grace_s: float, command: list[str]) -> int:
    """Run ``command`` (it inherits standard input) and return its exit code."""
    parent = os.getppid()
    # a signal to the driver's group (Ctrl-C, timeout) is for the driver, which then ends us
    os.setsid()
    child = subprocess.Popen(command)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    orphan_since: float | None = None
    while True:
        try:
            return child.wait(timeout=_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            if os.getppid() == parent:
                continue
            orphan_since = orphan_since or time.monotonic()
            if time.monotonic() - orphan_since > grace_s:
                child.kill()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[3:]))
