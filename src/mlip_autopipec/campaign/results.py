"""What each kind of task answers, as a value: the content of ``Outcome.result``.

A label answers a :class:`~mlip_autopipec.base.labels.Label`, MD a
:class:`~mlip_autopipec.engines.ports.MdResult`, the comparison of surrogate and DFT a
:class:`~mlip_autopipec.science.hit_rate.HitRate`; that of a validation is read by
:mod:`mlip_autopipec.science.properties.stored`. Structures stay JSON until they are asked for
(``stored_...``). What earlier versions did not say has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ase import Atoms

from mlip_autopipec.base.structures import atoms_from_json
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.properties import stored

__all__ = [
    "GenerateResult",
    "HarvestResult",
    "SelectResult",
    "SkippedFrame",
    "StartFound",
    "TrainResult",
    "VisitJudged",
]


@dataclass(frozen=True, slots=True)
class StartFound:
    """A start structure of low energy by the surrogate."""

    name: str
    formula: str
    energy_ev_per_atom: float | None

    def to_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GenerateResult:
    """What passed the screen, in numbers; the candidates lie in files of the attempt folder.

    ``proposed``: before the screen. ``rejected``: reason -> how many. ``strategies``: strategy ->
    how many accepted. ``prepared``: property -> what the surrogate found for it. ``geometry_only``:
    the surrogate did not judge. ``stored_audit``: rejected candidates that may be labelled to check
    the screen.
    """

    accepted: int
    proposed: int
    stored_ground_state: Json
    surrogate: str = ""
    rejected: Mapping[str, int] = field(default_factory=dict)
    strategies: Mapping[str, int] = field(default_factory=dict)
    prepared: Mapping[str, Json] = field(default_factory=dict)
    geometry_only: bool = False
    stored_audit: tuple[Json, ...] = ()
    starts: tuple[StartFound, ...] = ()

    @property
    def ground_state(self) -> Atoms:
        """Conventional cell of the start structure of lowest energy."""
        return atoms_from_json(self.stored_ground_state)

    def to_json(self) -> Json:
        return {
            "accepted": self.accepted,
            "rejected": dict(self.rejected),
            "strategies": dict(self.strategies),
            "surrogate": self.surrogate,
            "ground_state": self.stored_ground_state,
            "prepared": dict(self.prepared),
            "geometry_only": self.geometry_only,
            "audit": list(self.stored_audit),
            "starts": [start.to_json() for start in self.starts],
            "hit": {"proposed": self.proposed, "accepted": self.accepted},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        accepted = data.get("accepted", 0)
        return cls(
            accepted=accepted,
            proposed=(data.get("hit") or {}).get("proposed", accepted),
            stored_ground_state=data["ground_state"],
            surrogate=data.get("surrogate", ""),
            rejected=data.get("rejected", {}),
            strategies=data.get("strategies", {}),
            prepared=stored.prepared(data),
            geometry_only=bool(data.get("geometry_only", False)),
            stored_audit=tuple(data.get("audit", ())),
            starts=tuple(StartFound(**start) for start in data.get("starts", ())),
        )


@dataclass(frozen=True, slots=True)
class SelectResult:
    """What was picked of ``of`` unlike candidates, in order; ``picked``: reason -> how many."""

    stored_candidates: tuple[Json, ...]
    of: int = 0
    picked: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> Json:
        candidates = list(self.stored_candidates)
        return {"candidates": candidates, "of": self.of, "picked": dict(self.picked)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(tuple(data["candidates"]), data.get("of", 0), data.get("picked", {}))


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A potential that lies in ``potential/`` of the attempt folder; ``metrics`` are its trainer's,
    ``labels`` how many it was made from.
    """

    trainer: str
    metrics: Json
    labels: int

    def to_json(self) -> Json:
        return {"trainer": self.trainer, "metrics": self.metrics, "labels": self.labels}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["trainer"], data["metrics"], data["labels"])


@dataclass(frozen=True, slots=True)
class SkippedFrame:
    """Why a frame, or a cell that was cut out of it, is not labelled."""

    reason: str
    file: str | None

    def to_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class VisitJudged:
    """What a visit of MD showed, by the potential of the harvest that judged it.

    ``complete``: it made its whole run under ``potential``, its own, without a break. ``unknown``:
    frames of ``frames`` with an atom whose predicted force error is above the limit;
    ``force_error_ev_per_a``: root mean square of the predicted errors of all atoms;
    ``worst_ev_per_a``: the largest of them. None where the potential predicts none.
    """

    visit: str
    condition: str
    potential: str
    complete: bool
    frames: int
    unknown: int
    force_error_ev_per_a: float | None = None
    worst_ev_per_a: float | None = None

    def to_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class HarvestResult:
    """Cells for DFT: ``cutouts`` of them cut out of a frame, ``whole`` of them frames.

    ``explored``: each visit that was judged.
    """

    stored_candidates: tuple[Json, ...]
    cutouts: int = 0
    whole: int = 0
    skipped: tuple[SkippedFrame, ...] = ()
    explored: tuple[VisitJudged, ...] = ()

    def to_json(self) -> Json:
        data: Json = {
            "candidates": list(self.stored_candidates),
            "cutouts": self.cutouts,
            "whole": self.whole,
            "skipped": [skipped.to_json() for skipped in self.skipped],
        }
        if self.explored:
            data["explored"] = [judged.to_json() for judged in self.explored]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            tuple(data["candidates"]),
            data.get("cutouts", 0),
            data.get("whole", 0),
            tuple(SkippedFrame(**item) for item in data.get("skipped", ())),
            tuple(VisitJudged(**item) for item in data.get("explored", ())),
        )
