"""When to stop: the conditions of convergence, each with the reason why it holds or does not.

A campaign has converged when its potential has explored every condition, its errors on structures
that its own MD brought up are small enough with their whole interval, every property that was asked
for agrees with DFT and is steady under resampling of the labels, and it passes the release gate.
Improvement is no reason to go on, and standing still no reason to stop. What is not known counts as
not met: a campaign never converges on missing numbers.

A criterion is a function of :class:`Progress` and :class:`Limits`, and a line of ``CRITERIA``; the
number that it needs is a field of :class:`Limits`, which is the section ``convergence`` of a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mlip_autopipec.base.section import Count, Positive, Section
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.judgement import JudgedErrors
from mlip_autopipec.science.properties.port import PropertyValue

__all__ = [
    "CRITERIA",
    "EARLIER",
    "RELEASE_GATE",
    "Check",
    "ConditionProgress",
    "Criterion",
    "Limits",
    "Progress",
    "Verdict",
    "judge",
]

RELEASE_GATE = "release_gate"
#: Fields of :class:`Limits` that only plans of before version 4 have.
EARLIER = ("force_rmse_change", "property_change", "rounds")


class Limits(Section):
    """When the loop may stop, each number with its reason."""

    energy_rmse_mev_per_atom: Positive = Field(
        default=5.0,
        description="at each asked condition, upper end of the interval; a fifth of kT at 300 K",
    )
    force_rmse_mev_per_a: Positive = Field(
        default=90.0,
        description="at each asked condition, upper end of the interval; a tenth of thermal forces",
    )
    on_policy_labels: Count = Field(
        default=6,
        description="drawn by chance from MD at each asked condition: fewer leave a factor of two",
    )
    unknown_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.01,
        description="of MD frames that may hold an unknown atom",
    )
    unknown_factor: Positive = Field(
        default=2.0,
        description=(
            "times the force target: an atom is unknown when its predicted error is larger; of a"
            " potential that is just on target a twentieth of the atoms are"
        ),
    )
    margin_factor: Positive = Field(
        default=2.0,
        description=(
            "times that limit at margins around what is asked: there it has to hold, not to be as"
            " accurate"
        ),
    )
    # What plans of before version 4 went by: read, kept for their hash, and without effect.
    force_rmse_change: Positive | None = None
    property_change: Positive | None = None
    rounds: Count | None = None

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What earlier plans alone have is left out of others."""
        data: dict[str, Any] = handler(self)
        return {key: data[key] for key in data if key not in EARLIER or data[key] is not None}


@dataclass(frozen=True, slots=True)
class ConditionProgress:
    """What MD at one condition came to under the potential that is judged.

    ``errors``: on structures drawn there, None where none was; ``asked``: whether the errors count.
    """

    name: str
    explored: bool
    asked: bool = True
    errors: JudgedErrors | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What there is to judge of one potential.

    ``properties``: a value for every number that is asked for, known or not. ``gate``: whether it
    passed the release gate, and why in words; None where it was not tried.
    """

    potential: str | None
    conditions: Sequence[ConditionProgress]
    properties: Sequence[PropertyValue] = ()
    gate: tuple[bool, str] | None = None

    @property
    def by_key(self) -> list[PropertyValue]:
        """The properties in the order in which checks name them."""
        return sorted(self.properties, key=lambda value: value.key)


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

    @property
    def gate_alone_is_missing(self) -> bool:
        """Whether all is met but for the release gate, which was not tried or not passed."""
        return all(check.met == (check.kind != RELEASE_GATE) for check in self.checks)

    def to_json(self) -> Json:
        return {"converged": self.converged, "checks": [asdict(check) for check in self.checks]}


Found = tuple[str, bool, str]
"""Name, met, text."""
Criterion = Callable[[Progress, Limits], list[Found]]


def judge(progress: Progress, limits: Limits) -> Verdict:
    """Judge a potential against ``limits``; without one nothing is met."""
    if progress.potential is None:
        nothing = Check("exploration", "potential", False, "there is no potential yet")
        return Verdict(False, (nothing,))
    checks = tuple(
        Check(kind, *found)
        for kind, criterion in CRITERIA.items()
        for found in criterion(progress, limits)
    )
    return Verdict(all(check.met for check in checks), checks)


def _exploration(progress: Progress, limits: Limits) -> list[Found]:
    found = []
    for item in progress.conditions:
        state = "met nothing unknown" if item.explored else "is not explored"
        found.append((item.name, item.explored, f"MD at {item.name} {state}"))
    return found


def _error_size(progress: Progress, limits: Limits) -> list[Found]:
    found = []
    for item in progress.conditions:
        if not item.asked:
            continue
        errors = item.errors
        n = errors.n if errors else 0
        if errors is None or n < limits.on_policy_labels:
            text = f"{n} of {limits.on_policy_labels} structures drawn from MD at {item.name}"
            found.append((f"{item.name} labels", False, text))
            continue
        found += [
            _below(item.name, *numbers)
            for numbers in (
                (
                    "force",
                    errors.force_rmse_mev_per_a,
                    errors.force_rmse_mev_per_a_high,
                    limits.force_rmse_mev_per_a,
                    "meV/Å",
                ),
                (
                    "energy",
                    errors.energy_rmse_mev_per_atom,
                    errors.energy_rmse_mev_per_atom_high,
                    limits.energy_rmse_mev_per_atom,
                    "meV/atom",
                ),
            )
        ]
    return found


def _below(
    condition: str, name: str, value: float | None, high: float | None, limit: float, unit: str
) -> Found:
    label = f"{name} RMSE at {condition}"
    if value is None or high is None:
        return f"{condition} {name}", False, f"{label} is not known"
    met = high <= limit
    word = "within" if met else "not within"
    text = f"{label} {value:.2f} (up to {high:.2f}) {unit}, {word} {limit:g} {unit}"
    return f"{condition} {name}", met, text


def _property_error(progress: Progress, limits: Limits) -> list[Found]:
    return [
        (item.key, item.met is True, _against_dft(item, progress.potential or ""))
        for item in progress.by_key
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


def _property_spread(progress: Progress, limits: Limits) -> list[Found]:
    """Of properties whose trainer fits resampled labels; a spread below half the tolerance."""
    found = []
    for item in progress.by_key:
        if item.steady is not None and item.spread is not None:
            word = "steady" if item.steady else "not steady"
            text = f"{item.key} {word}: {item.spread:.4g} {item.unit} between resampled fits"
            found.append((item.key, item.steady, text))
    return found


def _release_gate(progress: Progress, limits: Limits) -> list[Found]:
    if progress.gate is None:
        return [("release", False, "the release gate was not tried")]
    passed, words = progress.gate
    return [("release", passed, words)]


CRITERIA: Mapping[str, Criterion] = {
    "exploration": _exploration,
    "error_size": _error_size,
    "property_error": _property_error,
    "property_spread": _property_spread,
    RELEASE_GATE: _release_gate,
}
"""Kind of check -> what makes it, in the order in which a person reads them."""
