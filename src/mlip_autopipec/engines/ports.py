"""The ports: what an engine folder offers, as Protocols. That of DFT codes is
:mod:`mlip_autopipec.engines.dft_port`.

An engine knows no executor, no clock and no database. It turns values into files and files into
values; long-running engines (MD) work inside a folder and stream what they find into files there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.section import Section
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.science.judgement import GAMMA_SELECT

__all__ = [
    "METRICS",
    "POTENTIAL_FOLDER",
    "PREDICTIONS",
    "SAMPLES",
    "SNAPSHOT",
    "MdEngine",
    "MdExample",
    "MdJob",
    "MdResult",
    "PredictsErrors",
    "Resamples",
    "Surrogate",
    "TrainJob",
    "Trained",
    "Trainer",
    "TrainerFacts",
    "TrainerSettings",
    "WritesExamples",
]


@dataclass(frozen=True, slots=True)
class TrainerFacts:
    """What a trainer may look at when it derives its settings.

    ``bond_a``: twice the covalent radius of the largest element (Å). ``use``: ``early`` fits steer
    the first rounds and have to be quick, ``release`` fits end a campaign, ``file`` fits are made
    of a user's own structures, often larger cells than a campaign's.
    """

    elements: tuple[str, ...]
    bond_a: float
    molecular: bool = False
    use: Literal["early", "release", "file"] = "release"


class TrainerSettings(Section):
    """The hyper-parameters of a trainer: a closed model of its own, a subclass of this one."""

    @classmethod
    def derived(cls, facts: TrainerFacts) -> tuple[TrainerSettings, dict[str, str]]:
        """Settings for a material, and key -> reason for those that it changes."""
        return cls(), {}

    def fit_cpu_s(self, elements: int, labels: int, *, warm: bool) -> float:
        """A rough guess of the processor time of one fit, for the estimate of a plan."""
        return 20.0 * elements


@dataclass(frozen=True, slots=True)
class TrainJob:
    """A fit. ``train`` and ``test`` are disjoint by group, and ``test`` is empty for a trainer that
    predicts its errors; force weights follow ``core`` (None: every atom).

    ``settings``: of the trainer's own ``schema``. ``masked_energy_weight``: weight of the energy of
    a masked cell relative to a whole one (0: ignored). ``warm_start``: folder of an earlier
    potential to start from, for a trainer that can, or None. ``prior``: labels of a surrogate on an
    energy scale of its own, for a trainer that can lean on them at low weight where ``train`` says
    nothing; others leave them out.
    """

    elements: tuple[str, ...]
    train: tuple[LabelledStructure, ...]
    test: tuple[LabelledStructure, ...]
    settings: TrainerSettings
    seed: int
    masked_energy_weight: float = 0.0
    warm_start: Path | None = None
    threads: int = 1
    prior: tuple[LabelledStructure, ...] = ()


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted potential: the trainer's ``files()`` in ``folder`` (``potential`` in the folder of
    the fit), and its metrics.

    ``metrics`` keys: ``train`` and ``test``, each ``{n_structures, energy_rmse_mev_per_atom,
    force_rmse_mev_per_a}`` over unmasked atoms (energies of whole cells only; None where nothing is
    left to average), and ``gamma_train_max`` where the potential grades its extrapolation.
    """

    folder: Path
    metrics: Json


POTENTIAL_FOLDER = "potential"
METRICS, PREDICTIONS = "metrics.json", "predictions.json"


@runtime_checkable
class Trainer(Protocol):
    """Fits potentials.

    ``family``: the form of the potential (``ace``), by which MD engines find what evaluates it.
    ``schema``: the class of its settings. One that names a ``licence`` (of the programs that it
    uses) has it in summary and report.
    """

    family: str
    schema: type[TrainerSettings]

    def prepare(self, job: TrainJob, folder: Path) -> Prepared:
        """The files and the command of a fit; may write large files into ``folder`` itself.

        Raises MissingProgramError when a program or package is absent.
        """
        ...

    def parse(self, job: TrainJob, folder: Path, exit_code: int) -> Trained | Failure:
        """The potential in ``folder/potential``, or why there is none."""
        ...

    def files(self) -> Mapping[str, str]:
        """Name -> what it is, in a few words, for every file that makes the potential.

        Beside them each potential folder has ``metrics.json`` and ``predictions.json`` (``train``
        and ``test``: rows as in :mod:`mlip_autopipec.science.predictions`; where ``job.test`` was
        empty, ``test`` has each label as predicted by a fit without its group).
        """
        ...

    def calculator(self, potential: Path) -> Calculator:
        """ASE calculator of a finished potential folder: total energy, forces, stress, and
        ``results["gamma"]`` (n_atoms,) where the potential grades its extrapolation.
        """
        ...


