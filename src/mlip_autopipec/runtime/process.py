"""Child processes that die with their parent: external programs are started here and nowhere else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

from mlip_autopipec.engines.ports import Prepared
from mlip_autopipec.errors import MissingProgramError

__all__ = ["TIMED_OUT", "die_with_parent", "run_prepared"]

TIMED_OUT = 124
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux prctl(2); elsewhere nothing)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_prepared(prepared: Prepared, folder: Path, walltime_s: float | None = None) -> int:
    """Write the files, run the command in ``folder`` and return its exit code.

    Standard output goes to ``prepared.stdout``, errors to ``stderr.txt``. A signal n becomes 128 + n; past
    ``walltime_s`` the whole process group is killed and the code is 124. Raises MissingProgramError when the command
    does not exist.
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
            raise MissingProgramError(prepared.command[0], "make run, or see mlip-auto doctor") from error
        try:
            code = child.wait(timeout=walltime_s)
        except subprocess.TimeoutExpired:
            _kill_group(child)
            return TIMED_OUT
        except BaseException:
            _kill_group(child)
            raise
    return code if code >= 0 else 128 - code


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
