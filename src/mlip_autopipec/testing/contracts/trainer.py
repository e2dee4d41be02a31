"""Contract suite of the trainers. It runs the real fit, in the folder of the test."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.ports import (
    METRICS,
    POTENTIAL_FOLDER,
    PREDICTIONS,
    Trained,
    Trainer,
    TrainerFacts,
    TrainerSettings,
    TrainJob,
)
from mlip_autopipec.testing.contracts.running import execute

__all__ = ["TrainerContract"]


class TrainerContract:
    """``trainer``; ``job``: a fit that takes seconds, with labels in both sets.

    ``force_tolerance``: eV/Å, of forces against finite differences of the energy.
    """

    trainer: ClassVar[Trainer]
    job: ClassVar[TrainJob]
    force_tolerance: ClassVar[float] = 0.02
    _trained: ClassVar[Trained]

    def fit(self, job: TrainJob, folder: Path) -> Trained:
        folder.mkdir(parents=True, exist_ok=True)
        code = execute(self.trainer.prepare(job, folder), folder)
        trained = self.trainer.parse(job, folder, code)
        assert isinstance(trained, Trained), trained
        return trained

    @pytest.fixture
    def trained(self, tmp_path_factory: pytest.TempPathFactory) -> Trained:
        """The fit of ``job``, made once for the suite; nobody may change its folder."""
        suite = type(self)
        if "_trained" not in suite.__dict__:
            suite._trained = self.fit(self.job, tmp_path_factory.mktemp("fit"))
        return suite._trained

    def test_has_the_methods_of_the_port(self) -> None:
        assert isinstance(self.trainer, Trainer)
        assert self.trainer.family
        assert self.trainer.files()

    def test_settings_are_derived_from_a_material_and_survive_a_file(self) -> None:
        for use in ("early", "release", "file"):
            facts = TrainerFacts(self.job.elements, bond_a=2.5, use=use)
            settings, reasons = self.trainer.schema.derived(facts)
            assert isinstance(settings, self.trainer.schema)
            assert set(reasons) <= set(self.trainer.schema.model_fields)
            stored = json.loads(settings.model_dump_json())
            assert self.trainer.schema.model_validate(stored) == settings
            assert settings.fit_cpu_s(1, 50, warm=False) > 0
        assert isinstance(self.job.settings, TrainerSettings)
        with pytest.raises(ValidationError):
            self.trainer.schema.model_validate(
                {**self.job.settings.model_dump(), "no_such_setting": 1}
            )

    def test_a_fit_leaves_a_whole_potential_folder(self, trained: Trained) -> None:
        assert trained.folder.name == POTENTIAL_FOLDER
        for file in (*self.trainer.files(), METRICS, PREDICTIONS):
            assert (trained.folder / file).stat().st_size > 0
        predictions = read_json(trained.folder / PREDICTIONS)
        for part in ("train", "test"):
            assert part in predictions
            assert trained.metrics[part]["n_structures"] == len(getattr(self.job, part))
            assert np.isfinite(trained.metrics[part]["energy_rmse_mev_per_atom"])
            assert np.isfinite(trained.metrics[part]["force_rmse_mev_per_a"])

    def test_forces_of_the_calculator_are_minus_the_gradient(
        self, trained: Trained, tmp_path: Path
    ) -> None:
        """Of the potential's folder alone, wherever it lies."""
        moved = Path(shutil.copytree(trained.folder, tmp_path / "elsewhere"))
        calculator = self.trainer.calculator(moved)
        atoms = self.job.train[0].atoms.copy()
        atoms.calc = calculator
        forces = atoms.get_forces()
        assert forces.shape == (len(atoms), 3) and np.isfinite(forces).all()
        gamma = calculator.results.get("gamma")
        assert gamma is None or np.shape(gamma) == (len(atoms),)
        atom, axis = np.unravel_index(np.abs(forces).argmax(), forces.shape)
        energies, step = [], 0.005
        for sign in (1, -1):
            shifted = self.job.train[0].atoms.copy()
            shifted.positions[atom, axis] += sign * step
            shifted.calc = calculator
            energies.append(float(shifted.get_potential_energy()))
        slope = -(energies[0] - energies[1]) / (2 * step)
        assert abs(forces[atom, axis]) > 5 * self.force_tolerance  # else it says nothing
        assert abs(slope - forces[atom, axis]) < self.force_tolerance

    def test_a_warm_start_continues_and_leaves_its_start_as_it_was(
        self, trained: Trained, tmp_path: Path
    ) -> None:
        first = trained
        before = {file.name: file.read_bytes() for file in first.folder.iterdir()}
        again = self.fit(replace(self.job, warm_start=first.folder), tmp_path / "again")
        assert {file.name: file.read_bytes() for file in first.folder.iterdir()} == before
        self.check_warm(first, again)

    def check_warm(self, first: Trained, again: Trained) -> None:
        """A fit that started from another is no worse; trainers that can say more check more."""
        errors = [made.metrics["train"]["force_rmse_mev_per_a"] for made in (first, again)]
        assert errors[1] <= 1.1 * errors[0] + 1.0

    def test_a_fit_that_died_is_a_failure(self, tmp_path: Path) -> None:
        for number, code in enumerate((1, -9, 0)):
            folder = tmp_path / str(number)
            folder.mkdir()
            assert isinstance(self.trainer.parse(self.job, folder, code), Failure), code
