"""The ports: what an engine folder offers. One to three methods each, as Protocols.

An engine knows no executor, no clock and no database. It turns values into files and files into
values; long-running engines (MD) work inside a folder and stream what they find into files there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.labels import Label, LabelJob, LabelledStructure
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json

__all__ = [
    "Continues",
    "DftEngine",
    "MdEngine",
    "MdJob",
    "Surrogate",
    "TrainJob",
    "Trained",
    "Trainer",
    "Watches",
]


@runtime_checkable
class DftEngine(Protocol):
    """Labels structures.

    All three methods are free of side effects but for ``parse`` reading its folder.
    """

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        """Input files and command of one calculation.

        Raises MissingProgramError when the program is absent.
        """
        ...

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        """What the folder says.

        ``exit_code`` is None when nobody saw the program end (salvage after a kill).
        """
        ...

    def repair(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        """The next job after these failures (oldest first); None means quarantine.

        Never changes ``method``.
        """
        ...


@runtime_checkable
class Continues(Protocol):
    """A labelling engine that can go on where an attempt stopped at its time limit."""

    def resume(self, prepared: Prepared, earlier: Path, folder: Path) -> Prepared:
        """``prepared`` (for ``folder``) as a continuation of the attempt in ``earlier``, whose
        state moves over.

        Unchanged where there is nothing to go on from.
        """
        ...


@runtime_checkable
class Watches(Protocol):
    """A labelling engine that can tell a hopeless calculation while it runs."""

    def watch(self, folder: Path) -> None:
        """Called every few seconds during a run in ``folder``; may ask the program to stop."""
        ...


@dataclass(frozen=True, slots=True)
class TrainJob:
    """A fit. ``train`` and ``test`` are disjoint by group; force weights follow ``core`` (None:
    every atom).

    ``masked_energy_weight``: weight of the energy of a masked cell relative to a whole one (0:
    ignored).
    ``warm_start``: folder of an earlier potential to start from, or None; a trainer that can, and
    whose basis is the same as that potential's, then takes ``warm_iterations`` steps (None: as
    many) in place of ``max_iterations``.
    """

    elements: tuple[str, ...]
    train: tuple[LabelledStructure, ...]
    test: tuple[LabelledStructure, ...]
    cutoff_a: float
    functions_per_element: int
    max_iterations: int
    kappa: float
    seed: int
    masked_energy_weight: float = 0.0
    warm_start: Path | None = None
    warm_iterations: int | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted potential: files by the fixed names of PotentialRef in ``folder``, and its metrics.

    ``metrics`` keys: ``train`` and ``test``, each ``{n_structures, energy_rmse_mev_per_atom,
    force_rmse_mev_per_a}`` over unmasked atoms (energies of whole cells only; None where nothing is
    left to average), and ``gamma_train_max``.
    """

    folder: Path
    metrics: Json


@runtime_checkable
class Trainer(Protocol):
    """Fits a potential. ``prepare`` writes its data files into ``folder`` and returns the
    command.
    """

    def prepare(self, job: TrainJob, folder: Path) -> Prepared: ...

    def parse(self, job: TrainJob, folder: Path, exit_code: int) -> Trained | Failure: ...

    def calculator(self, potential: Path) -> Calculator:
        """ASE calculator of a finished potential folder: energy, energies, forces, stress,
        ``results['gamma']``.
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

    ``pointer``: file ``{"name":, "folder": absolute path}`` naming the potential in force; polled
    between short runs.
    ``start``: the MD cell. Runs until ``clean_ps`` in a row were made with gamma below
    ``gamma_select``. Above ``gamma_break`` it rewinds to the last trusted frame and waits up to
    ``wait_s`` for another potential; after ``max_ps`` or ``max_candidates_per_potential``
    candidates with one potential it waits where it stands.
    """

    start: Atoms
    elements: tuple[str, ...]
    ensemble: str
    temperature_k: float
    pressure_gpa: float
    timestep_fs: float
    clean_ps: float
    max_ps: float
    gamma_select: float
    gamma_break: float
    gamma_every: int
    max_candidates_per_potential: int
    wait_s: float
    seed: int
    pointer: Path


@runtime_checkable
class MdEngine(Protocol):
    """Runs MD in ``folder``; appends one JSON line per happening to ``folder/stream.jsonl`` as it
    goes.

    Lines: ``{"type": "candidate", "file", "gamma", "step", "potential"}`` (file: a Candidate as
    JSON in ``folder``), ``{"type": "swap", "old", "new", "step"}``, ``{"type": "break", "gamma",
    "step", "potential"}`` (rewound, waits), ``{"type": "resume", "step"}`` and ``{"type":
    "progress", "step", "ps", "clean_ps", "gamma_max", "state"}`` with state ``running`` or
    ``waiting``, at least every few seconds. Returns ``{"steps", "ps", "clean_ps", "clean", "swaps",
    "breaks", "candidates", "potential", "gamma_max", "temperature_mean_k"}``. A run restarted in a
    folder with a snapshot goes on from it.
    """

    def run(self, job: MdJob, folder: Path) -> Json | Failure: ...
