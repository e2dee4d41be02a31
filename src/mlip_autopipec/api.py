"""The parts of the program for use one by one. Short on purpose: every decision lies in the rooms
they call.

Each takes a :class:`~mlip_autopipec.config.plan.Plan` (see :func:`make_plan`), so that parts used
alone work with the numbers of a campaign. Calculations that fail come back as
:class:`~mlip_autopipec.base.tasks.Failure`, they do not raise.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.problems import validate
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import Failure, Outcome, Task, TaskSpec
from mlip_autopipec.base.typed import to_json
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.payloads import GeneratePayload, LabelPayload
from mlip_autopipec.config import load
from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.config.load import PreparedPlan
from mlip_autopipec.config.plan import Plan, StrategyPlan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import MdJob, MdResult
from mlip_autopipec.engines.potential_folder import calculator_of, maker_of

__all__ = [
    "DFTFactory",
    "LammpsRunner",
    "PacemakerTrainer",
    "StructureGenerator",
    "SurrogateExplorer",
    "WorkflowManager",
    "make_plan",
]


def make_plan(**keys: Any) -> Plan:
    """The plan that follows from the keys of ``input.yaml``: ``make_plan(material="Si",
    temperatures_k=[300])``.

    Raises InputError. Change single numbers with ``plan.model_copy(update=...)``.
    """
    return derive(validate(UserInput, keys, None), cores=len(os.sched_getaffinity(0)))[0]


def _folder(folder: Path | str | None) -> Path:
    """``folder``, made; a new temporary one for None (left for the user to look into)."""
    path = Path(tempfile.mkdtemp(prefix="mlip-")) if folder is None else Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def _result(outcome: Outcome) -> Json | Failure:
    return outcome.failure if outcome.failure is not None else (outcome.result or {})


class StructureGenerator:
    """Proposes structures of the plan's material, screened by its surrogate."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def generate(
        self, strategies: Mapping[str, int], *, seed: int = 1, folder: Path | str | None = None
    ) -> list[Candidate] | Failure:
        """Candidates that passed the screen; ``strategies``: name -> how many to propose, e.g.
        ``{"rattle": 20}``.

        ``folder`` (default: a temporary one) also gets rejected.json and start.json. Raises
        InputError for an unknown strategy.
        """
        from mlip_autopipec.tasks import generate

        # Not validated: none of a strategy is no error here.
        wanted = [
            StrategyPlan.model_construct(name=name, count=count)
            for name, count in strategies.items()
        ]
        asked = GeneratePayload(0, tuple(wanted), seed)
        root = _folder(folder)
        spec = _spec("generate", asked.to_json(), root)
        result = _result(generate.run(spec, self.plan, root))
        if isinstance(result, Failure):
            return result
        return [Candidate.from_json(item) for item in read_json(root / "candidates.json")]


