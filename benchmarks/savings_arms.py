"""Arms of ``dft_savings.py``: where structures come from, in which order, and what they cost in
DFT calls. A pretrained potential, the teacher, stands for DFT.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.data import covalent_radii
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS
from embedding_parents import labelled

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.campaign.events import AttemptEnded
from mlip_autopipec.campaign.labelled import labelled_structure
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.commands.generate.input import generate
from mlip_autopipec.config.derive.generation import scaled
from mlip_autopipec.config.label_plan import read_plan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.store import EventStore

TIMESTEP_FS, FRICTION_PER_FS = 2.0, 0.02
#: Blocks that a trajectory is cut into, so that neighbours in time are in one fold.
BLOCKS = 8

#: 16 atoms each, before the teacher relaxes them.
CRYSTALS: dict[str, Callable[[], Atoms]] = {
    "Si": lambda: bulk("Si", "diamond", 5.46) * (2, 2, 2),
    "Al": lambda: bulk("Al", "fcc", 4.05, cubic=True) * (2, 2, 1),
    "NaCl": lambda: bulk("NaCl", "rocksalt", 5.65) * (2, 2, 2),
}


class Teacher:
    """Labels of a pretrained potential; how often it was asked is no matter."""

    def __init__(self, name: str) -> None:
        self.calculator = calculator(name)

    def label(self, atoms: Atoms, name: str, strategy: str, group: str) -> LabelledStructure | None:
        """None where the teacher has no answer (CHGNet: a free atom)."""
        try:
            return labelled(atoms, self.calculator, name, strategy, group)
        except CalculationFailed:
            return None

    def crystal(self, material: str) -> Atoms:
        """The small cell, relaxed."""
        atoms = CRYSTALS[material]()
        atoms.calc = self.calculator
        with BFGS(FrechetCellFilter(atoms, hydrostatic_strain=True), logfile=None) as relaxation:
            relaxation.run(fmax=0.01, steps=30)
        atoms.calc = None
        return atoms


def calculator(teacher: str) -> Calculator:
    """What a campaign labels with."""
    return registry.surrogate(teacher).calculator()


class Dynamics:
    """Langevin MD at constant volume from a crystal at rest, twice as hot at first."""

    def __init__(self, start: Atoms, calculator: Calculator, kelvin: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.atoms = start.copy()
        self.atoms.calc = calculator
        MaxwellBoltzmannDistribution(self.atoms, temperature_K=2 * kelvin, rng=rng)
        self._motion = Langevin(
            self.atoms, TIMESTEP_FS * units.fs, temperature_K=kelvin,
            friction=FRICTION_PER_FS / units.fs, fixcm=False, rng=rng,
        )  # fmt: skip

    def run(self, steps: int) -> Atoms:
        """The frame after so many more steps."""
        self._motion.run(steps)
        return Atoms(
            numbers=self.atoms.numbers, positions=self.atoms.get_positions(),
            cell=self.atoms.cell, pbc=True,
        )  # fmt: skip


class Arm(Protocol):
    """``most``: labels that there are."""

    name: str
    most: int

    def labels(self, count: int) -> list[LabelledStructure]:
        """What was learned of the first ``count`` structures that were asked for."""
        ...

    def calls(self, count: int) -> int:
        """DFT calls until ``count`` structures were labelled."""
        ...


class AimdArm:
    """Frames of MD by the teacher at the asked temperature, one of ``every`` steps; every step is a
    DFT call.

    ``trajectory`` is a list that the arms of one seed share, and goes on as far as it is asked for.
    """

    def __init__(
        self, name: str, teacher: Teacher, dynamics: Dynamics, trajectory: list[Atoms],
        every: int, most: int,
    ) -> None:  # fmt: skip
        self.name, self.most, self._every = name, most, every
        self._teacher, self._dynamics, self._trajectory = teacher, dynamics, trajectory
        self._labelled: list[LabelledStructure] = []

    def labels(self, count: int) -> list[LabelledStructure]:
        while len(self._labelled) < count:
            number = (len(self._labelled) + 1) * self._every - 1
            while len(self._trajectory) <= number:
                self._trajectory.append(self._dynamics.run(1))
            item = self._teacher.label(self._trajectory[number], f"frame-{number}", "aimd", "")
            assert item is not None
            self._labelled.append(item)
        return [
            replace(item, provenance=Provenance("aimd", f"block-{BLOCKS * i // count}"))
            for i, item in enumerate(self._labelled[:count])
        ]

    def calls(self, count: int) -> int:
        return count * self._every


class ListArm:
    """Structures in a given order, a call each; ``groups``: which of them are of one family."""

    def __init__(
        self, name: str, teacher: Teacher, structures: Sequence[Atoms], groups: Sequence[str]
    ) -> None:
        self.name, self.most = name, len(structures)
        self._teacher, self._structures, self._groups = teacher, structures, groups
        self._labelled: list[LabelledStructure | None] = []

    def labels(self, count: int) -> list[LabelledStructure]:
        for number in range(len(self._labelled), count):
            atoms = self._structures[number]
            strategy = str(atoms.info.get("strategy", self.name))
            item = self._teacher.label(
                atoms, f"{self.name}-{number}", strategy, self._groups[number]
            )
            self._labelled.append(item)
        return [item for item in self._labelled[:count] if item is not None]

    def calls(self, count: int) -> int:
        return count


class RunArm:
    """A finished campaign: its labels in the order in which they came. ``calls``: the attempts at
    labels to be learned so far, and all others of the whole run (validation, audit, convergence).
    """

    name = "this product"

    def __init__(
        self, found: Sequence[tuple[LabelledStructure, int]], teacher: Teacher | None = None
    ) -> None:
        """``teacher``: labels the structures anew, instead of the run's own labels."""
        self.most = len(found)
        self._calls = [calls for _, calls in found]
        self._labelled: list[LabelledStructure | None] = []
        for item, _ in found:
            if teacher is not None:
                own = item.provenance
                label = teacher.label(item.atoms, item.name, own.strategy, own.group)
                again = None if label is None else replace(label, core=item.core, provenance=own)
                self._labelled.append(again)
            else:
                self._labelled.append(item)

    def labels(self, count: int) -> list[LabelledStructure]:
        return [item for item in self._labelled[:count] if item is not None]

    def calls(self, count: int) -> int:
        return self._calls[count - 1]


