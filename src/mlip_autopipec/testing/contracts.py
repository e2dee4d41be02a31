"""Contract suites: what every backend of a port has to keep, as pytest classes to be subclassed.

Attributes that a subclass sets are listed in each class. The suites run the real thing: external programs are started
in the temporary folder of the test.
"""

from __future__ import annotations

import functools
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import DftEngine, MdEngine, MdJob, Prepared, Surrogate, Trained, Trainer, TrainJob
from mlip_autopipec.errors import InputError
from mlip_autopipec.files import read_json
from mlip_autopipec.runtime.screening import evaluate_stream
from mlip_autopipec.science.screening import Limits, evaluate
from mlip_autopipec.types import Failure, Label, LabelJob

__all__ = ["DftEngineContract", "MdEngineContract", "SurrogateContract", "TrainerContract"]


def execute(prepared: Prepared, folder: Path) -> int:
    """Write the files and run the command in ``folder``."""
    for name, content in prepared.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    for name, source in prepared.links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(source)
    import os

    with (folder / prepared.stdout).open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        return subprocess.run(
            prepared.command, cwd=folder, stdout=out, stderr=err, env={**os.environ, **prepared.env}, check=False
        ).returncode


class DftEngineContract:
    """``engine``; ``job``: a small, low-symmetry structure with forces well above ``force_tolerance``."""

    engine: ClassVar[DftEngine]
    job: ClassVar[LabelJob]
    force_tolerance: ClassVar[float] = 0.02
    failure_kind: ClassVar[str] = "scf_not_converged"

    def label(self, job: LabelJob, folder: Path) -> Label:
        folder.mkdir(parents=True)
        code = execute(self.engine.prepare(job, walltime_s=600, cores=1), folder)
        found = self.engine.parse(folder, job, code)
        assert isinstance(found, Label), found
        return found

    def test_has_the_methods_of_the_port(self) -> None:
        assert isinstance(self.engine, DftEngine)

    def test_prepare_is_pure(self) -> None:
        first, second = (self.engine.prepare(self.job, walltime_s=600, cores=1) for _ in range(2))
        assert first == second

    def test_label_is_whole_and_forces_are_minus_the_gradient(self, tmp_path: Path) -> None:
        label = self.label(self.job, tmp_path / "centre")
        n = len(self.job.atoms)
        assert label.forces.shape == (n, 3) and np.isfinite(label.forces).all()
        assert label.stress is None or label.stress.shape == (6,)
        assert label.method_hash == self.job.method_hash
        atom, axis = np.unravel_index(np.abs(label.forces).argmax(), label.forces.shape)
        step, energies = 0.01, []
        for sign in (1, -1):
            moved = self.job.atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(self.label(replace(self.job, atoms=moved), tmp_path / f"moved{sign}").energy_ev)
        slope = -(energies[0] - energies[1]) / (2 * step)
        assert abs(label.forces[atom, axis]) > 5 * self.force_tolerance
        assert abs(slope - label.forces[atom, axis]) < self.force_tolerance

    def test_an_empty_folder_is_a_failure_not_a_label(self, tmp_path: Path) -> None:
        assert isinstance(self.engine.parse(tmp_path, self.job, None), Failure)

    def test_repair_ends_and_never_touches_the_physics(self) -> None:
        job, failures = self.job, []
        for _ in range(50):
            failures.append(Failure(self.failure_kind, "provoked"))
            following = self.engine.repair(job, failures)
            if following is None:
                return
            assert following.method == self.job.method
            assert following.method_hash == self.job.method_hash
            job = following
        raise AssertionError("repair never gives up")


@functools.cache
def _surrogate(engine: str, model: str | None) -> Surrogate:
    return registry.surrogate(engine, model)