class SurrogateExplorer:
    """Looks at many structures with the pretrained potential and picks the few that DFT should
    label.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def calculator(self) -> Calculator:
        """ASE calculator of the plan's surrogate.

        Raises MissingProgramError when it is not installed.
        """
        chosen = self.plan.surrogate
        return registry.surrogate(chosen.engine, chosen.model).calculator()

    def evaluate(self, structures: Sequence[Atoms]) -> list[Json]:
        """``{"energy_ev", "forces" (n, 3) in eV/Å, "stress" (6,) in eV/Å^3}`` of each structure."""
        calculator = self.calculator()
        found = []
        for structure in structures:
            atoms = Atoms(structure)  # a copy
            atoms.calc = calculator
            energy, forces, stress = (
                float(atoms.get_potential_energy()),
                atoms.get_forces(),
                atoms.get_stress(),
            )
            found.append({"energy_ev": energy, "forces": forces, "stress": stress})
        return found

    def select(
        self, candidates: Sequence[Candidate], count: int, *, seed: int = 1
    ) -> list[Candidate]:
        """``count`` candidates by the plan's method for a first set: forced ones, then its picks,
        then random ones.
        """
        from mlip_autopipec.science.selection import select
        from mlip_autopipec.selecting.rows import structure_rows

        method = self.plan.selection.method
        picked = select(
            structure_rows(
                method, [item.atoms for item in candidates], self.plan.material.elements
            ),
            count,
            np.random.default_rng(seed),
            forced=[index for index, item in enumerate(candidates) if item.forced],
            method=method,
            random_fraction=self.plan.selection.random_fraction,
        )
        return [candidates[index] for index in picked.all]


class DFTFactory:
    """Labels structures with the plan's DFT method; known failures are mended by the engine's own
    table.

    For labels alone no campaign's plan is needed: :meth:`for_structures` derives the method from
    the structures.
    """

    def __init__(self, plan: Plan | LabelPlan) -> None:
        self.plan = plan

    @classmethod
    def for_structures(cls, structures: Sequence[Atoms], **options: Any) -> DFTFactory:
        """A factory whose method serves all of ``structures``.

        ``options``: ``family``, ``elements``, ``settings``, ``engine``, ``cores`` and ``budget`` of
        :class:`mlip_autopipec.commands.label.Options`. Raises InputError.
        """
        from mlip_autopipec.commands.label.options import Options
        from mlip_autopipec.commands.label.plan import plan_for

        return cls(plan_for(structures, Options(**options)))

    @staticmethod
    def run(structures: Sequence[Atoms], out: Path | str = "dft", **options: Any) -> Json:
        """Label many structures in the folder ``out``, or go on there: what ``mlip-auto dft`` does.

        The summary comes back; labels are in ``out/dataset.db`` and ``out/labels.extxyz``, what was
        given up in ``out/quarantine.json``. ``options`` as in :meth:`for_structures`.
        """
        from mlip_autopipec.commands.dft import label_atoms
        from mlip_autopipec.commands.label.options import Options

        return to_json(label_atoms(structures, Path(out), Options(**options)))

    def run_calculation(self, atoms: Atoms, *, folder: Path | str | None = None) -> Label | Failure:
        """Energy (eV), forces (n, 3; eV/Å) and stress (6,; eV/Å^3) of ``atoms``, or the failure
        that was left.

        Each attempt gets a new folder ``folder/attempt-<n>``. Raises MissingProgramError when the
        program or a file that it needs is not installed.
        """
        from mlip_autopipec.tasks import label

        root, engine = _folder(folder), registry.dft_engine(self.plan.dft.engine)
        job: LabelJob | None = LabelJob(atoms, self.plan.dft.label_method())
        failures: list[Failure] = []
        while job is not None and len(failures) < self.plan.dft.max_attempts:
            number = len(list(root.glob("attempt-*"))) + 1
            attempt = root / f"attempt-{number}"
            attempt.mkdir()
            spec = _spec("label", LabelPayload(job.to_json()).to_json(), root, number)
            # The task looks at ``plan.dft`` alone, which both kinds of plan have.
            result = _result(label.run(spec, cast(Plan, self.plan), attempt))
            if not isinstance(result, Failure):
                return Label.from_json({**result, "attempts": len(failures) + 1})
            failures.append(result)
            job = engine.repair(job, failures)
        return failures[-1]


class PacemakerTrainer:
    """Fits potentials to files of labelled structures."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def train(
        self,
        data: Path | str,
        test: Path | str | None,
        out: Path | str,
        *,
        fast: bool = False,
        **settings: Any,
    ) -> Json:
        """Fit the structures of ``data`` (extended XYZ), judge on ``test``, leave the potential in
        folder ``out``.

        ``fast``: by the trainer of the plan's first rounds. Trainer and seed are the plan's. The
        settings are those that the trainer derives for files, as in ``mlip-auto train``, for a file
        is not weighted like the small cells of a campaign; ``settings`` replaces some of them.
        Returns the errors of both sets. Raises InputError for unusable data, MlipError for a failed
        fit.
        """
        from mlip_autopipec.commands.train import train_file

        plan = self.plan.training
        return train_file(
            Path(data),
            None if test is None else Path(test),
            Path(out),
            trainer=plan.fast_trainer if fast else plan.trainer,
            settings=settings,
            seed=self.plan.seed,
        )

    def calculator(self, potential: Path | str) -> Calculator:
        """ASE calculator of a potential folder; ``results["gamma"]`` is the extrapolation grade of
        each atom.
        """
        return calculator_of(Path(potential), otherwise=self.plan.training.trainer)


