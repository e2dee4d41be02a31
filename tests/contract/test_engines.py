"""Every built-in backend, simulated and real, passes the suite of its port."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import Label, LabelJob, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.engines.ports import MdJob, Trainer, TrainJob
from mlip_autopipec.testing import (
    DftEngineContract,
    MdEngineContract,
    SimulatedDft,
    SimulatedMd,
    SimulatedSurrogate,
    SimulatedTrainer,
    TrainerContract,
)


def rattled(symbol: str, seed: int, repeat: tuple[int, int, int] = (1, 1, 1)):  # type: ignore[no-untyped-def]
    atoms = bulk(symbol, cubic=True) * repeat
    atoms.rattle(0.1, seed=seed)
    return atoms


def labelled(seed: int) -> LabelledStructure:
    atoms = rattled("Cu", seed, (2, 1, 1))
    probe = atoms.copy()
    probe.calc = EMT()
    label = Label(
        probe.get_potential_energy(), probe.get_forces(), probe.get_stress(), "emt", 1, 0.0
    )
    return LabelledStructure(f"s{seed}", atoms, label, Provenance("rattle", f"g{seed}"))


def fit(trainer: Trainer, **settings: float) -> TrainJob:
    items = tuple(labelled(seed) for seed in range(10))
    return TrainJob(("Cu",), items[:8], items[8:], trainer.schema.model_validate(settings), seed=0)


class TestSimulatedDft(DftEngineContract):
    engine = SimulatedDft()
    job = LabelJob(rattled("Cu", 1), {"functional": "emt"})


@pytest.mark.real
class TestQuantumEspresso(DftEngineContract):
    engine = registry.dft_engine("quantum_espresso")
    job = LabelJob(
        rattled("Si", 1)[:2],
        {
            "pseudo_family": pseudos.DEFAULT_FAMILY,
            "functional": "PBE",
            "pseudos": {"Si": "Si.upf"},
            "pseudo_sha256": {},
            "cutoff_ry": 16.0,
            "rho_cutoff_ry": 64.0,
            "kspacing_per_a": 1.2,
            "kmesh_shifted": True,
            "occupations": "smearing",
            "smearing": "gaussian",
            "degauss_ry": 0.01,
            "spin_polarized": False,
            "starting_moments": {},
            "conv_thr_ry_per_atom": 1e-9,
        },
    )


class TestSimulatedTrainer(TrainerContract):
    trainer = SimulatedTrainer()
    job = fit(trainer)


@pytest.mark.real
class TestLinearAce(TrainerContract):
    trainer = registry.trainer("linear")
    job = fit(trainer, cutoff_a=4.5, functions_per_element=20, kappa=0.05)


class TestSimulatedMd(MdEngineContract):
    engine = SimulatedMd()

    def job(self, folder: Path) -> MdJob:
        pointer = folder / "current.json"
        write_json(pointer, {"name": "007-known", "folder": str(folder)})
        return MdJob(
            bulk("Cu", cubic=True), ("Cu",), "nvt", 300, 0, 2, 1, 5, 3, 20, 10, 5, 1, 0, pointer
        )


@pytest.mark.real
class TestLammps(MdEngineContract):
    engine = registry.md_engine("lammps")

    def job(self, folder: Path) -> MdJob:
        from mlip_autopipec.testing.contracts.running import execute

        trainer, work = registry.trainer("linear"), folder / "fit"
        work.mkdir()
        task = fit(trainer, cutoff_a=4.5, functions_per_element=20, kappa=0.05)
        code = execute(trainer.prepare(task, work), work)
        potential = trainer.parse(task, work, code)
        pointer = folder / "current.json"
        write_json(
            pointer, {"name": "000-fit", "folder": str(potential.folder), "trainer": "linear"}
        )  # type: ignore[union-attr]
        crystal = bulk("Cu", cubic=True) * (2, 2, 2)
        # Grades are not the subject here: the limits are far above what a cold crystal meets.
        return MdJob(crystal, ("Cu",), "nvt", 50, 0, 2, 0.2, 2, 1e4, 1e6, 10, 5, 1, 0, pointer)


def test_the_simulated_energy_is_that_of_effective_medium_theory() -> None:
    atoms = rattled("Cu", 1)
    atoms.calc = SimulatedSurrogate().calculator()
    assert np.isfinite(atoms.get_potential_energy())
