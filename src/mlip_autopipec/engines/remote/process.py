"""A long-lived helper process that answers JSON lines, and the search for the interpreter it runs
in.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import MissingProgramError

__all__ = [
    "ONE_THREAD",
    "WorkerEndedError",
    "WorkerKilledError",
    "WorkerProcess",
    "find_interpreter",
]

# Two workers on two cores that start a thread per core each run ten times slower.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_STDERR_TAIL = 2000


class WorkerEndedError(RuntimeError):
    """The process ended, or met an exception, instead of answering."""


class WorkerKilledError(WorkerEndedError):
    """The process was ended by a signal, as when memory runs out."""


class WorkerProcess:
    """One process; a line is sent, a line comes back. It ends when this object goes or this process
    dies.

    The pipe to its standard input is the leash: the kernel closes it whatever kills us, and the
    other side leaves at end of file. (A death signal of prctl(2) would already come when the
    *thread* ends that started the process.)
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **ONE_THREAD, **(env or {})},
        )
        self._end = weakref.finalize(self, _end, self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, request: Mapping[str, Any]) -> None:
        """Raises WorkerEndedError when nobody reads any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._obituary() from error

    def receive(self) -> dict[str, Any]:
        """The next line.

        Raises WorkerEndedError with the last words of the process when there is none.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._obituary()
        reply: dict[str, Any] = json.loads(line)
        if "broken" in reply:
            raise WorkerEndedError(reply["broken"])
        return reply

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.send(request)
        return self.receive()

    def close(self) -> None:
        self._end()

    def _obituary(self) -> WorkerEndedError:
        code = self._process.wait()
        self._stderr.seek(0)
        words = self._stderr.read()[-_STDERR_TAIL:].decode(errors="replace").strip()
        text = f"the process ended with code {code}" + (f":\n{words}" if words else "")
        return WorkerKilledError(text) if code < 0 else WorkerEndedError(text)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def find_interpreter(package: str, *, variable: str, venv: str, install: str) -> str:
    """The Python that can import ``package``; nothing is loaded, it takes some 50 ms.

    Looked for in the environment variable (path of an interpreter), in the folder ``venv`` beside
    the environment that runs this, and in the latter itself. Raises MissingProgramError when none
    has the package.
    """
    chosen = os.environ.get(variable)
    if chosen:
        if _has(chosen, package):
            return chosen
        raise MissingProgramError(f"the Python package {package!r} in {variable}={chosen}", install)
    beside = str(Path(sys.prefix).parent / venv / "bin" / "python")
    if _has(beside, package):
        return beside
    if importlib.util.find_spec(package) is not None:
        return sys.executable
    raise MissingProgramError(
        f"the Python package {package!r} (looked for in {venv} beside {sys.prefix}, and there)",
        f"{install}, or point {variable} at a Python that has it",
    )


def _has(python: str, package: str) -> bool:
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    try:
        return (
            subprocess.run(
                [python, "-I", "-c", look], capture_output=True, timeout=30, check=False
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
