"""Rows and parts of what a person is told: see :mod:`mlip_autopipec.report.values`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from mlip_autopipec.science.hit_rate import HitRate
from mlip_autopipec.science.judgement import JudgedErrors
from mlip_autopipec.science.predictions import Errors

__all__ = [
    "ConditionReached",
    "ConditionRow",
    "Cure",
    "ExpectedCost",
    "FailureRow",
    "LabelCounts",
    "Limits",
    "Pair",
    "PotentialRow",
    "RunningTask",
    "Screen",
    "StrategyErrors",
    "Target",
    "TimedText",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """Finished labels by purpose."""

    train: int = 0
    """To learn from, those held out for the test included."""
    masked: int = 0
    """Of these: periodic cutouts with unphysical atoms, whose forces are not learned."""
    validate: int = 0
    """For the properties of the potential; never learned from."""
    audit: int = 0
    """Structures that the screen rejected, labelled to check it; never learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCost:
    """What the plan expected of the campaign, whatever its budget was."""

    dft_calls: int
    """DFT calculations to its convergence."""
    wall_minutes: float
    """Wall time to its convergence."""
    label_cost: float
    """What the latest labels took of the cores' time, over what was expected of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What limits the forces of a potential on structures near the lowest energies."""

    limited_by: Literal["data", "capacity"]
    """``data``: more labels would lower the error; ``capacity``: only another fit would."""
    force_rmse_training_mev_per_a: float | None = None
    """On structures that it was fitted to; null where the trainer does not say."""
    force_rmse_out_of_fold_mev_per_a: float | None = None
    """On the same, each predicted by a fit without its group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A promise of the plan, and what was reached."""

    key: str
    """Name of the quantity for programs, such as ``force_rmse_mev_per_a``."""
    name: str
    """The same for people."""
    value: float | None
    """What the released (or newest) potential reaches, in ``unit``; null where it is not known."""
    limit: float
    """The largest value that meets the target, in ``unit``."""
    unit: str
    """Unit of value and limit."""
    met: bool | None
    """Whether the value is at most the limit; null where it is not known."""

    @classmethod
    def of(cls, key: str, name: str, value: float | None, limit: float, unit: str) -> Target:
        met = None if value is None else value <= limit
        return cls(key=key, name=name, value=value, limit=limit, unit=unit, met=met)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cure:
    """A change that was made after a failure."""

    cure: str
    """What the next attempt did differently."""
    tried: int = 0
    """How often the attempt with the change has ended."""
    worked: int = 0
    """How often it succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """A class of failures over all attempts of a run. Attempts that the user stopped are none."""

    kind: Annotated[str, Field(alias="class")]
    """Class of the failure in the engine's table, or ``lost``, ``error``, ``person``."""
    met: int = 0
    """Attempts that failed so."""
    tasks: int = 0
    """Structures (or other tasks) that were met by it."""
    healed: int = 0
    """Of these tasks: finished in the end."""
    quarantined: int = 0
    """Of these tasks: given up."""
    open: int = 0
    """Of these tasks: not ended yet."""
    core_hours_lost: float = 0.0
    """CPU time of the failed attempts; a worker that vanished could not report any."""
    message: str = ""
    """What the last of them said."""
    cures: tuple[Cure, ...] = ()
    """What was tried, in the order of the first trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRow:
    """MD at one condition of the plan."""

    name: str
    """Ensemble and temperature."""
    state: str
    """``explored``, ``not visited``, ``visited``, or the status of the running visit."""
    visits: int = 0
    """How often MD was started there, each time under the potential in force."""
    clean_ps: float | None = None
    """Of the newest visit: its run under one potential, so far."""
    ps: float | None = None
    """Time of all visits."""
    gamma_max: float | None = None
    """Largest extrapolation grade of all visits (no unit)."""
    frames: int = 0
    """Decorrelated frames of all visits that were judged."""
    unknown: int = 0
    """Frames of all visits with an atom that the potential did not know."""
    unjudged: int = 0
    """Of these: found by MD itself, and neither judged nor labelled."""
    potential: str | None = None
    """The potential that MD used last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionReached(JudgedErrors):
    """A condition of MD under the released potential, and its errors on structures that were drawn
    there by chance and had not been learned.
    """

    role: str = "asked"
    """``asked``; ``margin`` around it; ``check`` of it all in a large cell."""
    explored: bool = False
    """Whether MD made its whole run and met hardly anything unknown."""
    frames: int = 0
    """Decorrelated frames of that run that were judged."""
    unknown: int = 0
    """Of these: with an atom whose predicted error is above the limit."""
    predicted_force_error_mev_per_a: float | None = None
    """Root mean square of the predicted errors of force components over all atoms and frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A task that is at work."""

    id: str
    """Its id, and the name of its folder below ``tasks/``."""
    kind: str
    """``label``, ``train``, ``explore``, ``generate``, ``select``, ``harvest``, ``validate``..."""
    detail: str
    """The task in a few words."""
    state: Literal["running", "waiting"] = "running"
    """``waiting``: MD that sleeps until a better potential arrives."""
    started: float | None = None
    """When the attempt was planned, seconds since the epoch."""
    elapsed_s: float | None = None
    """Wall time since then."""
    eta_s: float | None = None
    """Wall time left, if it is like the earlier tasks of its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PotentialRow:
    """A trained potential."""

    name: str
    """Its name, and that of its folder below ``potentials/``."""
    trainer: str
    """What fitted it."""
    labels: int
    """Labelled structures at hand for the fit, those held out included."""
    test: Errors = field(default_factory=Errors)
    """On structures that were held out, or predicted by a fit without their group."""
    train: Errors = field(default_factory=Errors)
    """On structures that it was fitted to."""
    published_at: float | None = None
    """When it was put in force, seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedText:
    """A happening in words."""

    time: float
    """When it became known, seconds since the epoch."""
    text: str
    """What happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A property by the potential and by our own DFT, in the unit that its name ends with."""

    potential: float | None = None
    """By the potential; null where it has no value."""
    dft: float | None = None
    """By DFT with the method of the labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What the surrogate's screen let pass, and how right it was."""

    surrogate: str
    """Engine of the surrogate."""
    model: str | None
    """Its model, where one was named."""
    proposed: int
    """Candidates that were generated."""
    accepted: int
    """Candidates that passed."""
    geometry_only: bool
    """Whether distances between atoms alone judged, because it lacks an element."""
    hit_rate: HitRate | None
    """The surrogate beside DFT on the first labels; null where they were not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyErrors:
    """Errors of the released potential on one kind of structure."""

    strategy: str
    """The strategy that proposed the structures."""
    split: Literal["train", "test"]
    """``train``: fitted to; ``test``: held out, or predicted by a fit without their group."""
    n_structures: int
    """Structures of that kind."""
    energy_rmse_mev_per_atom: float | None
    """Of energies of whole cells."""
    force_rmse_mev_per_a: float | None
    """Of force components on unmasked atoms."""
