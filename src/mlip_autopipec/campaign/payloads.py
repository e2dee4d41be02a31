"""What each kind of task asks, as a value: the content of ``Task.payload``.

A task's id is the hash of its payload, so ``to_json`` gives the same keys in the same order for
ever. Structures stay JSON until they are asked for (``stored_...``): the campaign decides after
every event and looks at the atoms of hardly any candidate. What an earlier version stored is read
too; what it did not know has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.config.plan import Condition, SelectionMethod, StrategyPlan
from mlip_autopipec.science.properties import stored

__all__ = [
    "Asked",
    "ExplorePayload",
    "GeneratePayload",
    "HarvestPayload",
    "HitRatePayload",
    "LabelPayload",
    "SelectPayload",
    "TrainPayload",
    "ValidatePayload",
]


class Asked(Protocol):
    """What all of them can."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self: ...


@dataclass(frozen=True, slots=True)
class GeneratePayload:
    """Candidates of one batch of strategies."""

    batch: int
    strategies: tuple[StrategyPlan, ...]
    seed: int

    def to_json(self) -> Json:
        strategies = [strategy.model_dump(mode="json") for strategy in self.strategies]
        return {"batch": self.batch, "strategies": strategies, "seed": self.seed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        # Checked where it was planned; whoever asks by hand may want none of a strategy.
        strategies = tuple(StrategyPlan.model_construct(**item) for item in data["strategies"])
        return cls(int(data["batch"]), strategies, int(data["seed"]))


@dataclass(frozen=True, slots=True)
class SelectPayload:
    """Thin the candidates of the needed tasks to ``count``; ``random_fraction`` of them by chance.

    ``existing``: ids of labelled structures to which the new ones are to add something; None for
    the first selection. ``refused``: hashes of atoms that DFT could not label.
    """

    count: int
    method: SelectionMethod
    random_fraction: float
    seed: int
    existing: tuple[str, ...] | None = None
    refused: tuple[str, ...] = ()

    def to_json(self) -> Json:
        data: Json = {
            "count": self.count,
            "method": self.method,
            "random_fraction": self.random_fraction,
            "seed": self.seed,
        }
        if self.existing is not None:
            data |= {"existing": list(self.existing), "refused": list(self.refused)}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        existing = data.get("existing")
        return cls(
            int(data["count"]),
            data["method"],
            float(data["random_fraction"]),
            int(data["seed"]),
            None if existing is None else tuple(existing),
            tuple(data.get("refused", ())),
        )


@dataclass(frozen=True, slots=True)
class LabelPayload:
    """One DFT calculation of a candidate; ``purpose``: train, validate or audit; ``of_property``:
    the property that it belongs to.

    A calculation that is asked for by itself has no candidate.
    """

    stored_job: Json
    purpose: str = "train"
    stored_candidate: Json | None = None
    of_property: str | None = None

    @property
    def job(self) -> LabelJob:
        return LabelJob.from_json(self.stored_job)

    @property
    def candidate(self) -> Candidate:
        return Candidate.from_json(self._stored())

    @property
    def provenance(self) -> Provenance:
        return Provenance.from_json(self._stored()["provenance"])

    @property
    def numbers(self) -> list[int]:
        """Atomic numbers of the candidate."""
        numbers: list[int] = self._stored()["atoms"]["numbers"]
        return numbers

    @property
    def masked(self) -> bool:
        """Whether only some of the candidate's atoms may be learned."""
        return self._stored()["core"] is not None

    @property
    def candidate_hash(self) -> str:
        """The candidate's name: its atoms and its story."""
        return content_hash(self.stored_candidate)

    @property
    def atoms_hash(self) -> str:
        """The name of the candidate's atoms, whatever its story is."""
        return content_hash(self._stored()["atoms"])

    @property
    def calculation_hash(self) -> str:
        """The name of calculation and purpose, whatever the candidate's story is."""
        return content_hash([self.purpose, self.stored_job])

    def _stored(self) -> Json:
        if self.stored_candidate is None:
            raise ValueError("this label is of no candidate")
        return self.stored_candidate

    def to_json(self) -> Json:
        data: Json = {}
        if self.stored_candidate is not None:
            data["candidate"] = self.stored_candidate
        data |= {"job": self.stored_job, "purpose": self.purpose}
        if self.of_property is not None:
            data["property"] = self.of_property
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["job"], data["purpose"], data.get("candidate"), data.get("property"))


