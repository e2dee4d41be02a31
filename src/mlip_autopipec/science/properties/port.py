"""The port of properties: what one file says of a property, and the values that pass through it.

A property is a frozen model whose fields are its settings in the plan (``validation``); it says
which structures our own DFT has to calculate, what follows from their labels, and what follows from
any calculator. Nothing outside its file knows a property by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json

__all__ = [
    "Answer",
    "AsksSurrogate",
    "Chart",
    "Comparison",
    "Found",
    "Known",
    "Line",
    "Property",
    "PropertyValue",
    "Question",
    "Shown",
    "Subject",
    "Table",
    "evaluated",
    "values_with_spread",
]

ErrorKind = Literal["relative", "absolute", "alone"]


@dataclass(frozen=True, slots=True)
class PropertyValue:
    """One number of a property: by the potential and by our own DFT."""

    key: str
    """Name for programs."""
    label: str
    """Name for people."""
    unit: str
    """Unit of ``potential`` and ``dft``."""
    tolerance: float
    """Bounds the error; of which sort says ``kind``."""
    potential: float | None = None
    """By the potential; None: not known."""
    dft: float | None = None
    """By our own DFT; None: not known."""
    kind: ErrorKind = "relative"
    """The error is a share of the DFT value (0.05 is 5 %), a difference in ``unit``, or
    ``potential`` itself, which then is an error against DFT in ``unit``.
    """
    measure: str = ""
    """Of ``alone``: which sort of error, such as ``RMSD``."""
    digits: int = 3
    """Digits behind the point that a person is shown."""
    spread: float | None = None
    """Standard deviation of ``potential`` over an ensemble of resampled fits, in its unit; None: no
    ensemble, or fewer than two members have a value.
    """
    ensemble_mean: float | None = None
    """Mean over the same members; None: none has a value."""
    without_value: int = 0
    """Members of the ensemble that have none."""

    @property
    def error(self) -> float | None:
        """How far the potential is from DFT, to be held against ``tolerance``."""
        if self.kind == "alone" or self.potential is None:
            return self.potential
        if self.dft is None:
            return None
        difference = abs(self.potential - self.dft)
        if self.kind == "absolute":
            return difference
        return difference / abs(self.dft) if self.dft else None

    @property
    def met(self) -> bool | None:
        """Whether the error is within the tolerance; None where there is no error."""
        error = self.error
        return None if error is None else error <= self.tolerance

    @property
    def spread_as_error(self) -> float | None:
        """``spread`` in the units of ``error``; None where it is not known."""
        if self.spread is None or self.kind != "relative":
            return self.spread
        return self.spread / abs(self.dft) if self.dft else None

    @property
    def steady(self) -> bool | None:
        """Whether resampled labels would say the same: every member has a value and their spread is
        at most half the tolerance. None where there is no ensemble (or no DFT to measure by).
        """
        if self.without_value:
            return False
        spread = self.spread_as_error
        return None if spread is None else spread <= self.tolerance / 2

    def to_json(self) -> Json:
        """The fields, with ``error``, ``met`` and ``steady``."""
        return {**asdict(self), "error": self.error, "met": self.met, "steady": self.steady}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a property is planned for: the kind of material, the atoms of a molecule (else None),
    and the pressure that was asked for.
    """

    kind: str
    atoms: int | None = None
    pressure_gpa: float = 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """A structure to be labelled.

    ``mesh_of``: the cell whose k-point mesh is used, so that strained cells share one; None: its
    own. ``first``: other structures follow from its answer, so it is calculated early.
    """

    candidate: Candidate
    mesh_of: Atoms | None = None
    first: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A structure that was asked for, and what DFT said; ``label`` is None where DFT gave up.

    ``gamma_max``: the largest extrapolation grade, where a potential answered that has one.
    """

    candidate: Candidate
    label: Label | None
    gamma_max: float | None = None

    @property
    def atoms(self) -> Atoms:
        return self.candidate.atoms

    @property
    def parameters(self) -> Json:
        """Those of the structure's provenance: how the property tells its structures apart."""
        return self.candidate.provenance.parameters


@dataclass(frozen=True, slots=True)
class Known:
    """What is known when a property is asked.

    ``start``: the structure at rest by the surrogate called ``surrogate`` (crystal: the
    conventional standard cell; molecule: in its box). ``prepared``: what :class:`AsksSurrogate`
    found, None where the surrogate could not be asked. ``answers``: of all structures of this
    property so far, in the order they were asked.
    """

    start: Atoms
    surrogate: str = ""
    prepared: Json | None = None
    answers: tuple[Answer, ...] = ()

    @property
    def labelled(self) -> list[tuple[Answer, Label]]:
        """The answers that have a label, with it."""
        return [(answer, answer.label) for answer in self.answers if answer.label is not None]


