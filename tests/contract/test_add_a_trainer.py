"""The worked example of docs/developing/add-a-trainer.md, as it stands there."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.config.load import load
from mlip_autopipec.engines.md.lammps.evaluators import evaluator_of
from mlip_autopipec.engines.md.lammps.simulation import Dynamics, Simulation
from mlip_autopipec.engines.ports import TrainJob
from mlip_autopipec.testing import TrainerContract

PAGE = Path(__file__).resolve().parents[2] / "docs" / "developing" / "add-a-trainer.md"
NAME = "soft_pair:PairTrainer"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def copper(seed: int) -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.12, seed=seed)
    return atoms


def labelled(seed: int) -> LabelledStructure:
    probe = copper(seed)
    probe.calc = EMT()
    label = Label(probe.get_potential_energy(), probe.get_forces(), None, "emt", 1, 0.0)
    return LabelledStructure(f"s{seed}", copper(seed), label, Provenance("rattle", f"g{seed}"))


@pytest.fixture(scope="module", autouse=True)
def _module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The module of the page can be imported, here and by what is started from here."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "soft_pair.py").write_text(blocks("python")[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
        importlib.invalidate_caches()
        yield
    sys.modules.pop("soft_pair", None)


class TestPairTrainer(TrainerContract):
    @property
    def trainer(self) -> Any:  # type: ignore[override]
        return importlib.import_module("soft_pair").PairTrainer()

    @property
    def job(self) -> TrainJob:  # type: ignore[override]
        items = tuple(labelled(seed) for seed in range(10))
        settings = self.trainer.schema(cutoff_a=5.0)
        return TrainJob(("Cu",), items[:8], items[8:], settings, seed=1)

    def test_it_learns(self, tmp_path: Path) -> None:
        metrics = self.fit(self.job, tmp_path).metrics
        size = np.sqrt(np.mean([np.square(item.label.forces) for item in self.job.test]))
        assert metrics["test"]["force_rmse_mev_per_a"] < 0.3 * 1000 * size

    def test_lammps_runs_it_as_ase_does(self, tmp_path: Path) -> None:
        trained = self.fit(self.job, tmp_path)
        start = copper(3).repeat((2, 3, 3))
        evaluator = evaluator_of(trained.folder, NAME, ("Cu",))
        still = np.zeros((len(start), 3))
        md = Simulation(start, still, ("Cu",), Dynamics("nve", 300.0, 0.0, 1.0, 1), evaluator)
        md.run(0)
        atoms, energy, forces = md.atoms(), md.thermo("pe"), md.forces()
        pressure_bar, gamma = md.thermo("press"), md.potential.gamma
        md.close()
        atoms.calc = self.trainer.calculator(trained.folder)
        assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        assert np.allclose(forces, atoms.get_forces(), atol=1e-6)
        expected_bar = -atoms.get_stress()[:3].mean() * 1.602176634e6
        assert pressure_bar == pytest.approx(expected_bar, rel=1e-5)
        assert np.allclose(gamma, atoms.calc.results["gamma"], rtol=1e-6)


def test_an_input_names_it_and_the_plan_has_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "input.yaml"
    text = blocks("yaml")[0] + "surrogate: mlip_autopipec.testing:SimulatedSurrogate\n"
    file.write_text(text)
    found = load(file, runs_dir=tmp_path / "runs", cores=2)
    training = found.plan.training
    assert training.trainer == training.fast_trainer == NAME
    assert training.settings.model_dump() == {"cutoff_a": 5.3, "functions": 6}
    assert found.reasons["training.settings.cutoff_a"] == "two bonds of 2.64 Å"
    assert found.reasons["training.trainer"] == "given"