@runtime_checkable
class PredictsErrors(Protocol):
    """A trainer whose potentials know how wrong they are (optional)."""

    def force_errors(self, potential: Path, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Calibrated standard error of a force component on each atom, (n_atoms,) in eV/Å for each
        structure, by a finished potential folder.
        """
        ...


@runtime_checkable
class Resamples(Protocol):
    """A trainer that fits resampled labels beside all of them (optional)."""

    def ensemble(self, potential: Path) -> list[Calculator]:
        """Calculators of the resampled fits of a finished potential folder; their scatter is the
        uncertainty of a property.
        """
        ...


@runtime_checkable
class Surrogate(Protocol):
    """A pretrained universal potential.

    May take ``model`` (which weights, a name or a path) when it is made.
    """

    def calculator(self) -> Calculator:
        """ASE calculator: energy, forces, stress.

        Raises InputError when asked for an element that it lacks.
        """
        ...

    def supports(self, symbols: Sequence[str]) -> bool: ...

    def require(self) -> object:
        """Raises MissingProgramError when a package or its weights are absent; loads no model."""
        ...


@dataclass(frozen=True, slots=True)
class MdJob:
    """Exploration at one condition.

    ``pointer``: file ``{"name":, "folder": absolute path, "trainer":}`` naming the potential in
    force and who made it (where that is left out, the folder says so); polled between short runs.
    ``start``: the MD cell.

    The run: ``equilibration_ps``, then ``run_ps`` under one and the same potential, of which a
    frame is kept every ``sample_every_ps``. A potential that comes into force meanwhile starts the
    count anew from where the atoms stand. With gamma above ``gamma_break`` (looked at every
    ``gamma_every`` steps) it rewinds to a trusted frame and waits up to ``wait_s`` for another
    potential.

    ``serve``: goes on moving, once its run is made, until another potential than the one it began
    with is in force, and then makes its run under that one (for at most ``wait_s``; without
    sampling). ``cell_motion``: how an ``npt`` cell moves: its volume alone, its three axes, or
    these and its angles. ``melt_k``: the start is melted at this temperature first, at fixed
    volume, and the run counts once the atoms diffuse at ``temperature_k`` as those of a liquid do.
    """

    start: Atoms
    elements: tuple[str, ...]
    ensemble: str
    temperature_k: float
    pressure_gpa: float
    timestep_fs: float
    run_ps: float
    equilibration_ps: float
    sample_every_ps: float
    gamma_break: float
    gamma_every: int
    wait_s: float
    seed: int
    pointer: Path
    serve: bool = False
    cell_motion: Literal["iso", "aniso", "tri"] = "iso"
    melt_k: float | None = None


@dataclass(frozen=True, slots=True)
class MdResult:
    """What a run came to. Steps count all motion, also what a rewind threw away.

    ``clean``: the whole run was made under ``potential``, the last one, and nothing broke in it;
    ``clean_ps``: the part of it that was made. ``samples``: frames of that run, the last so many
    lines of :data:`SAMPLES`. ``gamma_max`` is the largest grade under that potential.
    ``temperature_mean_k``: None where nothing was measured.
    """

    potential: str
    clean: bool
    steps: int = 0
    ps: float = 0.0
    clean_ps: float = 0.0
    swaps: int = 0
    breaks: int = 0
    candidates: int = 0
    samples: int = 0
    gamma_max: float = 0.0
    temperature_mean_k: float | None = None

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MdResult:
        """Keys that later versions may add are left out."""
        return cls(**{item.name: data[item.name] for item in fields(cls) if item.name in data})


@runtime_checkable
class MdEngine(Protocol):
    """Runs MD in ``folder``; appends one JSON line per happening to ``folder/stream.jsonl`` as it
    goes.

    Lines: ``{"type": "candidate", "file", "gamma", "step", "potential"}`` (file: a Candidate as
    JSON in ``folder``), ``{"type": "swap", "old", "new", "step"}``, ``{"type": "break", "gamma",
    "step", "potential"}`` (rewound, waits), ``{"type": "resume", "step"}`` and ``{"type":
    "progress", "step", "ps", "clean_ps", "gamma_max", "state"}`` with state ``running`` or
    ``waiting``, at least every few seconds; ``clean_ps`` is the part of the run that was made under
    the potential in force. A candidate is the frame that broke the run.

    Frames of the run go to ``SAMPLES``, a line each: ``{"atoms", "step", "ps", "potential",
    "gamma_max", "group"}`` (atoms: as :func:`~mlip_autopipec.base.structures.atoms_to_json` writes
    them; group: the same for all frames of one trajectory). A run restarted in a folder with a
    snapshot (``SNAPSHOT``) goes on from it, and makes its run from there.
    """

    def require(self, family: str) -> object:
        """Raises InputError when potentials of this family (see Trainer) cannot be run here."""
        ...

    def run(self, job: MdJob, folder: Path) -> MdResult | Failure: ...


SNAPSHOT = "snapshot.json"
"""The file of an MD folder from which a later attempt goes on."""
SAMPLES = "samples.jsonl"
"""The decorrelated frames of an MD folder."""


@dataclass(frozen=True, slots=True)
class MdExample:
    """What a user's first MD is to be.

    ``potential``: its folder, which lies as ``fit`` in ``out``; ``start``: the cell (some 500
    atoms); ``out``: where to write; ``home``: the folder that ``out`` becomes; ``elements``: in the
    order of atom types; ``gamma_select``: the grade above which an atom is unknown.
    """

    potential: Path
    start: Atoms
    out: Path
    home: Path
    temperature_k: float
    elements: tuple[str, ...]
    timestep_fs: float = 1.0
    gamma_select: float = GAMMA_SELECT


@runtime_checkable
class WritesExamples(Protocol):
    """An MD engine that writes input which a user can run as it stands."""

    def write_examples(self, asked: MdExample) -> None:
        """Input of MD for the folder ``asked.out``.

        Whatever gives energies there gives whole ones, those of DFT. Raises InputError for a
        potential that the engine has no example for.
        """
        ...
