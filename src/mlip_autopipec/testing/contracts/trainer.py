"""Contract suite of the trainers. It runs the real fit, in the folder of the test."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.ports import Trained, Trainer, TrainJob
from mlip_autopipec.testing.contracts.running import execute

__all__ = ["TrainerContract"]


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
