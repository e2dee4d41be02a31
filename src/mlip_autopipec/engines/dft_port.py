"""The port of a DFT code: what a folder below :mod:`mlip_autopipec.engines.dft` offers.

A code owns its method: the schema of the settings that fix the physics, how they follow from the
structures with a reason for each, what a label costs, which of its files may go, and how a folder
of it is diagnosed. Nobody outside its folder knows its keys: the plan holds ``dft.engine`` and
``dft.method``, and the latter is whatever :attr:`DftEngine.Method` says.

A new code is its folder, a line in :mod:`mlip_autopipec.engines.registry` (or an entry point of the
group ``mlip_autopipec.dft``; ``module:Class`` works without either) and a subclass of
:class:`mlip_autopipec.testing.DftEngineContract`. See ``docs/developing/add-a-dft-code.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.checks import Check
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.problems import validate
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.section import Section
from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.label_set import LabelSet

__all__ = [
    "CellSize",
    "Continues",
    "Converges",
    "DftEngine",
    "DftMethod",
    "DftWishes",
    "Diagnoses",
    "Diagnosis",
    "Knob",
    "MethodChoice",
    "RunVerdict",
    "Watches",
]


_SYMPREC_A = 1e-3


class DftMethod(Section):
    """The settings that fix the physics of a label; each code adds its own fields.

    Their JSON, with ``engine`` beside it, is :attr:`LabelJob.method`, whose hash names the method
    of every stored label: a field that is added later must be left out of the JSON where it says
    nothing.
    """

    #: Fields that a folder of labels was begun with, and that no later call may have otherwise.
    identity: ClassVar[tuple[str, ...]] = ()
    #: Fields of which a user is told when they would be chosen otherwise for newer structures.
    worth_a_note: ClassVar[tuple[str, ...]] = ()
    #: What a stored job means by a field that it leaves out, beside the defaults of the fields.
    unsaid: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @classmethod
    def of_job(cls, job: LabelJob) -> Self:
        """The method of a job of this code. Raises InputError (with the key) where it is none."""
        given = {key: value for key, value in job.method.items() if key != "engine"}
        return validate(cls, {**cls.unsaid, **given}, None)

    def in_words(self) -> str:
        """The method in a few words, for the log."""
        return ", ".join(f"{key} {value}" for key, value in self.model_dump(mode="json").items())

    def wishes_again(self, given: Mapping[str, Any]) -> Json:
        """``given`` wishes of a later call, completed with those that lead to this method again
        (a family of pseudopotentials, say).
        """
        return dict(given)

    def kmesh(
        self, cell: FloatArray, periodic: tuple[bool, bool, bool]
    ) -> tuple[int, int, int] | None:
        """Divisions of the k-point mesh of a cell ((3, 3) Å), to be kept along an equation of
        state; None for a code without k-points.
        """
        return None


class DftWishes(Section):
    """What a user may ask of the method; each code adds its own fields, all optional.

    They are the keys of ``dft:`` in ``input.yaml`` beside the general ones, and of ``mlip-auto dft
    --set KEY=VALUE``. ``family``, ``calculator`` and ``arguments``, where a code has them, also
    have options of their own there.
    """


@dataclass(frozen=True, slots=True)
class MethodChoice:
    """A method and why: field of the method -> one line."""

    method: DftMethod
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CellSize:
    """How large a calculation is: atoms by element (fractions of atoms where a composition alone
    is known), the cell's vectors ((3, 3) Å, rows), and its periodic directions. ``rotations`` (n,
    3, 3) of a crystal's symmetry, in its axes; None where nothing is known of it.
    """

    counts: Mapping[str, float]
    vectors_a: FloatArray
    periodic: tuple[bool, bool, bool] = (True, True, True)
    rotations: NDArray[np.integer[Any]] | None = None

    @classmethod
    def of(cls, atoms: Atoms) -> CellSize:
        counts: dict[str, float] = {}
        for symbol in atoms.get_chemical_symbols():
            counts[symbol] = counts.get(symbol, 0.0) + 1.0
        periodic = (bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2]))
        found = symmetry.operations(atoms, _SYMPREC_A) if all(periodic) else None
        rotations = None if found is None else np.unique(found[0], axis=0)
        return cls(counts, np.array(atoms.cell.array), periodic, rotations)

    @property
    def atoms(self) -> float:
        return sum(self.counts.values())

    @property
    def volume_a3(self) -> float:
        return float(abs(np.linalg.det(self.vectors_a)))


@runtime_checkable
class DftEngine(Protocol):
    """Labels structures.

    But for ``parse`` and ``scratch``, which read a folder, and ``require`` and ``checks``, which
    look at the machine, every method is free of side effects.
    """

    title: str
    """The code's name for people."""
    Method: type[DftMethod]
    Wishes: type[DftWishes]

    def method(self, needed: LabelSet, wishes: DftWishes) -> MethodChoice:
        """One method for all that is ``needed``, with a reason for every field. ``wishes`` is an
        instance of :attr:`Wishes`.

        Raises InputError for an element or a wish that the code cannot serve; ``key`` is then the
        name of the wish.
        """
        ...

    def cpu_s(self, method: DftMethod, size: CellSize) -> float:
        """Expected CPU seconds of one label: within a factor of two or three where the code's
        scaling is known, a guess of the right order elsewhere.
        """
        ...

    def require(self, method: DftMethod, elements: Sequence[str], cores: int) -> None:
        """Raises MissingProgramError where the program or a file that the method needs is not
        installed, InputError where the method cannot be used here.
        """
        ...

    def checks(self) -> Iterable[Check]:
        """Programs and data files of this code, for ``mlip-auto doctor``; quick, nothing is run."""
        ...

    def example(self) -> LabelJob:
        """A calculation of seconds for ``mlip-auto doctor`` and the contract suite: a few atoms,
        the last of them displaced by about 0.1 Å along x, so that a force pulls it back.

        Raises MissingProgramError.
        """
        ...

    def version(self, folder: Path) -> str:
        """The program's version as it stands in a folder where it ran; empty where it says none."""
        ...

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        """Input files and command of one calculation.

        Raises MissingProgramError when the program is absent.
        """
        ...

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        """What the folder says, after :func:`mlip_autopipec.engines.dft.checks.label_problem`.

        ``exit_code`` is None when nobody saw the program end (salvage after a kill).
        """
        ...

    def repair(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        """The next job after these failures (oldest first); None means quarantine.

        Never changes ``method``.
        """
        ...

    def scratch(self, folder: Path) -> Sequence[Path]:
        """Files of an attempt that may be deleted once its result was read: wave functions,
        densities, copies of pseudopotentials. What a later reader needs is not among them.
        """
        ...


@runtime_checkable
class Continues(Protocol):
    """A code that can go on where an attempt stopped at its time limit."""

    def resume(self, prepared: Prepared, earlier: Path, folder: Path) -> Prepared:
        """``prepared`` (for ``folder``) as a continuation of the attempt in ``earlier``, whose
        state moves over.

        Unchanged where there is nothing to go on from.
        """
        ...


@runtime_checkable
class Watches(Protocol):
    """A code of which a hopeless calculation can be told while it runs."""

    def watch(self, folder: Path) -> None:
        """Called every few seconds during a run in ``folder``; may ask the program to stop."""
        ...


@dataclass(frozen=True, slots=True)
class Knob:
    """A setting that a convergence series chooses.

    ``setting``: a field of the method; ``values``: to be tried, cheapest first, the reference last;
    ``title``: for pictures, with the unit; ``unit``: for one line. ``in_step``: other fields, as
    multiples of this one (a density cutoff).
    """

    setting: str
    values: tuple[float, ...]
    title: str
    unit: str
    in_step: Mapping[str, float] = field(default_factory=dict)

    def changes(self, value: float) -> Json:
        """Fields of the method at ``value``."""
        return {
            self.setting: value,
            **{key: factor * value for key, factor in self.in_step.items()},
        }

    def tighter(self, one: float, other: float) -> bool:
        """Whether ``one`` costs more than ``other``."""
        rising = self.values[-1] > self.values[0]
        return one > other if rising else one < other


@runtime_checkable
class Converges(Protocol):
    """A code with settings that a series of calculations can choose (``dft.convergence``)."""

    chosen: tuple[str, ...]
    """Fields of the method that the series fixes: those of the knobs and what goes in step."""

    def knobs(
        self, method: DftMethod, elements: Iterable[str], periodic: tuple[bool, bool, bool]
    ) -> Sequence[Knob]:
        """The series of a cell of these elements, in their order: each begins from ``method`` and
        what the earlier ones chose.
        """
        ...

    def least(self, method: DftMethod, rest: LabelSet) -> Mapping[str, tuple[float, str]]:
        """Setting -> value and why: what the rules ask for structures that the cell of the series
        does not stand for.

        ``rest``: elements that it lacks, and kinds of structures that are not its own.
        """
        ...

    def hardness(self, method: DftMethod, symbol: str) -> float:
        """How much an element asks of the settings; the cell of the series has the hardest one."""
        ...


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """Verdict on one of the runs in a folder: the file and the line where it begins, and when it
    began, by its own words.
    """

    file: str
    line: int
    started: str | None
    cls: str
    message: str

    def to_json(self) -> Json:
        """With ``class`` for ``cls``."""
        return {("class" if key == "cls" else key): value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Verdict on one folder, or on one file. ``cls``: the class of its failure, or ``ok``;
    ``evidence``: the lines that prove it; ``runs``: the verdict on each run, the oldest first.
    """

    folder: str
    cls: str
    message: str
    evidence: tuple[Evidence, ...]
    cure: str
    runs: tuple[RunVerdict, ...] = ()

    def to_json(self) -> Json:
        """With ``class`` for ``cls``."""
        return {
            "folder": self.folder,
            "class": self.cls,
            "message": self.message,
            "evidence": [asdict(line) for line in self.evidence],
            "cure": self.cure,
            "runs": [run.to_json() for run in self.runs],
        }


@runtime_checkable
class Diagnoses(Protocol):
    """A code that can say of anybody's folder or output why there is no result."""

    def diagnose(self, path: Path) -> Diagnosis:
        """Raises InputError for a path that is neither a file nor a folder."""
        ...
