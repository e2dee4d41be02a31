"""Contract suites: what every backend of a port has to keep, as pytest classes to be subclassed.

Attributes that a subclass sets are listed in each class. The suites run the real thing: external
programs are started in the temporary folder of the test.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.ports import DftEngine, MdEngine, MdJob, Trained, Trainer, TrainJob

__all__ = ["DftEngineContract", "MdEngineContract", "TrainerContract"]


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
            prepared.command,
            cwd=folder,
            stdout=out,
            stderr=err,
            env={**os.environ, **prepared.env},
            check=False,
        ).returncode


class DftEngineContract:
    """``engine``; ``job``: a small, low-symmetry structure with forces well above
    ``force_tolerance``.
    """

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
            energies.append(
                self.label(replace(self.job, atoms=moved), tmp_path / f"moved{sign}").energy_ev
            )
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


class TrainerContract:
    """``trainer``; ``job``: a fit that takes seconds, with labels in both sets."""

    trainer: ClassVar[Trainer]
    job: ClassVar[TrainJob]

    def test_a_fit_leaves_a_whole_potential_folder(self, tmp_path: Path) -> None:
        code = execute(self.trainer.prepare(self.job, tmp_path), tmp_path)
        trained = self.trainer.parse(self.job, tmp_path, code)
        assert isinstance(trained, Trained), trained
        for file in (
            "potential.yaml",
            "potential.asi",
            "potential.yace",
            "metrics.json",
            "predictions.json",
        ):
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
    """``engine``; ``job(folder)``: a short run that stays known; its pointer file lies in
    ``folder``.
    """

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
