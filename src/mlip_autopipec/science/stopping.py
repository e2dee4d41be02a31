"""When to stop: the four conditions of convergence, each with the reason why it holds or does not.

A campaign has converged when, over the last rounds, MD met nothing new at every condition asked
for, the held-out errors stand still and are small enough, and every property asked for stands still
and agrees with DFT. What is not known counts as not met: a campaign never converges on missing
numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from mlip_autopipec.base.values import Json

__all__ = [
    "Check",
    "ConditionProgress",
    "Limits",
    "Property",
    "Round",
    "Verdict",
    "judge",
    "relative_change",
]

CheckKind = Literal[
    "rounds", "exploration", "error_change", "error_size", "property_change", "property_error"
]


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked for. Changes and tolerances are relative (0.05 is 5 %); ``tolerances`` by
    property name.

    ``ceilings``: the largest value allowed of an error that is a number by itself, with its unit,
    by its name.
    ``rounds``: how many potentials in a row are looked at; 2 means the newest against the one
    before.
    """

    force_rmse_change: float
    energy_rmse_mev_per_atom: float
    force_rmse_mev_per_a: float
    tolerances: Mapping[str, float] = field(default_factory=dict)
    ceilings: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    property_change: float = 0.01
    rounds: int = 2


@dataclass(frozen=True, slots=True)
class Property:
    """A property by the potential and, where it was computed, by our own DFT (same unit)."""

    potential: float | None
    dft: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One potential: held-out RMSE (meV/Å, meV/atom), its predecessor's force RMSE *on the same
    test set*, properties.

    ``errors``: by name, in the unit of the ceiling of that name.
    Only the same test set makes the two comparable: the set grows, and harder structures raise the
    error of both.
    """

    potential: str
    force_rmse_mev_per_a: float | None
    energy_rmse_mev_per_atom: float | None
    previous_force_rmse_mev_per_a: float | None = None
    properties: Mapping[str, Property] = field(default_factory=dict)
    errors: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConditionProgress:
    """MD at one condition: clean when it ran for the time asked for with gamma below
    gamma_select.
    """

    name: str
    clean: bool
    potential: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of convergence: whether it is met, in words with the numbers."""

    kind: CheckKind
    name: str
    met: bool
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """``converged`` when every check is met; ``checks`` in the order in which a person reads
    them.
    """

    converged: bool
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not yet; when converged, why."""
        return tuple(check.text for check in self.checks if check.met == self.converged)

    def to_json(self) -> Json:
        return {"converged": self.converged, "checks": [asdict(check) for check in self.checks]}


def judge(
    history: Sequence[Round], conditions: Sequence[ConditionProgress], limits: Limits
) -> Verdict:
    """Judge rounds (oldest first) and the MD conditions of the newest potential against
    ``limits``.
    """
    recent = list(history)[-limits.rounds :]
    checks = [_enough(recent, limits), *(_exploration(item) for item in conditions)]
    if recent:
        newest = recent[-1]
        checks += _error_size(newest, limits)
        for previous, current in itertools.pairwise(recent):
            checks.append(_error_change(current, limits))
            checks += _property_changes(previous, current, limits)
        checks += _property_errors(newest, limits)
        checks += [_ceiling(name, newest, *limits.ceilings[name]) for name in limits.ceilings]
    return Verdict(all(check.met for check in checks), tuple(checks))


def relative_change(old: float, new: float) -> float:
    """|new - old| / |old|; infinite when something moved away from zero."""
    if old == new:
        return 0.0
    return abs(new - old) / abs(old) if old else float("inf")


def _enough(recent: Sequence[Round], limits: Limits) -> Check:
    met = len(recent) >= max(limits.rounds, 1)
    return Check(
        "rounds", "rounds", met, f"{len(recent)} of {limits.rounds} rounds to look back on"
    )


def _exploration(progress: ConditionProgress) -> Check:
    by = f" with {progress.potential}" if progress.potential else ""
    state = "met nothing new for the time asked for" if progress.clean else "has not yet run clean"
    return Check("exploration", progress.name, progress.clean, f"MD at {progress.name} {state}{by}")


def _error_size(newest: Round, limits: Limits) -> list[Check]:
    return [
        _below("force", newest.force_rmse_mev_per_a, limits.force_rmse_mev_per_a, "meV/Å"),
        _below(
            "energy", newest.energy_rmse_mev_per_atom, limits.energy_rmse_mev_per_atom, "meV/atom"
        ),
    ]


def _below(name: str, value: float | None, limit: float, unit: str) -> Check:
    label = f"held-out {name} RMSE"
    if value is None:
        return Check("error_size", name, False, f"{label} is not known (no held-out structures)")
    met = value <= limit
    return Check(
        "error_size",
        name,
        met,
        f"{label} {value:.2f} {unit}, {'within' if met else 'above'} {limit:g} {unit}",
    )


def _error_change(current: Round, limits: Limits) -> Check:
    old, new = current.previous_force_rmse_mev_per_a, current.force_rmse_mev_per_a
    if old is None or new is None:
        text = f"held-out force RMSE of {current.potential} has nothing to be compared with"
        return Check("error_change", current.potential, False, text)
    change = relative_change(old, new)
    text = f"held-out force RMSE moved by {change:.1%} to {new:.2f} meV/Å with {current.potential}"
    return _moved("error_change", current.potential, change, limits.force_rmse_change, text)


def _property_changes(previous: Round, current: Round, limits: Limits) -> list[Check]:
    return [
        _property_change(name, previous, current, limits)
        for name in _asked(limits, previous, current)
    ]


def _property_change(name: str, previous: Round, current: Round, limits: Limits) -> Check:
    old, new = (item.properties.get(name, Property(None)).potential for item in (previous, current))
    if old is None or new is None:
        missing = previous.potential if old is None else current.potential
        return Check("property_change", name, False, f"{name} is not known for {missing}")
    change = relative_change(old, new)
    text = f"{name} moved by {change:.2%} from {previous.potential} to {current.potential}"
    return _moved("property_change", name, change, limits.property_change, text)


def _moved(kind: CheckKind, name: str, change: float, limit: float, text: str) -> Check:
    met = change < limit
    return Check(kind, name, met, f"{text}, {'less than' if met else 'not less than'} {limit:.0%}")


def _property_errors(newest: Round, limits: Limits) -> list[Check]:
    checks = []
    for name in _asked(limits, newest):
        value = newest.properties.get(name, Property(None))
        tolerance = limits.tolerances.get(name)
        if tolerance is None:
            continue
        if value.potential is None:
            checks.append(
                Check("property_error", name, False, f"{name} is not known for {newest.potential}")
            )
        elif value.dft is not None:
            error = relative_change(value.dft, value.potential)
            met = error <= tolerance
            text = (
                f"{name} {value.potential:.4f} against DFT {value.dft:.4f}: {error:.2%} off, "
                f"{'within' if met else 'outside'} {tolerance:.1%}"
            )
            checks.append(Check("property_error", name, met, text))
        else:
            # Stopping here would call a potential validated that nobody compared with anything.
            checks.append(
                Check("property_error", name, False, f"{name} has no DFT value to be compared with")
            )
    return checks


def _ceiling(name: str, newest: Round, ceiling: float, unit: str) -> Check:
    value = newest.errors.get(name)
    if value is None:
        return Check("property_error", name, False, f"{name} is not known for {newest.potential}")
    met = value <= ceiling
    text = (
        f"{name} {value:.4g} {unit} against DFT, {'within' if met else 'above'} {ceiling:g} {unit}"
    )
    return Check("property_error", name, met, text)


def _asked(limits: Limits, *rounds: Round) -> list[str]:
    return sorted({*limits.tolerances, *(name for item in rounds for name in item.properties)})
