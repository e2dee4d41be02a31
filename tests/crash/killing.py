"""What the tests that kill have in common: drivers to kill, their workers, and the count of what
was really done.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
from ase.db import connect

__all__ = ["kill", "label_names", "launch", "times_done", "workers"]


def launch(
    command: Sequence[str], ledger: Path, log: Path, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """A driver in a process of its own; the simulated programs write to ``ledger``, what it prints
    goes to ``log``.
    """
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "MLIP_TESTING_LEDGER": str(ledger)},
            stdout=out,
            stderr=out,
        )


def workers(root: Path) -> list[psutil.Process]:
    """Workers of a run folder, whoever started them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "mlip_autopipec.tasks" in command and any(str(root) in part for part in command):
            found.append(process)
    return found


def kill(process: psutil.Process) -> None:
    """SIGKILL, to a process that may have ended by itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def times_done(ledger: Path) -> Counter[str]:
    """Calculation -> how often it ended.

    The simulated program writes its line as its last act, after the result.
    """
    return Counter(ledger.read_text().split())


def label_names(database: Path) -> list[str]:
    """Names of all rows of a database of labels."""
    return [row.name for row in connect(database, use_lock_file=False).select()]