class LammpsRunner:
    """Molecular dynamics with a potential, watching the extrapolation grade."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def run(
        self,
        atoms: Atoms,
        potential: Path | str,
        *,
        temperature_k: float,
        ps: float,
        ensemble: str = "nvt",
        pressure_gpa: float = 0.0,
        seed: int = 1,
        folder: Path | str | None = None,
    ) -> MdResult | Failure:
        """Run ``ps`` picoseconds (or until gamma passes ``gamma_break``); see MdResult for what
        comes back.

        Every ``sample_every_ps`` of the plan a frame is kept in ``samples.jsonl`` of ``folder``;
        the structure that broke the run is written beside it (``stream.jsonl`` names it). A run in
        the folder of an interrupted one goes on from its last snapshot, for ``ps`` more.
        """
        root, plan = _folder(folder), self.plan.exploration
        home = Path(potential).resolve()
        trainer = maker_of(home, otherwise=self.plan.training.trainer)
        pointer = {"name": home.name, "folder": str(home), "trainer": trainer}
        write_json(root / "current.json", pointer)
        job = MdJob(
            start=atoms,
            elements=self.plan.material.elements,
            ensemble=ensemble,
            temperature_k=temperature_k,
            pressure_gpa=pressure_gpa,
            timestep_fs=plan.timestep_fs,
            run_ps=ps,
            equilibration_ps=0.0,
            sample_every_ps=plan.sample_every_ps,
            gamma_break=plan.gamma_break,
            gamma_every=plan.gamma_every,
            wait_s=0.0,
            seed=seed,
            pointer=root / "current.json",
        )
        return registry.md_engine(plan.engine).run(job, root)


class WorkflowManager:
    """A whole campaign: what ``mlip-auto run`` does."""

    def __init__(
        self, source: Path | str | Plan, *, runs_dir: Path | str = "runs", cores: int | None = None
    ) -> None:
        """``source``: an input.yaml, a plan.yaml or a plan. Raises InputError."""
        if isinstance(source, Plan):
            root = Path(runs_dir).resolve() / source.name
            self._prepared = load.with_stored_check(
                PreparedPlan(source, {}, root, root / "plan.yaml")
            )
        else:
            self._prepared = load.load(Path(source), runs_dir=Path(runs_dir), cores=cores)
            load.check_same_plan(self._prepared)

    @property
    def plan(self) -> Plan:
        return self._prepared.plan

    @property
    def reasons(self) -> dict[str, str]:
        """Dotted key of the plan -> why."""
        return self._prepared.reasons

    @property
    def root(self) -> Path:
        """The run folder."""
        return self._prepared.root

    def run(self) -> Json:
        """Carry the campaign to its end, or go on with it; the summary that is also in ``result/``.

        A plan that asks for a convergence check gets it first.
        """
        from mlip_autopipec.commands import run as convergence_campaign

        summary = convergence_campaign.run(self._prepared)
        self._prepared = load.with_stored_check(self._prepared)
        return summary

    def status(self) -> Json:
        """What the campaign is doing. Raises InputError before it has begun."""
        from mlip_autopipec.report.status_page import collect

        return to_json(collect(self.root))


def _spec(kind: Any, payload: Json, root: Path, attempt: int = 1) -> TaskSpec:
    return TaskSpec(Task(kind, payload), attempt, str(root), payload)
