"""Facts of a campaign, in the order they became known. They are only ever appended.

``to_record``/``from_record`` turn an event into a (kind, JSON) pair and back; the store adds number
and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.tasks import EndState, Outcome, Task
from mlip_autopipec.base.values import Json

__all__ = [
    "AttemptEnded",
    "AttemptPlanned",
    "AttemptSubmitted",
    "AttemptVerdict",
    "CampaignEnded",
    "DriverStarted",
    "Event",
    "MdBroke",
    "MdEvent",
    "MdNoted",
    "MdProgressed",
    "MdResumed",
    "MdStreamed",
    "MdSwapped",
    "PotentialPublished",
    "SettingsChecked",
    "TaskCancelled",
    "TaskPlanned",
    "from_record",
    "md_event",
    "to_record",
]

AttemptVerdict = Literal["done", "retry", "quarantined"]


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
    verdict: AttemptVerdict
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
class _Md:
    """A happening that running MD streamed as a line (see MdEngine).

    ``offset``: bytes of the stream read so far, this line included. In the log each of them is a
    row ``MdReported`` with the line as it stood in the stream.
    """

    task_id: str
    attempt: int
    offset: int

    @property
    def grade(self) -> float | None:
        """Largest extrapolation grade that it tells of; None where it tells of none."""
        match self:
            case MdProgressed():
                return self.gamma_max
            case MdStreamed() | MdBroke():
                return self.gamma
        return None

    def line(self) -> Json:
        """The line of the stream; what is not known is left out."""
        values = {name: getattr(self, name) for name in type(self).__slots__}
        known = {name: value for name, value in values.items() if value is not None}
        return {"type": _MD_WORDS[type(self)], **known}

    def data(self) -> Json:
        return {
            "task": self.task_id,
            "attempt": self.attempt,
            "offset": self.offset,
            "report": self.line(),
        }


@dataclass(frozen=True, slots=True)
class MdProgressed(_Md):
    """MD goes on, or waits for a better potential. None: the engine does not say."""

    step: int
    """MD steps so far, those that were rewound not counted."""
    state: str = "running"
    """``running``, or ``waiting`` for a newer potential."""
    ps: float | None = None
    """Time of MD so far."""
    clean_ps: float | None = None
    """Of this: the part of its run that it made under the potential in force."""
    gamma_max: float | None = None
    """Largest extrapolation grade since the line of progress before; 0: none was evaluated."""
    potential: str | None = None
    """The potential that MD uses."""

    @property
    def waiting(self) -> bool:
        return self.state == "waiting"


@dataclass(frozen=True, slots=True)
class MdStreamed(_Md):
    """A frame in which MD extrapolated: it asks to be labelled."""

    file: str
    """File of the frame (a candidate as JSON), in the attempt's folder."""
    gamma: float
    """Largest extrapolation grade of its atoms."""
    step: int
    """MD step of the frame."""
    potential: str
    """The potential that extrapolated."""


@dataclass(frozen=True, slots=True)
class MdBroke(_Md):
    """MD extrapolated past the limit: it went back to its last trusted frame and waits."""

    gamma: float
    """Largest extrapolation grade of the atoms."""
    step: int
    """MD step at which that was."""
    potential: str | None = None
    """The potential that extrapolated."""


@dataclass(frozen=True, slots=True)
class MdSwapped(_Md):
    """MD took over a newer potential in place and went on."""

    old: str
    """The potential before."""
    new: str
    """The potential from here on."""
    step: int
    """MD step at which that was."""


@dataclass(frozen=True, slots=True)
class MdResumed(_Md):
    """MD went on after it had waited, or from the snapshot of a killed run."""

    step: int
    """MD step from which it goes on."""


@dataclass(frozen=True, slots=True)
class MdNoted(_Md):
    """A line that this version does not know: kept as it is, without effect."""

    report: Json

    def line(self) -> Json:
        return self.report


MdEvent = MdProgressed | MdStreamed | MdBroke | MdSwapped | MdResumed | MdNoted
_MD_KINDS: dict[str, type[MdProgressed | MdStreamed | MdBroke | MdSwapped | MdResumed]] = {
    "progress": MdProgressed,
    "candidate": MdStreamed,
    "break": MdBroke,
    "swap": MdSwapped,
    "resume": MdResumed,
}
_MD_WORDS: dict[type, str] = {cls: word for word, cls in _MD_KINDS.items()}


def md_event(task_id: str, attempt: int, offset: int, line: Mapping[str, Any]) -> MdEvent:
    """The happening in a line of MD's stream; a line of another make is an :class:`MdNoted`."""
    cls = _MD_KINDS.get(line.get("type", ""))
    if cls is not None:
        given = {name: line[name] for name in cls.__slots__ if name in line}
        with suppress(TypeError):  # it lacks what such a line has to say
            return cls(task_id, attempt, offset, **given)
    return MdNoted(task_id, attempt, offset, dict(line))


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
    | MdEvent
    | PotentialPublished
    | CampaignEnded
)
_MD_ROW = "MdReported"
_KINDS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        DriverStarted,
        SettingsChecked,
        TaskPlanned,
        AttemptPlanned,
        AttemptSubmitted,
        AttemptEnded,
        TaskCancelled,
        PotentialPublished,
        CampaignEnded,
    )
}


def to_record(event: Event) -> tuple[str, Json]:
    return _MD_ROW if isinstance(event, _Md) else type(event).__name__, event.data()


def from_record(kind: str, data: Mapping[str, Any]) -> Event:
    if kind == _MD_ROW:
        return md_event(data["task"], data["attempt"], data["offset"], data["report"])
    event: Event = _KINDS[kind].parse(data)
    return event
