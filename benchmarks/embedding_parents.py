"""Parents of the embedding ablation, and the potential that stands for DFT there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import FIRE

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.train.pacemaker.fit_linear import LinearFit, fit_linear
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings
from mlip_autopipec.science.embedding.boxes import merge_overlaps

LATTICE_A = 5.46
NEAR_A = 5.0
FORCE_LIMIT_EV_PER_A = 50.0
FREE = {"Si": 0.0}  # the truth's energies are those of bound atoms
PARENTS = ("crystal", "vacancy", "liquid", "boundary")


def settings(functions: int, cutoff_a: float) -> FitSettings:
    return FitSettings(
        trainer="linear",
        elements=("Si",),
        cutoff_a=cutoff_a,
        functions_per_element={"Si": functions},
        max_iterations=0,
        kappa=0.01,
        seed=1,
        masked_energy_weight=0.0,
        warm_start=None,
        threads=1,
    )


def labelled(
    atoms: Atoms, calculator: Calculator, name: str, kind: str, group: str | None = None
) -> LabelledStructure:
    """A structure with what a calculator that stands for DFT says of it."""
    own = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    calculator.calculate(own, ["energy", "forces", "stress"], all_changes)
    found = calculator.results
    label = Label(
        energy_ev=float(found["energy"]),
        forces=np.array(found["forces"], dtype=float),
        stress=np.array(found["stress"], dtype=float).reshape(6),
        method_hash="truth",
        scf_steps=0,
        wall_s=0.0,
    )
    return LabelledStructure(name, own, label, Provenance(kind, group or name))


# ----- the truth


def cells_for_the_truth(rng: np.random.Generator, count: int) -> list[Atoms]:
    """Small silicon from at rest to molten, strained, some with a vacancy."""
    found = []
    for number in range(count):
        atoms = bulk("Si", "diamond", LATTICE_A, cubic=True) * (1, 1, 1 + number % 2)
        if number % 5 == 4:
            del atoms[int(rng.integers(len(atoms)))]
        strain = rng.normal(scale=0.03, size=(3, 3))
        volume = rng.uniform(0.85, 1.12) ** (1 / 3)
        matrix = (np.eye(3) + (strain + strain.T) / 2) * volume
        atoms.set_cell(atoms.cell.array @ matrix, scale_atoms=True)
        sigma = rng.choice([0.05, 0.12, 0.25, 0.4])
        atoms.positions += rng.normal(scale=sigma, size=atoms.positions.shape)
        distances = atoms.get_all_distances(mic=True)
        if distances[np.triu_indices(len(atoms), 1)].min() > 1.75:
            found.append(atoms)
    return found


def ace_of(fit: LinearFit, file: Path) -> Calculator:
    from pyace import PyACECalculator

    fit.configuration.save(str(file))
    return PyACECalculator(str(file))


def truth_of(choice: str, out: Path) -> Calculator:
    """The potential of a folder; else an ACE of labels by a surrogate, that of an earlier call
    where ``out`` has it.
    """
    if choice.startswith("ace:"):
        return registry.trainer("linear").calculator(Path(choice[4:]))
    kept = out / f"truth-{choice}.yaml"
    if kept.is_file():
        from pyace import PyACECalculator

        return PyACECalculator(str(kept))
    surrogate = registry.surrogate(choice).calculator()
    rng = np.random.default_rng(0)
    items = [
        labelled(atoms, surrogate, f"truth-{number}", "truth")
        for number, atoms in enumerate(cells_for_the_truth(rng, 200))
    ]
    items = [item for item in items if np.abs(item.label.forces).max() < 25.0]
    print(f"truth: {len(items)} cells labelled by {choice}", flush=True)
    return ace_of(fit_linear(settings(500, 5.5), items, FREE), kept)


# ----- parents and small cells


def dynamics(
    atoms: Atoms, truth: Calculator, temperature_k: float, every: int, count: int, seed: int
) -> list[Atoms]:
    """``count`` frames, one every ``every`` steps of 2 fs."""
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.calc = truth
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature_k, rng=rng)
    langevin = Langevin(
        atoms, 2 * units.fs, temperature_K=temperature_k, friction=0.02 / units.fs, fixcm=False,
        rng=rng,
    )  # fmt: skip
    frames = []
    for _ in range(count):
        langevin.run(every)
        frames.append(atoms.copy())
        if np.abs(atoms.get_forces()).max() > FORCE_LIMIT_EV_PER_A:
            raise SystemExit("the truth does not hold this structure: choose another (--truth)")
    return frames


def grain_boundary() -> Atoms:
    """Two grains of diamond silicon, mirrored at (310), 640 atoms each."""
    cubic = bulk("Si", "diamond", LATTICE_A, cubic=True) * (5, 5, 1)
    edge = LATTICE_A * np.sqrt(10.0)
    along, across = np.array([3, 1, 0]) / np.sqrt(10), np.array([-1, 3, 0]) / np.sqrt(10)
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    points = np.concatenate(
        [cubic.positions + 5 * LATTICE_A * np.array([i, j, 0]) for i, j in shifts]
    )
    turned = np.column_stack([points @ along, points @ across, points[:, 2]])
    inside = np.all((turned[:, :2] >= -1e-6) & (turned[:, :2] < edge - 1e-6), axis=1)
    grain = Atoms(
        f"Si{inside.sum()}", positions=turned[inside], cell=[edge, edge, LATTICE_A], pbc=True
    ) * (2, 1, 4)
    mirrored = grain.copy()
    mirrored.positions[:, 0] = grain.cell[0, 0] - mirrored.positions[:, 0]
    mirrored.positions[:, 0] += grain.cell[0, 0]
    both = grain + mirrored
    both.set_cell([2 * grain.cell[0, 0], edge, 4 * LATTICE_A])
    both.wrap()
    kept, _ = merge_overlaps(both, 0, 1.5)
    return both[kept]


Near = Callable[[Atoms], np.ndarray]


@dataclass(frozen=True)
class Parent:
    """``near``: which atoms of a frame are counted; ``small``: starts and temperatures of the small
    cells that stand for its condition.
    """

    name: str
    frames: list[Atoms]
    near: Near
    small: list[tuple[Atoms, float]]
    crystal: bool


def everyone(atoms: Atoms) -> np.ndarray:
    return np.ones(len(atoms), dtype=bool)


def parents(truth: Calculator, frames: int, names: Sequence[str]) -> Iterator[Parent]:
    """One after the other, as they are asked for."""
    small = bulk("Si", "diamond", LATTICE_A) * (2, 2, 2)
    hole = small.copy()
    del hole[0]
    melt = dynamics(rattled(cubic() * (1, 1, 2)), truth, 4000.0, 300, 1, 11)[0]
    cells = {
        "crystal": [(small, 900.0)],
        "vacancy": [(hole, 900.0)],
        "liquid": [(melt, 1800.0)],
        "boundary": [(small, 900.0), (hole, 900.0), (melt, 1800.0)],
    }
    for name in names:
        start, kelvin, near = start_of(name, truth)
        trajectory = dynamics(start, truth, kelvin, 100, frames + 1, 20 + PARENTS.index(name))[1:]
        label = f"{name} at {kelvin:g} K, {len(start)} atoms"
        yield Parent(label, trajectory, near, cells[name], name in ("crystal", "vacancy"))


def start_of(name: str, truth: Calculator) -> tuple[Atoms, float, Near]:
    """A parent before its dynamics, its temperature (K), and which of its atoms count."""
    large = cubic() * (3, 3, 3)
    if name == "crystal":
        return large, 900.0, everyone
    if name == "liquid":
        return dynamics(rattled(large), truth, 4000.0, 400, 1, 12)[0], 1800.0, everyone
    if name == "vacancy":
        site = large.get_scaled_positions()[100]
        del large[100]

        def by_the_hole(atoms: Atoms) -> np.ndarray:
            vectors = atoms.get_scaled_positions() - site
            vectors -= np.round(vectors)
            return np.linalg.norm(vectors @ atoms.cell.array, axis=1) < NEAR_A

        return large, 900.0, by_the_hole
    boundary = grain_boundary()
    boundary.calc = truth
    with FIRE(boundary, logfile=None, maxstep=0.1) as relaxation:
        relaxation.run(fmax=0.3, steps=80)
    half = boundary.cell[0, 0] / 2

    def by_the_boundary(atoms: Atoms) -> np.ndarray:
        return np.abs((atoms.positions[:, 0] + half / 2) % half - half / 2) < NEAR_A

    return boundary, 900.0, by_the_boundary


def cubic() -> Atoms:
    return bulk("Si", "diamond", LATTICE_A, cubic=True)


def rattled(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(0.25, seed=5)
    atoms.set_cell(atoms.cell.array * 0.97, scale_atoms=True)
    return atoms
