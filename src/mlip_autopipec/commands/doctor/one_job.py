"""Does an executor work? A job of one second, from submission to the file that it writes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mlip_autopipec.base.errors import MlipError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.runtime.executors.ports import Executor, JobRequest

__all__ = ["JobAnswer", "probe"]

_ANSWER = "answer.json"
_JOB = """
import json, os, socket, sys, time
import mlip_autopipec
time.sleep(1)
answer = {"host": socket.gethostname(), "python": sys.version.split()[0],
          "block": os.environ.get("MLIP_BLOCK", "")}
with open("answer.new", "w") as file:
    json.dump(answer, file)
os.replace("answer.new", "answer.json")
"""


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """Where a job ran (host, version of Python, id of the block of nodes or ""), and how long its
    answer took.
    """

    host: str
    python: str
    block: str
    wait_s: float = 0.0


def probe(executor: Executor, folder: Path, timeout_s: float = 600.0) -> JobAnswer:
    """The answer of a job of one second in ``folder``, which its node must see.

    Raises MlipError when the job ends without its answer or does not start in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    job = executor.submit(JobRequest("probe.1", (sys.executable, "-c", _JOB), folder))
    ended = 0
    while not (folder / _ANSWER).exists():
        if time.monotonic() - begun > timeout_s:
            executor.cancel([job])
            raise MlipError(
                f"a job of one second did not end within {timeout_s:.0f} s (is the queue full?)"
            )
        ended = 0 if executor.poll([job])[job] else ended + 1
        if ended > 3:  # the answer may lag behind on a network file system
            log = folder / "worker.log"
            said = log.read_text(errors="replace").strip()[-400:] if log.exists() else ""
            raise MlipError(f"the job ended without its answer; it said: {said or 'nothing'}")
        time.sleep(0.3)
    answer = JobAnswer(**read_json(folder / _ANSWER))
    return replace(answer, wait_s=round(time.monotonic() - begun, 1))
