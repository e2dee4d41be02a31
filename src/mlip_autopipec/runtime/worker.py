"""The worker: claims an attempt folder, does the task, writes the outcome.

Which function does a task of which kind is handed in. It knows no scheduler and opens no database.
A folder that is claimed already, or has its outcome, is left alone, so a job submitted twice runs
once.
"""

from __future__ import annotations

import resource
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from mlip_autopipec.base.errors import MlipError
from mlip_autopipec.base.files import claim, read_json, write_json
from mlip_autopipec.base.tasks import ERROR, PERSON, Evidence, Failure, Outcome, TaskKind, TaskSpec
from mlip_autopipec.config.label_plan import read_plan
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.heartbeat import beating

__all__ = ["Handler", "identity", "main", "perform"]

#: Task spec, plan of the run folder and attempt folder in; the outcome out. What the plan is, the
#: handler knows.
Handler = Callable[[TaskSpec, Any, Path], Outcome]


def identity() -> str:
    """``host:pid:start time`` of this process: enough to know later whether it still lives."""
    me = psutil.Process()
    return f"{socket.gethostname()}:{me.pid}:{me.create_time():.2f}"


def perform(folder: Path, handlers: Mapping[TaskKind, Handler]) -> Outcome:
    """Run the task of ``folder`` and return its outcome; unexpected exceptions become Failure
    ``error``.
    """
    spec = TaskSpec.from_json(read_json(folder / layout.SPEC))
    started = time.time()
    try:
        plan = read_plan(Path(spec.root) / layout.PLAN_JSON)
        outcome = handlers[spec.task.kind](spec, plan, folder)
    except MlipError as error:
        outcome = Outcome(None, Failure(PERSON, str(error)))
    except Exception as error:
        lines = traceback.format_exc().splitlines()
        evidence = tuple(
            Evidence("traceback", number, text) for number, text in enumerate(lines, 1)
        )
        outcome = Outcome(None, Failure(ERROR, f"{type(error).__name__}: {error}", evidence))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(item.ru_utime + item.ru_stime for item in used)
    return Outcome(outcome.result, outcome.failure, wall_s=time.time() - started, cpu_s=cpu_s)


def main(folder: Path, handlers: Mapping[TaskKind, Handler]) -> int:
    """Claim, perform, report; returns the exit code of the process."""
    if (folder / layout.OUTCOME).exists() or not claim(folder / layout.CLAIM, identity()):
        return 0
    with beating(folder):
        outcome = perform(folder, handlers)
    write_json(folder / layout.OUTCOME, outcome.to_json())
    return 0 if outcome.ok else 1
