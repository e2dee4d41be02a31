"""Contract suite of the DFT codes. It runs the real program, in the folder of the test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.ports import DftEngine
from mlip_autopipec.testing.contracts.running import execute

__all__ = ["DftEngineContract"]


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