@dataclass(frozen=True, slots=True)
class Found:
    """What one source (our DFT, or the potential) says of a property.

    ``values``: numbers by a name of the property's own, None where there is none, with the reason
    in ``failure``. ``details``: plain values for tables and figures.
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    details: Json = field(default_factory=dict)
    failure: str | None = None

    def to_json(self) -> Json:
        return {"values": dict(self.values), "details": self.details, "failure": self.failure}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Found:
        return cls(dict(data["values"]), dict(data["details"]), data.get("failure"))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A property by our DFT and by one potential; None: nothing is known yet.

    ``ensemble``: by each resampled fit of that potential, values alone; empty without an ensemble.
    """

    dft: Found | None = None
    potential: Found | None = None
    ensemble: tuple[Found, ...] = ()

    def to_json(self) -> Json:
        data: Json = {
            "dft": None if self.dft is None else self.dft.to_json(),
            "potential": None if self.potential is None else self.potential.to_json(),
        }
        if self.ensemble:
            data["ensemble"] = [found.to_json() for found in self.ensemble]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Comparison:
        dft, potential = data.get("dft"), data.get("potential")
        return cls(
            None if dft is None else Found.from_json(dft),
            None if potential is None else Found.from_json(potential),
            tuple(Found.from_json(found) for found in data.get("ensemble", ())),
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """A sentence for each source that has no value, with the reason."""
        named = (("DFT", self.dft), ("the potential", self.potential))
        return tuple(
            f"No value by {name}: {found.failure}."
            for name, found in named
            if found is not None and found.failure
        )

    def value(self, key: str) -> tuple[float | None, float | None]:
        """The value called ``key`` by the potential and by DFT."""
        of = [None if found is None else found.values.get(key) for found in
              (self.potential, self.dft)]  # fmt: skip
        return of[0], of[1]


@dataclass(frozen=True, slots=True)
class Line:
    """Points (``style`` ``points``), a curve (``line``) or one vertical mark (``mark``, ``x``
    alone) of a source.
    """

    source: Literal["dft", "potential"]
    style: Literal["points", "line", "mark"]
    x: Sequence[float]
    y: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure as values: axes with units, and what is drawn."""

    x_label: str
    y_label: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; ``heads`` name the columns."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a report shows of a property. ``caption`` explains the chart; ``notes`` are sentences
    (missing values with the reason).
    """

    title: str
    chart: Chart | None = None
    caption: str = ""
    table: Table | None = None
    notes: tuple[str, ...] = ()


@runtime_checkable
class Property(Protocol):
    """A property: a :class:`mlip_autopipec.base.section.Section` whose fields are its settings."""

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """The property with the settings ``obj`` of a plan."""
        ...

    def model_dump(self, *, mode: str = ...) -> dict[str, Any]:
        """Its settings."""
        ...

    @property
    def calls(self) -> int:
        """DFT calculations that it may ask for, at most."""
        ...

    @classmethod
    def planned(cls, subject: Subject) -> tuple[Self, Mapping[str, str]]:
        """The property as a material needs it, and field -> reason.

        Raises InputError for a material that it says nothing of.
        """
        ...

    def structures(self, known: Known) -> Sequence[Question]:
        """What to label next; empty when that is all (or when an answer that it needs is missing).

        Asked again whenever all that it asked has been answered.
        """
        ...

    def from_labels(self, known: Known) -> Found | Failure:
        """What our own DFT says. Failure ``validation_data``: the labels do not make the
        property.
        """
        ...

    def from_calculator(self, known: Known, calculator: Calculator) -> Found | Failure:
        """What any ASE calculator says, at the same structures wherever that is possible."""
        ...

    def values(self, found: Comparison) -> tuple[PropertyValue, ...]:
        """The numbers that are compared, each with its tolerance; also (as None) when nothing is
        known. Of ``found.potential`` it looks at ``values`` alone; the spread of an ensemble is
        added by :func:`values_with_spread`.
        """
        ...

    def shown(self, found: Comparison) -> Shown:
        """Rows and figure for a report."""
        ...


@runtime_checkable
class AsksSurrogate(Protocol):
    """A property that needs something of the surrogate before DFT is asked."""

    def prepare(self, start: Atoms, calculator: Calculator) -> Json:
        """``Known.prepared``, from the structure at rest and the surrogate's calculator."""
        ...


def values_with_spread(item: Property, found: Comparison) -> tuple[PropertyValue, ...]:
    """``item.values`` of ``found``, each with its mean and spread over the ensemble."""
    members = [
        {value.key: value.potential for value in item.values(Comparison(found.dft, member))}
        for member in found.ensemble
    ]
    return tuple(
        _with_spread(value, [member.get(value.key) for member in members])
        for value in item.values(found)
    )


def _with_spread(value: PropertyValue, members: Sequence[float | None]) -> PropertyValue:
    known = [number for number in members if number is not None]
    if not members:
        return value
    return replace(
        value,
        spread=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        ensemble_mean=float(np.mean(known)) if known else None,
        without_value=len(members) - len(known),
    )


def evaluated(known: Known, calculator: Calculator) -> Known:
    """The same structures with what ``calculator`` says of them in place of their labels (energy,
    forces, and stress where it has one).
    """
    answers = [_by(calculator, answer, label.method_hash) for answer, label in known.labelled]
    return replace(known, answers=tuple(answers))


def _by(calculator: Calculator, answer: Answer, method_hash: str) -> Answer:
    probe = answer.atoms.copy()
    probe.calc = calculator
    energy = float(probe.get_potential_energy())
    forces = np.asarray(probe.get_forces(), dtype=float)
    stressed = bool(probe.pbc.all()) and "stress" in calculator.implemented_properties
    stress = np.asarray(probe.get_stress(), dtype=float) if stressed else None
    gamma: Any = calculator.results.get("gamma")
    label = Label(energy, forces, stress, method_hash, scf_steps=0, wall_s=0.0)
    return replace(answer, label=label, gamma_max=None if gamma is None else float(np.max(gamma)))
