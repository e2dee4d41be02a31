"""Facts of a campaign, in the order they became known. They are only ever appended.

``to_record``/``from_record`` turn an event into a (kind, JSON) pair and back; the store adds number
and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.tasks import EndState, Outcome, Task
from mlip_autopipec.base.values import Json

__all__ = [
    "AttemptEnded",
    "AttemptPlanned",
    "AttemptSubmitted",
    "CampaignEnded",
    "DriverStarted",
    "Event",
    "MdReported",
    "PotentialPublished",
    "SettingsChecked",
    "TaskCancelled",
    "TaskPlanned",
    "Verdict",
    "from_record",
    "to_record",
]

Verdict = Literal["done", "retry", "quarantined"]


@dataclass(frozen=True, slots=True)
class DriverStarted:
    """A driver took the run folder.

    ``elapsed_s``: wall time that earlier drivers spent on it. ``budget``: the limits now in force,
    so that raised limits reopen an ended campaign.
    """

    plan_hash: str
    elapsed_s: float
    budget: Json

    def data(self) -> Json:
        return {"plan_hash": self.plan_hash, "elapsed_s": self.elapsed_s, "budget": self.budget}

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> DriverStarted:
        return cls(data["plan_hash"], data["elapsed_s"], data["budget"])


@dataclass(frozen=True, slots=True)
class SettingsChecked:
    """The DFT settings were chosen by a convergence series before this log began: calculations
    started, CPU seconds.
    """

    calculations: int
    cpu_s: float

    def data(self) -> Json:
        return {"calculations": self.calculations, "cpu_s": self.cpu_s}

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> SettingsChecked:
        return cls(data["calculations"], data["cpu_s"])


@dataclass(frozen=True, slots=True)
class TaskPlanned:
    task: Task

    def data(self) -> Json:
        return self.task.to_json()

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> TaskPlanned:
        return cls(Task.from_json(data))


@dataclass(frozen=True, slots=True)
class AttemptPlanned:
    """An attempt is about to be handed to the executor; durable before the executor hears of it."""

    task_id: str
    attempt: int

    def data(self) -> Json:
        return {"task": self.task_id, "attempt": self.attempt}

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> AttemptPlanned:
        return cls(data["task"], data["attempt"])


@dataclass(frozen=True, slots=True)
class AttemptSubmitted:
    task_id: str
    attempt: int
    job: str

    def data(self) -> Json:
        return {"task": self.task_id, "attempt": self.attempt, "job": self.job}

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> AttemptSubmitted:
        return cls(data["task"], data["attempt"], data["job"])


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """How an attempt ended and what follows from it.

    ``next_payload``: payload of the next attempt when a repair changed it. ``salvage``: the dead
    attempt's folder may hold a finished result. ``cure``: what the repair changes, for people.
    """

    task_id: str
    attempt: int
    outcome: Outcome
    verdict: Verdict
    next_payload: Json | None = None
    salvage: bool = False
    cure: str | None = None

    def data(self) -> Json:
        return {
            "task": self.task_id,
            "attempt": self.attempt,
            "outcome": self.outcome.to_json(),
            "verdict": self.verdict,
            "next_payload": self.next_payload,
            "salvage": self.salvage,
            "cure": self.cure,
        }

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> AttemptEnded:
        return cls(
            data["task"],
            data["attempt"],
            Outcome.from_json(data["outcome"]),
            data["verdict"],
            data["next_payload"],
            data["salvage"],
            data["cure"],
        )


@dataclass(frozen=True, slots=True)
class TaskCancelled:
    """A task is no longer wanted; a running attempt of it was ended."""

    task_id: str
    reason: str

    def data(self) -> Json:
        return {"task": self.task_id, "reason": self.reason}

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> TaskCancelled:
        return cls(data["task"], data["reason"])


@dataclass(frozen=True, slots=True)
class MdReported:
    """A line that running MD streamed (see MdEngine). ``offset``: bytes of the stream read so
    far.
    """

    task_id: str
    attempt: int
    offset: int
    report: Json

    def data(self) -> Json:
        return {
            "task": self.task_id,
            "attempt": self.attempt,
            "offset": self.offset,
            "report": self.report,
        }

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> MdReported:
        return cls(data["task"], data["attempt"], data["offset"], data["report"])


@dataclass(frozen=True, slots=True)
class PotentialPublished:
    """A potential was put into its immutable folder and the pointer was moved to it."""

    task_id: str
    potential: PotentialRef

    def data(self) -> Json:
        return {"task": self.task_id, "potential": self.potential.to_json()}

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> PotentialPublished:
        return cls(data["task"], PotentialRef.from_json(data["potential"]))


@dataclass(frozen=True, slots=True)
class CampaignEnded:
    end_state: EndState
    reason: str

    def data(self) -> Json:
        return {"end_state": self.end_state, "reason": self.reason}

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> CampaignEnded:
        return cls(data["end_state"], data["reason"])


Event = (
    DriverStarted
    | SettingsChecked
    | TaskPlanned
    | AttemptPlanned
    | AttemptSubmitted
    | AttemptEnded
    | TaskCancelled
    | MdReported
    | PotentialPublished
    | CampaignEnded
)
_KINDS: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        DriverStarted,
        SettingsChecked,
        TaskPlanned,
        AttemptPlanned,
        AttemptSubmitted,
        AttemptEnded,
        TaskCancelled,
        MdReported,
        PotentialPublished,
        CampaignEnded,
    )
}


def to_record(event: Event) -> tuple[str, Json]:
    return type(event).__name__, event.data()


def from_record(kind: str, data: Mapping[str, Any]) -> Event:
    return _KINDS[kind].parse(data)
