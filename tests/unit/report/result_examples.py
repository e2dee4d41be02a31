"""A small finished campaign for the tests of the result folder and the report: copper by
effective-medium theory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import Label, LabelJob, LabelledStructure, PotentialRef
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Outcome, Task, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.report.findings import Findings
from mlip_autopipec.report.rows import (
    ConditionReached,
    ConditionRow,
    Cure,
    ExpectedCost,
    FailureRow,
    Screen,
)
from mlip_autopipec.report.timeline import TimelineRow
from mlip_autopipec.science.baseline import save_baseline
from mlip_autopipec.science.hit_rate import HitRate
from mlip_autopipec.science.judgement import JudgedErrors
from mlip_autopipec.science.predictions import Predicted, Predictions, prediction
from mlip_autopipec.science.properties.equation_of_state import strained_cells
from mlip_autopipec.science.properties.port import PropertyValue
from mlip_autopipec.science.stopping import ConditionProgress, Limits, Progress, judge
from mlip_autopipec.testing import GradedEmt, SimulatedTrainer


class Softened(GradedEmt):
    """Effective-medium theory with every energy scaled by 0.9: the same volume, nine tenths of the
    bulk modulus.
    """

    def calculate(self, atoms: Atoms | None = None, *args: Any, **kwargs: Any) -> None:
        super().calculate(atoms, *args, **kwargs)
        self.results["energy"] *= 0.9


class SoftTrainer(SimulatedTrainer):
    def calculator(self, potential: Path) -> Calculator:
        return Softened()


class FlatTrainer(SimulatedTrainer):
    """Its potential knows no binding: the energy only falls with the volume."""

    def calculator(self, potential: Path) -> Calculator:
        return LennardJones(epsilon=0.0)


def labelled(
    name: str, atoms: Atoms, strategy: str, core: tuple[int, ...] | None = None
) -> LabelledStructure:
    work = atoms.copy()
    work.calc = EMT()
    label = Label(
        work.get_potential_energy(), work.get_forces(), work.get_stress(), "method", 9, 1.0
    )
    return LabelledStructure(
        name, atoms, label, Provenance(strategy, f"group-{name}", {"sigma": 0.1}, seed=3), core
    )


def rattled(count: int, repeat: int = 1) -> list[Atoms]:
    rng = np.random.default_rng(5)
    cells = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True) * repeat
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
        cells.append(atoms)
    return cells


def predictions_of(items: Sequence[LabelledStructure], noise: float) -> tuple[Predicted, ...]:
    rng = np.random.default_rng(9)
    return tuple(
        prediction(
            item,
            item.label.energy_ev + len(item.atoms) * 0.1 * noise * rng.normal(),
            item.label.forces + noise * rng.normal(size=item.label.forces.shape),
            np.ones(len(item.atoms)),
        )
        for item in items
    )


LATTICE = PropertyValue("lattice_constant_a", "lattice constant", "Å", 0.005, 3.592, 3.590)


def validation() -> Json:
    volumes = np.linspace(10.8, 12.6, 7)
    dft = 0.5 * 0.6 / 11.6 * (volumes - 11.6) ** 2
    fit = {"energy_ev_per_atom": 0.0, "bulk_modulus_derivative": 4.5, "residual_mev_per_atom": 0.01}
    return {
        "lattice_constant_a": {"potential": 3.592, "dft": 3.590},
        "bulk_modulus_gpa": {"potential": 128.0, "dft": 134.6},
        "eos": {
            "volumes_a3_per_atom": volumes.tolist(),
            "dft_ev_per_atom": dft.tolist(),
            "potential_ev_per_atom": (dft + 0.001).tolist(),
            "fits": {
                "dft": {**fit, "volume_a3_per_atom": 11.57, "bulk_modulus_gpa": 134.6},
                "potential": {**fit, "volume_a3_per_atom": 11.59, "bulk_modulus_gpa": 128.0},
            },
        },
    }


def metrics(energy: float, force: float) -> Json:
    return {"energy_rmse_mev_per_atom": energy, "force_rmse_mev_per_a": force, "n_structures": 3}


def judged(name: str, energy: float, force: float) -> JudgedErrors:
    """Errors with intervals of a third to either side."""
    return JudgedErrors(
        name=name,
        n=6,
        energy_rmse_mev_per_atom=energy,
        energy_rmse_mev_per_atom_low=energy / 1.5,
        energy_rmse_mev_per_atom_high=energy * 1.5,
        force_rmse_mev_per_a=force,
        force_rmse_mev_per_a_low=force / 1.2,
        force_rmse_mev_per_a_high=force * 1.2,
    )


def screen(**changes: Any) -> Screen:
    """What the surrogate's screen was worth; ``changes`` of its hit rate."""
    found = HitRate(
        n_accepted=8,
        n_hits=7,
        n_audited=1,
        n_false_rejections=0,
        energy_rmse_mev_per_atom=14.2,
        force_rmse_mev_per_a=211.0,
        force_correlation=0.934,
        geometry_only=False,
        reason="",
    )
    return Screen(
        surrogate="chgnet",
        model=None,
        proposed=60,
        accepted=51,
        geometry_only=False,
        hit_rate=replace(found, **changes),
    )