@dataclass(frozen=True)
class Run:
    """What a run folder says: ``labels`` with the DFT calls at each, and all calls."""

    plan: Plan
    labels: list[tuple[LabelledStructure, int]]
    calls: int
    end_state: str | None


def read_run(root: Path) -> Run:
    """The labels that the campaign learned, in order. The folder is left as it is, since opening
    the log of an earlier version would bring it to today's form.
    """
    plan = read_plan(root / layout.PLAN_JSON)
    if not isinstance(plan, Plan):
        raise SystemExit(f"{root}: holds labels, but no campaign")
    with tempfile.TemporaryDirectory() as folder:
        for file in root.glob(f"{layout.DATABASE}*"):
            shutil.copy(file, folder)
        store = EventStore(Path(folder) / layout.DATABASE)
        history = store.load()
        store.close()
    state, found = CampaignState(), []
    for _, event in history:
        state.apply(event)
        if isinstance(event, AttemptEnded) and event.verdict == "done":
            record = state.tasks[event.task_id]
            if record.task.kind == "label" and record.purpose == "train":
                found.append((labelled_structure(record), _learning(state)))
    others = state.dft_calls - _learning(state)
    return Run(
        plan,
        [(item, calls + others) for item, calls in found],
        state.dft_calls,
        state.end.end_state if state.end else None,
    )


def _learning(state: CampaignState) -> int:
    """Attempts so far at labels to be learned."""
    return sum(len(record.attempts) for record in state.labels("train"))


def pool(plan: Plan, count: int, folder: Path) -> list[Atoms]:
    """The product's own candidates, at least ``count`` proposed; those of an earlier call where the
    folder has them.
    """
    file = folder / "candidates.extxyz"
    if not file.is_file():
        more = plan.model_copy(update={"generation": scaled(plan.generation, count)})
        generate(more, folder, cores=1)
    found = ase.io.read(file, ":")
    assert isinstance(found, list)
    return found


def assyst_set(elements: Sequence[str], count: int, teacher: Teacher, seed: int) -> list[Atoms]:
    """Random symmetric crystals of up to 8 atoms, relaxed by volume and in full, and each relaxed
    one rattled and stretched (Poul, Huber and Neugebauer, npj Comput. Mater. 11 (2025)). Its
    relaxations cost DFT calls that are not counted here. Raises ImportError without assyst.
    """
    from assyst.crystals import Formulas, sample
    from assyst.filters import DistanceFilter
    from assyst.perturbations import Rattle, Stretch
    from assyst.relaxations import FullRelax, VolumeRelax

    formulas = Formulas.range(elements[0], 1, 9 if len(elements) == 1 else 5)
    for other in elements[1:]:
        formulas = formulas | Formulas.range(other, 1, 5)
    radii = {e: 0.7 * float(covalent_radii[Atoms(e).numbers[0]]) for e in elements}
    apart = DistanceFilter(radii)
    steps = [
        kind(max_steps=30, force_tolerance=0.05, calculator=teacher.calculator)
        for kind in (VolumeRelax, FullRelax)
    ]
    changes = [
        Rattle(0.1, create_supercells=True, rng=seed),
        Rattle(0.2, create_supercells=True, rng=seed + 1),
        Stretch(0.1, 0.05, rng=seed + 2),
        Stretch(0.2, 0.1, rng=seed + 3),
    ]
    found: list[Atoms] = []
    for number, random_crystal in enumerate(sample(formulas, shuffle=True, rng=seed)):
        try:
            relaxed = random_crystal
            family = []
            for relax in steps:
                relaxed = relax(relaxed)
                family.append(relaxed)
            family += [change(relaxed.copy()) for change in changes]
        except (CalculationFailed, ValueError, RuntimeError):
            continue  # a crystal that no relaxation could save
        for atoms in filter(apart, family):
            own = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
            own.info = {"strategy": "assyst", "name": f"crystal-{number}"}
            found.append(own)
        if len(found) >= count:
            break
    return found
