"""Child processes that die with their parent: external programs are started here and nowhere
else.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlip_autopipec.base.errors import MissingProgramError

__all__ = ["TIMED_OUT", "Prepared", "die_with_parent", "run_prepared"]

TIMED_OUT = 124
_WATCH_EVERY_S = 5.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Prepared:
    """Files to write (name -> text or bytes, relative to the attempt folder) and the command to run
    there.

    ``stdout``: file that takes standard output. ``links``: name -> absolute path of a file to be
    linked in.
    """

    files: Mapping[str, str | bytes]
    command: tuple[str, ...]
    stdout: str = "stdout.txt"
    env: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux prctl(2); elsewhere
    nothing).
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_prepared(
    prepared: Prepared,
    folder: Path,
    walltime_s: float | None = None,
    watch: Callable[[Path], None] | None = None,
) -> int:
    """Write the files, run the command in ``folder`` and return its exit code.

    Standard output goes to ``prepared.stdout``, errors to ``stderr.txt``. A signal n becomes 128 +
    n; past ``walltime_s`` the whole process group is killed and the code is 124. ``watch`` is
    called with ``folder`` every few seconds while the command runs. Raises MissingProgramError when
    the command does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in prepared.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    for name, source in prepared.links.items():
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    with (folder / prepared.stdout).open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        try:
            child = subprocess.Popen(
                prepared.command,
                cwd=folder,
                env={**os.environ, **prepared.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=die_with_parent,  # a worker has one thread
            )
        except FileNotFoundError as error:
            raise MissingProgramError(
                prepared.command[0], "make run, or see mlip-auto doctor"
            ) from error
        try:
            code = _wait(child, walltime_s, None if watch is None else lambda: watch(folder))
        except subprocess.TimeoutExpired:
            _kill_group(child)
            return TIMED_OUT
        except BaseException:
            _kill_group(child)
            raise
    return code if code >= 0 else 128 - code


def _wait(
    child: subprocess.Popen[bytes], walltime_s: float | None, look: Callable[[], None] | None
) -> int:
    """The exit code; raises TimeoutExpired past ``walltime_s``."""
    if look is None:
        return child.wait(timeout=walltime_s)
    ends = math.inf if walltime_s is None else time.monotonic() + walltime_s
    while True:
        left = ends - time.monotonic()
        try:
            return child.wait(timeout=min(_WATCH_EVERY_S, max(left, 0.0)))
        except subprocess.TimeoutExpired:
            if left <= _WATCH_EVERY_S:
                raise
        look()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