def campaign(root: Path, **changes: Any) -> Findings:
    """Eight whole cells (two of them held out), three cutouts, seven points of an equation of
    state, two potentials.
    """
    whole = [labelled(f"label-{i}", atoms, "rattle") for i, atoms in enumerate(rattled(8))]
    cutouts = [
        labelled(f"label-c{i}", atoms, "cutout", tuple(range(5 + i)))
        for i, atoms in enumerate(rattled(3, repeat=2))
    ]
    eos = [
        labelled(f"label-e{i}", atoms, "equation_of_state")
        for i, atoms in enumerate(
            strained_cells(bulk("Cu"), [-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06])
        )
    ]
    potentials = []
    for number, (energy, force) in enumerate([(9.1, 150.0), (3.2, 71.5)]):
        folder = root / f"potentials/00{number}-abc"
        found = {
            "train": metrics(energy / 2, force / 2),
            "test": metrics(energy, force),
            "gamma_train_max": 1.0,
            "limits": {"limited_by": "capacity"},
            "conditions": [judged("300K", energy, force).to_json()],
            "kinds": [judged("rattle", energy, force).to_json()],
        }
        potentials.append(
            PotentialRef(
                folder.name, f"potentials/{folder.name}", "linear", ("Cu",), 6 + number, found
            )
        )
        folder.mkdir(parents=True, exist_ok=True)
        for name in registry.trainer("linear").files():
            (folder / name).write_text(f"{name} of {folder.name}\n")
        save_baseline(None, folder)
        write_json(folder / "metrics.json", found)
        write_json(
            folder / "predictions.json",
            Predictions(
                train=predictions_of([*whole[:6], *cutouts], 0.03),
                test=predictions_of(whole[6:], 0.06),
            ).to_json(),
        )
    reached = judged("300K", 3.2, 71.5)
    conditions = (
        ConditionProgress("300K", True, errors=reached),
        ConditionProgress("900K", False),
    )
    verdict = judge(
        Progress("001-abc", conditions, (LATTICE,), (True, "passed the release gate")),
        Limits(energy_rmse_mev_per_atom=5.0, force_rmse_mev_per_a=100.0),
    )
    rng = np.random.default_rng(1)
    values: Json = {
        "end_state": "budget_exhausted",
        "reason": "20 of 20 DFT calls used",
        "wall_s": 1500.0,
        "dft_calls": 20,
        "potentials": tuple(potentials),
        "published_at": {"000-abc": 1000.0, "001-abc": 2000.0},
        "swaps": 2,
        "cutouts": 3,
        "validation": validation(),
        "train": (*whole, *cutouts),
        "validate": tuple(eos),
        "audit": (labelled("label-a0", rattled(9)[8], "rattle"),),
        "screen": screen(),
        "failures": (
            FailureRow(
                kind="scf_not_converged",
                met=2,
                tasks=1,
                healed=1,
                core_hours_lost=0.04,
                message="convergence NOT achieved after 100 iterations <stopping>",
                cures=(Cure(cure="mixing_beta=0.3", tried=2, worked=1),),
            ),
            FailureRow(kind="geometry", met=1, tasks=1, quarantined=1, message="atoms overlap"),
        ),
        "gamma": {
            "000-abc": rng.lognormal(1.5, 0.8, 60).tolist(),
            "001-abc": rng.lognormal(0.4, 0.5, 80).tolist(),
        },
        "timeline": (
            TimelineRow("generate", 5000.0, 5120.0),
            TimelineRow("label", 5120.0, 5420.0),
            TimelineRow("label", 5120.0, 5300.0, ok=False),
            TimelineRow("label", 5310.0, 5480.0),
            TimelineRow("train", 5360.0, 5600.0),
            TimelineRow("explore", 5540.0, 6200.0, waits=((5700.0, 5900.0),)),
            TimelineRow("harvest", 5700.0, 5730.0),
            TimelineRow("label", 5730.0, 6090.0),
            TimelineRow("train", 6090.0, 6330.0),
            TimelineRow("validate", 6330.0, 6350.0),
        ),
        "core_hours": {"label": 0.28, "train": 0.13, "explore": 0.18},
        "expected": ExpectedCost(dft_calls=18, wall_minutes=31.0, label_cost=1.25),
        "conditions": (
            ConditionRow(
                name="300K",
                state="explored",
                clean_ps=2.0,
                ps=4.5,
                gamma_max=2.9,
                potential="001-abc",
            ),
            ConditionRow(
                name="900K",
                state="waiting",
                clean_ps=0.4,
                ps=3.0,
                gamma_max=14.0,
                potential="001-abc",
            ),
        ),
        "reached": (
            ConditionReached(**reached.to_json(), explored=True, frames=40),
            ConditionReached(name="900K", n=0, frames=40, unknown=7),
        ),
        "checks": verdict,
        "ground_state": bulk("Cu", cubic=True),
        "versions": {"pw.x": "6.7"},
    }
    return Findings(**{**values, **changes})


def validation_spec(
    root: Path, plan: Plan, strains: Sequence[float], crystal: Atoms | None = None
) -> TaskSpec:
    """Attempt folders of finished label tasks, and the spec of a ``validate`` task that needs
    them.
    """
    inputs = {}
    for atoms in strained_cells(bulk("Cu") if crystal is None else crystal, list(strains)):
        job = LabelJob(atoms, plan.dft.label_method())
        candidate = Candidate(atoms, Provenance("equation_of_state", "eos"), forced=True)
        task = Task(
            "label", {"candidate": candidate.to_json(), "job": job.to_json(), "purpose": "validate"}
        )
        folder = root / "tasks" / task.id / "attempt-1"
        folder.mkdir(parents=True)
        work = atoms.copy()
        work.calc = EMT()
        label = Label(
            work.get_potential_energy(),
            work.get_forces(),
            work.get_stress(),
            job.method_hash,
            8,
            0.1,
        )
        write_json(folder / "spec.json", TaskSpec(task, 1, str(root), task.payload).to_json())
        write_json(folder / "outcome.json", Outcome(label.to_json()).to_json())
        inputs[task.id] = str(folder.relative_to(root))
    payload = {"potential": "potentials/001-abc", "eos_labels": list(inputs)}
    return TaskSpec(Task("validate", payload, tuple(inputs)), 1, str(root), payload, inputs)