@dataclass(frozen=True, slots=True)
class TrainPayload:
    """A fit of labels (ids of their tasks).

    ``warm_start``: the potential to start from; ``previous``: the one in force, which
    predicts new labels before they are learned; both folders relative to the run folder, None where
    there is none. ``generated``: the generate task that holds the surrogate's own labels.
    """

    round: int
    trainer: str
    labels: tuple[str, ...]
    warm_start: str | None
    previous: str | None
    seed: int
    generated: str | None = None

    def to_json(self) -> Json:
        data: Json = {
            "round": self.round,
            "trainer": self.trainer,
            "labels": list(self.labels),
            "warm_start": self.warm_start,
            "previous": self.previous,
            "seed": self.seed,
        }
        return data if self.generated is None else {**data, "generated": self.generated}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            data["round"],
            data["trainer"],
            tuple(data["labels"]),
            data.get("warm_start"),
            data.get("previous"),
            int(data["seed"]),
            data.get("generated"),
        )


@dataclass(frozen=True, slots=True)
class ExplorePayload:
    """MD at a condition, the ``visit``-th there, counted from 0.

    ``serve``: the potential that a fit is about to replace: go on moving until it is, and make the
    run under the next. ``volume_ratio``: DFT's volume over that of the start, once it is known.
    """

    condition: Condition
    visit: int
    seed: int
    serve: str | None = None
    volume_ratio: float | None = None

    def to_json(self) -> Json:
        condition = self.condition.model_dump(mode="json")
        data: Json = {"condition": condition, "visit": self.visit, "seed": self.seed}
        more = {"serve": self.serve or None, "volume_ratio": self.volume_ratio}
        return {**data, **{key: value for key, value in more.items() if value is not None}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        condition = Condition.model_validate(data["condition"])
        return cls(
            condition,
            data["visit"],
            int(data["seed"]),
            data.get("serve"),
            data.get("volume_ratio"),
        )


@dataclass(frozen=True, slots=True)
class HarvestPayload:
    """Choose at most ``count`` unknown cells out of what MD met, and some by chance.

    ``files``: frames on which MD broke, relative to the run folder; ``visits``: ids of the ended MD
    tasks whose frames are judged; ``potential``: folder of the one that judges them; ``on_policy``:
    condition -> how many frames are drawn there by chance, whatever the potential says of them.
    """

    batch: int
    files: tuple[str, ...]
    potential: str
    count: int
    seed: int
    visits: tuple[str, ...] = ()
    on_policy: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> Json:
        data: Json = {
            "batch": self.batch,
            "files": list(self.files),
            "potential": self.potential,
            "count": self.count,
            "seed": self.seed,
        }
        if self.visits:
            data |= {"visits": list(self.visits), "on_policy": dict(self.on_policy)}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            int(data["batch"]),
            tuple(data["files"]),
            data["potential"],
            int(data["count"]),
            int(data["seed"]),
            tuple(data.get("visits", ())),
            dict(data.get("on_policy", {})),
        )


@dataclass(frozen=True, slots=True)
class ValidatePayload:
    """Compare a potential (folder relative to the run folder) with DFT.

    ``labels``: property -> ids of its label tasks; ``source``: the generate task whose start
    structure they come from. ``gate``: also whether it may be released; ``atoms``: ids of labels of
    isolated atoms, for that. Tasks from before properties had names are read, never written.
    """

    potential: str
    labels: Mapping[str, tuple[str, ...]]
    source: str | None
    gate: bool = False
    atoms: tuple[str, ...] = ()

    def to_json(self) -> Json:
        labels = {name: list(ids) for name, ids in self.labels.items()}
        data: Json = {"potential": self.potential, "labels": labels, "source": self.source}
        if self.gate:
            data |= {"gate": True, "atoms": list(self.atoms)}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        labels = {name: tuple(ids) for name, ids in stored.labels_of(data).items()}
        return cls(
            data["potential"],
            labels,
            stored.source_of(data),
            bool(data.get("gate", False)),
            tuple(data.get("atoms", ())),
        )


@dataclass(frozen=True, slots=True)
class HitRatePayload:
    """Compare surrogate and DFT: ids of labels that passed the screen, and of rejected ones."""

    accepted: tuple[str, ...]
    audited: tuple[str, ...]

    def to_json(self) -> Json:
        return {"accepted": list(self.accepted), "audited": list(self.audited)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(tuple(data["accepted"]), tuple(data["audited"]))
