"""Fits of ``dft_savings.py`` and what judges them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from savings_arms import TIMESTEP_FS, Arm, Dynamics, Run, Teacher

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import PREDICTIONS, Trained, TrainJob
from mlip_autopipec.science.judgement import ON_POLICY, judged, unseen
from mlip_autopipec.science.predictions import Predictions

TRAINER = "linear"
FIRST = 8
EQUILIBRATION_PS, APART_PS = 1.0, 0.5
CHECK_STEPS, MOST_FORCE_EV_PER_A = 10, 50.0
HELD_OUT_FOLDS = 3


@dataclass(frozen=True)
class Targets:
    energy_mev_per_atom: float
    force_mev_per_a: float


@dataclass(frozen=True)
class Point:
    """A fit and its errors on policy; None where its MD did not hold, and ``why``."""

    labels: int
    calls: int
    energy_mev_per_atom: float | None = None
    force_mev_per_a: float | None = None
    why: str = ""

    def reached(self, targets: Targets) -> bool:
        energy, force = self.energy_mev_per_atom, self.force_mev_per_a
        return (
            energy is not None
            and force is not None
            and energy <= targets.energy_mev_per_atom
            and force <= targets.force_mev_per_a
        )


# ----- fits and their judge


def fit(
    plan: Plan,
    train: Sequence[LabelledStructure],
    folder: Path,
    test: Sequence[LabelledStructure] = (),
) -> Trained | Failure:
    trainer = registry.trainer(TRAINER)
    job = TrainJob(
        elements=plan.material.elements,
        train=tuple(train),
        test=tuple(test),
        settings=plan.training.settings_of(TRAINER),
        seed=1,
        masked_energy_weight=plan.embedding.energy_weight,
    )
    return trainer.parse(job, folder, run_prepared(trainer.prepare(job, folder), folder))


def own_frames(calculator: Calculator, start: Atoms, kelvin: float, frames: int) -> list[Atoms]:
    """Frames of MD by the potential; fewer where it explodes."""
    dynamics = Dynamics(start, calculator, kelvin, seed=99)
    found: list[Atoms] = []
    every = round(1e3 * APART_PS / TIMESTEP_FS)
    before = round(1e3 * EQUILIBRATION_PS / TIMESTEP_FS)
    for step in range(CHECK_STEPS, before + frames * every + 1, CHECK_STEPS):
        frame = dynamics.run(CHECK_STEPS)
        largest = np.abs(dynamics.atoms.get_forces()).max()
        hot = dynamics.atoms.get_temperature() > 10 * kelvin
        if not np.isfinite(frame.positions).all() or hot or not largest < MOST_FORCE_EV_PER_A:
            return found
        if step > before and (step - before) % every == 0:
            found.append(frame)
    return found


@dataclass(frozen=True)
class Judge:
    plan: Plan
    teacher: Teacher
    start: Atoms
    kelvin: float
    frames: int

    def point(self, arm: Arm, count: int) -> Point:
        """The arm at so many labels."""
        calls = arm.calls(count)
        with tempfile.TemporaryDirectory() as folder:
            trained = fit(self.plan, arm.labels(count), Path(folder))
            if isinstance(trained, Failure):
                return Point(count, calls, why=trained.message)
            calculator = registry.trainer(TRAINER).calculator(trained.folder)
        frames = own_frames(calculator, self.start, self.kelvin, self.frames)
        if len(frames) < self.frames:
            return Point(count, calls, why="its MD exploded")
        energies, forces = [], []
        for frame in frames:
            truth = self.teacher.label(frame, "frame", "judge", "judge")
            if truth is None:
                return Point(count, calls, why="its MD fell apart")
            frame.calc = calculator
            energies.append((frame.get_potential_energy() - truth.label.energy_ev) / len(frame))
            forces.append(frame.get_forces() - truth.label.forces)
        return Point(count, calls, _milli_rms(energies), _milli_rms(forces))


def _milli_rms(values: Sequence[float] | Sequence[np.ndarray]) -> float:
    return 1e3 * float(np.sqrt(np.mean(np.square(values))))


def curve(judge: Judge, arm: Arm, targets: Targets, first: int, most: int) -> list[Point]:
    """By doubling, until the targets are reached, and once between the last two."""
    points: list[Point] = []
    most = min(most, arm.most)
    count = min(first, most)
    while True:
        points.append(judge.point(arm, count))
        told(arm.name, points[-1])
        if points[-1].reached(targets) or count == most:
            break
        count = min(2 * count, most)
    if points[-1].reached(targets) and len(points) > 1:
        between = round(np.sqrt(points[-2].labels * points[-1].labels))
        points.insert(-1, judge.point(arm, between))
        told(arm.name, points[-2])
    return points


def told(arm: str, point: Point) -> None:
    errors = (
        f"{point.energy_mev_per_atom:6.1f} meV/atom {point.force_mev_per_a:5.0f} meV/Å"
        if point.energy_mev_per_atom is not None
        else point.why
    )
    print(f"  {arm:14s} {point.labels:4d} labels {point.calls:5d} calls  {errors}", flush=True)


def first_to_reach(points: Sequence[Point], targets: Targets) -> Point | None:
    return next((point for point in points if point.reached(targets)), None)


# ----- a run with real DFT


def judged_by_itself(run: Run, targets: Targets) -> list[Point]:
    """Errors on the run's own on-policy labels at 8, 16, 32 ... labels, each group held out of the
    fit that predicts it.
    """
    items = [item for item, _ in run.labels]
    drawn = [i for i in items if i.provenance.parameters.get("picked") == ON_POLICY]
    groups = sorted({item.provenance.group for item in drawn})
    if len(groups) < 2:
        raise SystemExit("fewer than two groups of on-policy labels: nothing can be held out")
    folds = [set(groups[k::HELD_OUT_FOLDS]) for k in range(min(HELD_OUT_FOLDS, len(groups)))]
    counts = [FIRST * 2**k for k in range(20) if FIRST * 2**k < len(items)]
    points = []
    for count in [*counts, len(items)]:
        rows, why = [], ""
        for fold in folds:
            test = [item for item in drawn if item.provenance.group in fold]
            train = [item for item in items[:count] if item.provenance.group not in fold]
            with tempfile.TemporaryDirectory() as folder:
                trained = fit(run.plan, train, Path(folder), test)
                if isinstance(trained, Failure):
                    why = trained.message
                    break
                found = Predictions.from_json(read_json(trained.folder / PREDICTIONS)).test
            item_of = {item.name: item for item in test}
            rows += [unseen(item_of[row.name], row) for row in found]
        errors = None if why else judged("on policy", rows)
        points.append(
            Point(
                count,
                run.labels[count - 1][1],
                None if errors is None else errors.energy_rmse_mev_per_atom,
                None if errors is None else errors.force_rmse_mev_per_a,
                why,
            )
        )
        told("this product", points[-1])
        if errors is not None:
            print(
                f"  {'':14s} 90 %: {errors.energy_rmse_mev_per_atom_low:.1f}-"
                f"{errors.energy_rmse_mev_per_atom_high:.1f} meV/atom,"
                f" {errors.force_rmse_mev_per_a_low:.0f}-"
                f"{errors.force_rmse_mev_per_a_high:.0f} meV/Å on {errors.n} frames",
                flush=True,
            )
    return points
