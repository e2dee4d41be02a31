"""Copper labelled by effective medium theory, and linear fits of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines.ports import Trained, TrainJob
from mlip_autopipec.engines.train.pacemaker.engine import LinearAce
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings
from mlip_autopipec.testing.contracts.running import execute

__all__ = ["copper", "fitted", "job", "labelled"]


def copper(seed: int, spread: float = 0.1, size: float = 1.0) -> LabelledStructure:
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array * size * (1 + 0.03 * rng.uniform(-1, 1)), scale_atoms=True)
    atoms.positions += rng.normal(scale=spread, size=atoms.positions.shape)
    return labelled(f"s{seed}", atoms)


def labelled(name: str, atoms: Atoms) -> LabelledStructure:
    probe = atoms.copy()
    probe.calc = EMT()
    label = Label(
        probe.get_potential_energy(), probe.get_forces(), probe.get_stress(), "emt", 1, 0.0
    )
    return LabelledStructure(name, atoms, label, Provenance("rattle", f"g-{name}"))


def job(items: list[LabelledStructure], functions: int = 60) -> TrainJob:
    settings = LinearSettings(cutoff_a=4.5, functions_per_element=functions, kappa=0.05)
    return TrainJob(("Cu",), tuple(items), (), settings, seed=0)


def fitted(asked: TrainJob, folder: Path) -> Trained:
    folder.mkdir(parents=True, exist_ok=True)
    trainer = LinearAce()
    trained = trainer.parse(asked, folder, execute(trainer.prepare(asked, folder), folder))
    assert isinstance(trained, Trained), trained
    return trained