class SurrogateContract:
    """``engine`` and ``model`` as the registry takes them; ``unsupported``: an element that the model lacks.

    ``atoms``: a strained and rattled crystal of supported elements in a cell without symmetry, whose largest force
    exceeds 0.5 eV/Å. Tolerances, for models in single precision: ``energy_tolerance`` eV/atom, ``force_tolerance``
    eV/Å, ``stress_tolerance_gpa``, the last two against finite differences.
    """

    engine: ClassVar[str]
    model: ClassVar[str | None] = None
    atoms: ClassVar[Atoms]
    unsupported: ClassVar[str]
    energy_tolerance: ClassVar[float] = 1e-4
    force_tolerance: ClassVar[float] = 0.02
    stress_tolerance_gpa: ClassVar[float] = 0.15

    @property
    def surrogate(self) -> Surrogate:
        return _surrogate(self.engine, self.model)

    def evaluated(self, atoms: Atoms) -> Atoms:
        """A copy with the calculator."""
        probe: Atoms = atoms.copy()
        probe.calc = self.surrogate.calculator()
        return probe

    def energy(self, atoms: Atoms) -> float:
        return float(self.evaluated(atoms).get_potential_energy())

    def test_has_the_methods_of_the_port_and_is_installed(self) -> None:
        assert isinstance(self.surrogate, Surrogate)
        self.surrogate.require()

    def test_names_what_it_supports(self) -> None:
        known = sorted(set(self.atoms.symbols))
        assert self.surrogate.supports(known)
        assert not self.surrogate.supports([*known, self.unsupported])

    def test_an_element_that_it_lacks_is_named(self) -> None:
        atoms = self.atoms.copy()
        atoms.symbols[0] = self.unsupported
        try:
            self.energy(atoms)
        except InputError as refused:
            assert self.unsupported in str(refused)
        else:
            raise AssertionError(f"{self.unsupported} was calculated")

    def test_forces_are_minus_the_gradient_of_the_energy(self) -> None:
        forces = self.evaluated(self.atoms).get_forces()
        assert np.abs(forces).max() > 0.5  # else the comparison says nothing
        step, last = 0.01, len(forces) - 1
        largest = np.unravel_index(np.abs(forces).argmax(), forces.shape)
        for atom, axis in [largest, (0, 0), (last // 2, 1), (last, 2)]:
            energies = []
            for sign in (1, -1):
                moved = self.atoms.copy()
                moved.positions[atom, axis] += sign * step
                energies.append(self.energy(moved))
            slope = (energies[0] - energies[1]) / (2 * step)
            assert abs(forces[atom, axis] + slope) < self.force_tolerance, (atom, axis)

    def test_forces_sum_to_nothing(self) -> None:
        assert np.abs(self.evaluated(self.atoms).get_forces().sum(axis=0)).max() < 0.1 * self.force_tolerance

    def test_stress_is_the_strain_derivative_of_the_energy_per_volume(self) -> None:
        """All six components: ASE's Voigt order, ASE's sign (tension is positive), eV/Å³."""
        stress = self.evaluated(self.atoms).get_stress()
        assert np.ptp(stress) / units.GPa > 10 * self.stress_tolerance_gpa  # else their order could not be told
        step = 0.004
        for voigt, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * step / 2
                strain[j, i] += sign * step / 2
                strained = self.atoms.copy()
                strained.set_cell(self.atoms.cell.array @ strain, scale_atoms=True)
                energies.append(self.energy(strained))
            slope = (energies[0] - energies[1]) / (2 * step) / self.atoms.get_volume()
            assert abs(stress[voigt] - slope) / units.GPa < self.stress_tolerance_gpa, voigt

    def test_forces_alone_equal_forces_with_stress(self) -> None:
        probe = self.evaluated(self.atoms)
        alone = probe.get_forces().copy()
        probe.calc.reset()
        probe.get_stress()
        assert np.abs(probe.get_forces() - alone).max() < 0.1 * self.force_tolerance

    def test_energy_does_not_depend_on_origin_order_or_choice_of_cell(self) -> None:
        probe, n = self.evaluated(self.atoms), len(self.atoms)
        energy, forces = float(probe.get_potential_energy()), probe.get_forces()
        moved = self.atoms.copy()
        moved.positions += (0.4, -1.3, 2.2)
        assert abs(self.energy(moved) - energy) < self.energy_tolerance * n
        order = np.random.default_rng(0).permutation(n)
        shuffled = self.evaluated(self.atoms[order])
        assert abs(float(shuffled.get_potential_energy()) - energy) < self.energy_tolerance * n
        assert np.abs(shuffled.get_forces() - forces[order]).max() < 0.1 * self.force_tolerance
        assert abs(self.energy(self.atoms.repeat((2, 1, 1))) - 2 * energy) < 2 * self.energy_tolerance * n

    def test_a_batch_on_two_processes_equals_one_after_the_other(self) -> None:
        structures = []
        for seed in range(5):
            structures.append(self.atoms.copy())
            structures[-1].rattle(0.02 * (seed + 1), seed=seed)
        structures[3] = structures[3].repeat((2, 1, 1))
        limits = Limits(max_force_ev_per_a=1e3)
        alone = [evaluate(atoms, self.surrogate.calculator(), limits) for atoms in structures]
        batch = list(evaluate_stream(structures, self.engine, limits, workers=2, model=self.model))
        assert [index for index, _ in batch] == list(range(5))
        assert [evaluation for _, evaluation in batch] == alone
        assert len({evaluation.energy_ev_per_atom for evaluation in alone}) == 5


class TrainerContract:
    """``trainer``; ``job``: a fit that takes seconds, with labels in both sets."""

    trainer: ClassVar[Trainer]
    job: ClassVar[TrainJob]

    def test_a_fit_leaves_a_whole_potential_folder(self, tmp_path: Path) -> None:
        code = execute(self.trainer.prepare(self.job, tmp_path), tmp_path)
        trained = self.trainer.parse(self.job, tmp_path, code)
        assert isinstance(trained, Trained), trained
        for file in ("potential.yaml", "potential.asi", "potential.yace", "metrics.json", "predictions.json"):
            assert (trained.folder / file).stat().st_size > 0
        for part in ("train", "test"):
            assert trained.metrics[part]["n_structures"] == len(getattr(self.job, part))
            assert np.isfinite(trained.metrics[part]["energy_rmse_mev_per_atom"])
        self.check_calculator(self.trainer.calculator(trained.folder))

    def check_calculator(self, calculator: Calculator) -> None:
        item = self.job.train[0]
        atoms = item.atoms.copy()
        atoms.calc = calculator
        assert np.isfinite(atoms.get_potential_energy())
        assert atoms.get_forces().shape == (len(atoms), 3)
        assert np.shape(calculator.results["gamma"]) == (len(atoms),)

    def test_a_fit_that_died_is_a_failure(self, tmp_path: Path) -> None:
        assert isinstance(self.trainer.parse(self.job, tmp_path, 1), Failure)


class MdEngineContract:
    """``engine``; ``job(folder)``: a short run that stays known; its pointer file lies in ``folder``."""

    engine: ClassVar[MdEngine]

    def job(self, folder: Path) -> MdJob:
        raise NotImplementedError

    def test_a_clean_run_reports_what_it_did(self, tmp_path: Path) -> None:
        job = self.job(tmp_path)
        folder = tmp_path / "md"
        folder.mkdir()
        result = self.engine.run(job, folder)
        assert not isinstance(result, Failure), result
        assert result["clean"] and result["clean_ps"] >= job.clean_ps
        assert result["ps"] == np.float64(result["ps"]) and result["steps"] > 0
        assert result["potential"] == read_json(job.pointer)["name"]
        lines = [json.loads(line) for line in (folder / "stream.jsonl").read_text().splitlines()]
        assert lines and all("step" in line and "type" in line for line in lines)
        progress = [line for line in lines if line["type"] == "progress"]
        assert progress and progress[-1]["state"] in ("running", "waiting")
