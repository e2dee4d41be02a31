"""When to stop: the conditions of convergence, each with the reason why it holds or does not.

A campaign has converged when, over the last rounds, MD met nothing new at every condition asked
for, the held-out errors stand still and are small enough, and every property asked for stands still
and agrees with DFT. What is not known counts as not met: a campaign never converges on missing
numbers.

A criterion is a function of :class:`Progress` and :class:`Limits`, and a line of ``CRITERIA``; the
number that it needs is a field of :class:`Limits`, which is the section ``convergence`` of a plan.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from pydantic import Field

from mlip_autopipec.base.section import Count, Positive, Section
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.properties.port import PropertyValue

__all__ = [
    "CRITERIA",
    "Check",
    "ConditionProgress",
    "Criterion",
    "Limits",
    "Progress",
    "Round",
    "Verdict",
    "judge",
    "relative_change",
]


class Limits(Section):
    """When the loop may stop, each number with its reason. Changes are relative (0.05 is 5 %).

    ``rounds``: how many potentials in a row are looked at; 2 means the newest against the one
    before.
    """

    force_rmse_change: Positive = Field(
        default=0.15, description="few held-out labels scatter this much"
    )
    energy_rmse_mev_per_atom: Positive = Field(
        default=5.0, description="held out; a fifth of kT at 300 K"
    )
    force_rmse_mev_per_a: Positive = Field(
        default=100.0, description="held out; a tenth of thermal forces"
    )
    property_change: Positive = Field(
        default=0.01, description="relative change of each property between rounds"
    )
    rounds: Count = Field(default=2, description="in a row that must satisfy all of this")


@dataclass(frozen=True, slots=True)
class Round:
    """One potential: held-out RMSE (meV/Å, meV/atom), its predecessor's force RMSE *on the same
    test set*, properties.

    ``properties``: a value for every number that is asked for, known or not.
    Only the same test set makes the two comparable: the set grows, and harder structures raise the
    error of both.
    """

    potential: str
    force_rmse_mev_per_a: float | None
    energy_rmse_mev_per_atom: float | None
    previous_force_rmse_mev_per_a: float | None = None
    properties: tuple[PropertyValue, ...] = ()

    @property
    def by_key(self) -> list[PropertyValue]:
        """The properties in the order in which checks name them."""
        return sorted(self.properties, key=lambda value: value.key)


@dataclass(frozen=True, slots=True)
class ConditionProgress:
    """MD at one condition: clean when it ran for the time asked for with gamma below
    gamma_select.
    """

    name: str
    clean: bool
    potential: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What there is to judge: the last rounds, oldest first, as many as are looked at, and the MD
    conditions of the newest potential.
    """

    recent: Sequence[Round]
    conditions: Sequence[ConditionProgress]

    @property
    def newest(self) -> tuple[Round, ...]:
        """The newest round; nothing before the first potential."""
        return tuple(self.recent[-1:])

    @property
    def steps(self) -> Iterator[tuple[Round, Round]]:
        """Each round with the one before."""
        return itertools.pairwise(self.recent)


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of convergence: whether it is met, in words with the numbers."""

    kind: str
    """The criterion, by its name in ``CRITERIA``."""
    name: str
    """What it is asked of: a condition of MD, a property, a potential."""
    met: bool
    """Whether it is met."""
    text: str
    """The same in words with the numbers."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the campaign has converged, and why."""

    converged: bool
    """Whether every check is met."""
    checks: tuple[Check, ...]
    """In the order in which a person reads them."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not yet; when converged, why."""
        return tuple(check.text for check in self.checks if check.met == self.converged)

    def to_json(self) -> Json:
        return {"converged": self.converged, "checks": [asdict(check) for check in self.checks]}


Found = tuple[str, bool, str]
"""Name, met, text."""
Criterion = Callable[[Progress, Limits], list[Found]]


def judge(
    history: Sequence[Round], conditions: Sequence[ConditionProgress], limits: Limits
) -> Verdict:
    """Judge rounds (oldest first) and the MD conditions of the newest potential against
    ``limits``.
    """
    progress = Progress(list(history)[-limits.rounds :], conditions)
    checks = tuple(
        Check(kind, *found)
        for kind, criterion in CRITERIA.items()
        for found in criterion(progress, limits)
    )
    return Verdict(all(check.met for check in checks), checks)


def relative_change(old: float, new: float) -> float:
    """|new - old| / |old|; infinite when something moved away from zero."""
    if old == new:
        return 0.0
    return abs(new - old) / abs(old) if old else float("inf")


