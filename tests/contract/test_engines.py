"""Every built-in backend, simulated and real, passes the suite of its port."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label, LabelJob, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.engines.ports import MdJob, Trained, Trainer, TrainJob
from mlip_autopipec.testing import (
    DftEngineContract,
    MdEngineContract,
    SimulatedDft,
    SimulatedMd,
    SimulatedSurrogate,
    SimulatedTrainer,
    TrainerContract,
)
from mlip_autopipec.testing.contracts.running import execute


def rattled(symbol: str, seed: int, repeat: tuple[int, int, int] = (1, 1, 1)):  # type: ignore[no-untyped-def]
    atoms = bulk(symbol, cubic=True) * repeat
    atoms.rattle(0.1, seed=seed)
    return atoms


def labelled(seed: int) -> LabelledStructure:
    return labelled_as(f"s{seed}", rattled("Cu", seed, (2, 1, 1)))


def labelled_as(name: str, atoms: Atoms) -> LabelledStructure:
    probe = atoms.copy()
    probe.calc = EMT()
    label = Label(
        probe.get_potential_energy(), probe.get_forces(), probe.get_stress(), "emt", 1, 0.0
    )
    return LabelledStructure(name, atoms, label, Provenance("rattle", f"g-{name}"))


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

    def check_warm(self, first: Trained, again: Trained) -> None:
        assert read_json(first.folder / "fit.json")["fits"] == 1
        assert read_json(again.folder / "fit.json")["fits"] == 2


@pytest.mark.real
class TestPacemaker(TrainerContract):
    trainer = registry.trainer("pacemaker")
    job = fit(
        trainer,
        cutoff_a=4.5,
        functions_per_element=6,
        kappa=0.5,
        max_iterations=5,
        warm_iterations=3,
    )

    def check_warm(self, first: Trained, again: Trained) -> None:
        super().check_warm(first, again)
        assert first.metrics["warm_start"] is None
        assert again.metrics["warm_start"] == str(first.folder)


@pytest.mark.real
class TestLinearAce(TrainerContract):
    trainer = registry.trainer("linear")
    job = fit(trainer, cutoff_a=4.5, functions_per_element=20, kappa=0.05)


@pytest.mark.real
class TestAceJax(TrainerContract):
    trainer = registry.trainer("ace")
    job = fit(trainer, cutoff_a=4.5, max_degree=6)


def md_job(folder: Path, atoms: Atoms, **changes: float) -> MdJob:
    values = {
        "temperature_k": 900.0,
        "pressure_gpa": 0.0,
        "timestep_fs": 2.0,
        "run_ps": 0.6,
        "equilibration_ps": 0.2,
        "sample_every_ps": 0.2,
        "gamma_break": 20.0,
        "gamma_every": 10,
        "wait_s": 0.0,
        "seed": 3,
    }
    pointer = folder / "current.json"
    return MdJob(atoms, ("Cu",), "nvt", **{**values, **changes}, pointer=pointer)  # type: ignore[arg-type]


class TestSimulatedMd(MdEngineContract):
    """Its grades follow from the number of the potential."""

    engine = SimulatedMd()

    def job(self, folder: Path) -> MdJob:
        return md_job(folder, bulk("Cu", cubic=True))

    def publish(self, folder: Path, name: str) -> str:
        write_json(folder / "current.json", {"name": name, "folder": str(folder)})
        return name

    def narrow(self, folder: Path) -> str:
        return self.publish(folder, "004-narrow")

    def wide(self, folder: Path) -> str:
        return self.publish(folder, "007-wide")

    def hopeless(self, folder: Path) -> str:
        return self.publish(folder, "000-hopeless")


@functools.cache
def copper_potential(sigmas_a: tuple[float, ...], strains: tuple[float, ...], count: int) -> Path:
    """A linear ACE of rattled and strained copper; fitted once."""
    rng, items = np.random.default_rng(1), []
    for number in range(count):
        atoms = bulk("Cu", a=3.61, cubic=True) * (2, 2, 2)
        shear = rng.normal(0.0, 0.01, (3, 3))
        strain = np.eye(3) * (1 + strains[number % len(strains)]) + (shear + shear.T) / 2
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += rng.normal(0.0, sigmas_a[number % len(sigmas_a)], atoms.positions.shape)
        items.append(labelled_as(f"s{number}", atoms))
    trainer, folder = registry.trainer("linear"), Path(tempfile.mkdtemp(prefix="contract-md-"))
    settings = trainer.schema.model_validate({"cutoff_a": 4.5, "functions_per_element": 40})
    job = TrainJob(("Cu",), tuple(items), (), settings, seed=0)
    trained = trainer.parse(job, folder, execute(trainer.prepare(job, folder), folder))
    assert isinstance(trained, Trained)
    return trained.folder


@pytest.mark.real
class TestLammps(MdEngineContract):
    engine = registry.md_engine("lammps")
    unknown_family = "splines"

    def job(self, folder: Path) -> MdJob:
        atoms = bulk("Cu", a=3.61, cubic=True) * (2, 2, 2)
        return md_job(folder, atoms, gamma_break=1e6)

    def broken(self, job: MdJob) -> MdJob:
        return replace(job, gamma_break=2.05)

    def publish(self, folder: Path, name: str, potential: Path) -> str:
        pointer = {"name": name, "folder": str(potential), "trainer": "linear"}
        write_json(folder / "current.json", pointer)
        return name

    def narrow(self, folder: Path) -> str:
        potential = copper_potential((0.03, 0.06, 0.1), (-0.03, 0.0, 0.03), 12)
        return self.publish(folder, "000-narrow", potential)

    def wide(self, folder: Path) -> str:
        strains = (-0.06, -0.02, 0.0, 0.02, 0.06)
        potential = copper_potential((0.05, 0.1, 0.2, 0.3), strains, 24)
        return self.publish(folder, "001-wide", potential)


def test_the_simulated_energy_is_that_of_effective_medium_theory() -> None:
    atoms = rattled("Cu", 1)
    atoms.calc = SimulatedSurrogate().calculator()
    assert np.isfinite(atoms.get_potential_energy())
