"""Units of work, how they are handed to a worker, and how they end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlip_autopipec.base.values import Json, content_hash

__all__ = [
    "ERROR",
    "LOST",
    "PERSON",
    "STOPPED",
    "EndState",
    "Evidence",
    "Failure",
    "Outcome",
    "Task",
    "TaskKind",
    "TaskSpec",
]

EndState = Literal["converged", "budget_exhausted", "stalled", "needs_attention"]
TaskKind = Literal[
    "generate", "select", "label", "train", "explore", "harvest", "validate", "hit_rate"
]

# Kinds of failures that every task may have, whatever the engine.
LOST = "lost"
"""The worker vanished without an outcome (killed, machine restarted)."""
STOPPED = "stopped"
"""The driver ended the attempt because the user stopped the run; never counted against the task."""
PERSON = "person"
"""A person must mend it (a missing program, say): it ends the run with ``needs_attention``."""
ERROR = "error"
"""An unexpected exception of Python in the worker."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A line of a program's output that shows why a verdict was given."""

    file: str
    """The file, in the attempt's folder."""
    line: int
    """Number of the line, from 1."""
    text: str
    """The line."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A calculation that did not succeed: a value, never an exception swallowed.

    ``kind`` is a class name of the engine's table (for Quantum ESPRESSO:
    ``engines/dft/quantum_espresso/failures.py``) or one of LOST, STOPPED, PERSON and ERROR.
    """

    kind: str
    message: str
    evidence: tuple[Evidence, ...] = ()
    cure: str = ""
    """What would help, in words for a person, where the words of its class do not fit."""

    def to_json(self) -> Json:
        """Without ``cure`` where there is none, as in runs of before."""
        data = asdict(self)
        return data if self.cure else {key: data[key] for key in data if key != "cure"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        return cls(
            data["kind"],
            data["message"],
            tuple(Evidence(**item) for item in data.get("evidence", ())),
            data.get("cure", ""),
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A unit of work. Its id is the hash of its content, so planning it twice is a no-op.

    ``needs``: ids of finished tasks whose attempt folders the worker may read. ``cores``: what it
    occupies. Smaller ``priority`` runs first.
    """

    kind: TaskKind
    payload: Json
    needs: tuple[str, ...] = ()
    cores: int = 1
    priority: int = 50
    # Computed once: it is asked for far more often than tasks are made.
    id: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        content = content_hash([self.kind, self.payload, list(self.needs)])
        object.__setattr__(self, "id", f"{self.kind}-{content}")

    def to_json(self) -> Json:
        return {
            "kind": self.kind,
            "payload": self.payload,
            "needs": list(self.needs),
            "cores": self.cores,
            "priority": self.priority,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Task:
        return cls(
            data["kind"], data["payload"], tuple(data["needs"]), data["cores"], data["priority"]
        )


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What a worker reads (``spec.json``): the task, which attempt this is, and where its inputs
    lie.

    ``root``: the run folder (absolute). ``inputs``: id of a needed task -> its attempt folder,
    relative to ``root``.
    ``payload``: the task's payload, with the changes that a repair made. ``salvage``: folder
    (relative) of a dead attempt that may hold a finished result nobody reported.
    """

    task: Task
    attempt: int
    root: str
    payload: Json
    inputs: dict[str, str] = field(default_factory=dict)
    salvage: str | None = None

    def input_folder(self, task_id: str) -> Path:
        return Path(self.root) / self.inputs[task_id]

    def to_json(self) -> Json:
        return {
            "task": self.task.to_json(),
            "attempt": self.attempt,
            "root": self.root,
            "payload": self.payload,
            "inputs": self.inputs,
            "salvage": self.salvage,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskSpec:
        return cls(
            Task.from_json(data["task"]),
            data["attempt"],
            data["root"],
            data["payload"],
            dict(data["inputs"]),
            data.get("salvage"),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker reports (``outcome.json``): a small result or a failure; large data lies in
    files beside it.
    """

    result: Json | None
    failure: Failure | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.failure is None

    def to_json(self) -> Json:
        return {
            "result": self.result,
            "failure": None if self.failure is None else self.failure.to_json(),
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        failure = data.get("failure")
        return cls(
            data["result"],
            None if failure is None else Failure.from_json(failure),
            data.get("wall_s", 0.0),
            data.get("cpu_s", 0.0),
        )