def _rounds(progress: Progress, limits: Limits) -> list[Found]:
    seen = len(progress.recent)
    text = f"{seen} of {limits.rounds} rounds to look back on"
    return [("rounds", seen >= max(limits.rounds, 1), text)]


def _exploration(progress: Progress, limits: Limits) -> list[Found]:
    found = []
    for item in progress.conditions:
        by = f" with {item.potential}" if item.potential else ""
        state = "met nothing new for the time asked for" if item.clean else "has not yet run clean"
        found.append((item.name, item.clean, f"MD at {item.name} {state}{by}"))
    return found


def _error_size(progress: Progress, limits: Limits) -> list[Found]:
    return [
        _below(name, value, limit, unit)
        for newest in progress.newest
        for name, value, limit, unit in (
            ("force", newest.force_rmse_mev_per_a, limits.force_rmse_mev_per_a, "meV/Å"),
            (
                "energy",
                newest.energy_rmse_mev_per_atom,
                limits.energy_rmse_mev_per_atom,
                "meV/atom",
            ),
        )
    ]


def _below(name: str, value: float | None, limit: float, unit: str) -> Found:
    label = f"held-out {name} RMSE"
    if value is None:
        return name, False, f"{label} is not known (no held-out structures)"
    met = value <= limit
    return (
        name,
        met,
        f"{label} {value:.2f} {unit}, {'within' if met else 'above'} {limit:g} {unit}",
    )


def _error_change(progress: Progress, limits: Limits) -> list[Found]:
    found: list[Found] = []
    for _, current in progress.steps:
        name = current.potential
        old, new = current.previous_force_rmse_mev_per_a, current.force_rmse_mev_per_a
        if old is None or new is None:
            text = f"held-out force RMSE of {name} has nothing to be compared with"
            found.append((name, False, text))
            continue
        change = relative_change(old, new)
        text = f"held-out force RMSE moved by {change:.1%} to {new:.2f} meV/Å with {name}"
        found.append(_moved(name, change, limits.force_rmse_change, text))
    return found


def _property_change(progress: Progress, limits: Limits) -> list[Found]:
    """Of numbers, not of errors: those have a bound and may move below it."""
    return [
        _property_moved(previous, current, item, limits)
        for previous, current in progress.steps
        for item in current.by_key
        if item.kind == "relative"
    ]


def _property_moved(previous: Round, current: Round, item: PropertyValue, limits: Limits) -> Found:
    before = {value.key: value.potential for value in previous.properties}
    old, new = before.get(item.key), item.potential
    if old is None or new is None:
        missing = previous.potential if old is None else current.potential
        return item.key, False, f"{item.key} is not known for {missing}"
    change = relative_change(old, new)
    text = f"{item.key} moved by {change:.2%} from {previous.potential} to {current.potential}"
    return _moved(item.key, change, limits.property_change, text)


def _moved(name: str, change: float, limit: float, text: str) -> Found:
    met = change < limit
    return name, met, f"{text}, {'less than' if met else 'not less than'} {limit:.0%}"


def _property_error(progress: Progress, limits: Limits) -> list[Found]:
    return [
        (item.key, item.met is True, _against_dft(item, newest.potential))
        for newest in progress.newest
        for item in newest.by_key
    ]


def _against_dft(item: PropertyValue, potential: str) -> str:
    if item.potential is None:
        return f"{item.key} is not known for {potential}"
    error = item.error
    if error is None:
        # Stopping here would call a potential validated that nobody compared with anything.
        return f"{item.key} has no DFT value to be compared with"
    if item.kind == "alone":
        word = "within" if item.met else "above"
        return (
            f"{item.key} {error:.4g} {item.unit} against DFT, {word} {item.tolerance:g} {item.unit}"
        )
    word = "within" if item.met else "outside"
    off, limit = (
        (f"{error:.2%}", f"{item.tolerance:.1%}")
        if item.kind == "relative"
        else (f"{error:.4g} {item.unit}", f"{item.tolerance:.4g} {item.unit}")
    )
    return f"{item.key} {item.potential:.4f} against DFT {item.dft:.4f}: {off} off, {word} {limit}"


CRITERIA: Mapping[str, Criterion] = {
    "rounds": _rounds,
    "exploration": _exploration,
    "error_size": _error_size,
    "error_change": _error_change,
    "property_change": _property_change,
    "property_error": _property_error,
}
"""Kind of check -> what makes it, in the order in which a person reads them."""
