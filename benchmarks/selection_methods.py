"""Selectors against chance at equal numbers of labels, on two systems: silicon and Al-Cu.

``OMP_NUM_THREADS=1 python benchmarks/selection_methods.py [--small] [--system Si|AlCu] [--data
FOLDER]``. A pool of crystal (thermal, strained), defects and melt is labelled once by CHGNet, a
pretrained potential (kept in FOLDER, reused by a later call). For each of five seeds a random fifth
is held out, each selector picks from the rest, and the linear ACE of the product is fitted to its
picks: same basis, weights and ridge; only the design matrix is computed once for all. Prints the
median root mean square errors on the held-out set, and a verdict at 100 labels: the ratio to random
of the same seed. Figures in brackets are of the calmer half of the held-out set (largest force
below the median), which is where lattice constants and phonons are decided. Labels of DFT would
cost thousands of core-hours; how selectors compare does not hang on them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from numpy.typing import NDArray

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.train.pacemaker.config import basis_spec
from mlip_autopipec.engines.train.pacemaker.data import (
    fit_rows,
    reference_energies,
    reference_sum,
    to_dataframe,
)
from mlip_autopipec.engines.train.pacemaker.projections import AceProjections
from mlip_autopipec.science.fingerprints import Soap
from mlip_autopipec.science.selection import select

FloatArray = NDArray[np.float64]
BUDGETS = (50, 100, 200, 400)
JUDGED_AT = 100
CUTOFF_A, KAPPA, RIDGE = 5.5, 0.003, 3e-7
FUNCTIONS = {"Si": 500, "AlCu": 250}  # with 150 and 100 no selector is better than another


@dataclass(frozen=True)
class Size:
    """How much is done. ``md_steps`` of 2 fs for each of the trajectories."""

    static: int
    md_steps: int
    every: int
    budgets: tuple[int, ...]
    seeds: int


FULL = Size(static=900, md_steps=2500, every=20, budgets=BUDGETS, seeds=5)
SMALL = Size(static=60, md_steps=60, every=6, budgets=(10, 20), seeds=2)


def strained(atoms: Atoms, rng: np.random.Generator, volume: float, shear: float) -> Atoms:
    strain = rng.normal(scale=shear, size=(3, 3))
    matrix = (np.eye(3) + (strain + strain.T) / 2) * (1 + rng.uniform(-volume, volume)) ** (1 / 3)
    atoms.set_cell(atoms.cell.array @ matrix, scale_atoms=True)
    return atoms


def silicon(rng: np.random.Generator, count: int) -> Iterator[Atoms]:
    """Diamond, strained and rattled (two thirds of ``count``), with a vacancy or interstitial (a
    third).
    """
    for number in range(count):
        atoms = bulk("Si", cubic=True, a=5.45) * (1, 1, 2)
        if number % 3 == 2:
            if rng.random() < 0.5:
                del atoms[int(rng.integers(16))]
            else:
                atoms += Atoms("Si", [np.array([0.5, 0.5, 0.25]) @ atoms.cell.array])
        strained(atoms, rng, 0.12, 0.02)
        atoms.positions += rng.normal(
            scale=rng.choice([0.03, 0.08, 0.16]), size=atoms.positions.shape
        )
        yield atoms


def aluminium_copper(rng: np.random.Generator, count: int) -> Iterator[Atoms]:
    """Random fcc alloys (half), ordered cells (L1_2, L1_0, B2), and fcc with a vacancy; strained
    and rattled.
    """
    for number in range(count):
        kind = number % 4
        atoms = bulk("Al", "fcc", a=3.85, cubic=True) * (1, 2, 2)
        if kind == 0:
            atoms = bulk("CuAl", "cesiumchloride", a=2.97) * (2, 2, 2)
        elif kind == 1:
            corner = (np.round(atoms.get_scaled_positions() * [1, 2, 2] * 2).astype(int) % 2).sum(
                axis=1
            ) == 0
            atoms.numbers[corner if rng.random() < 0.5 else ~corner] = 29
        else:
            atoms.numbers[rng.permutation(16)[: rng.integers(0, 17)]] = 29
        if number % 8 == 7:
            del atoms[int(rng.integers(len(atoms)))]
        atoms.set_cell(
            atoms.cell.array * (1 - 0.03 * (atoms.numbers == 29).mean()), scale_atoms=True
        )
        strained(atoms, rng, 0.12, 0.02)
        atoms.positions += rng.normal(
            scale=rng.choice([0.03, 0.08, 0.16]), size=atoms.positions.shape
        )
        yield atoms


def melts(system: str, rng: np.random.Generator) -> list[tuple[Atoms, float]]:
    """Start cells of the trajectories and their temperatures in K: one hot crystal, two melts."""
    if system == "Si":
        cell = bulk("Si", cubic=True, a=5.45) * (1, 1, 2)
        return [
            (cell.copy(), 1200.0),
            (cell.copy(), 3500.0),
            (strained(cell.copy(), rng, 0.1, 0.05), 5000.0),
        ]
    cells = []
    for copper, temperature in ((4, 800.0), (8, 2500.0), (12, 3500.0)):
        atoms = bulk("Al", "fcc", a=3.85, cubic=True) * (1, 2, 2)
        atoms.numbers[rng.permutation(16)[:copper]] = 29
        cells.append((atoms, temperature))
    return cells


STATIC: dict[str, Callable[[np.random.Generator, int], Iterator[Atoms]]] = {
    "Si": silicon, "AlCu": aluminium_copper,
}  # fmt: skip


def labelled(system: str, size: Size, folder: Path) -> list[Atoms]:
    """The pool with energies and forces of CHGNet, from the file of an earlier call if there is
    one.
    """
    file = folder / f"{system}-{size.static}-{size.md_steps}.xyz"
    if not file.is_file():
        calculator = registry.surrogate("chgnet").calculator()
        rng = np.random.default_rng(7)
        frames = [_with_label(atoms, calculator) for atoms in STATIC[system](rng, size.static)]
        for atoms, temperature in melts(system, rng):
            frames += _trajectory(atoms, temperature, calculator, size, rng)
        folder.mkdir(parents=True, exist_ok=True)
        ase.io.write(folder / "partial.xyz", frames, format="extxyz")
        (folder / "partial.xyz").rename(file)
    frames = ase.io.read(file, index=":")
    # What no screen would let through: pressed together until the forces say nothing about matter.
    return [atoms for atoms in frames if np.abs(atoms.info["forces_max"]) < 25.0]


def _with_label(atoms: Atoms, calculator: Calculator) -> Atoms:
    own = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    calculator.calculate(own, ["energy", "forces"])
    forces = calculator.results["forces"].copy()
    own.info = {
        "label_energy": float(calculator.results["energy"]),
        "forces_max": float(np.abs(forces).max()),
    }
    own.arrays["label_forces"] = forces
    return own


def _trajectory(
    atoms: Atoms, temperature_k: float, calculator: Calculator, size: Size, rng: np.random.Generator
) -> list[Atoms]:
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature_k, rng=rng)
    dynamics = Langevin(
        atoms,
        2 * units.fs,
        temperature_K=temperature_k,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=rng,
    )
    frames = []
    for _ in range(size.md_steps // size.every):
        dynamics.run(size.every)
        frames.append(_with_label(atoms, calculator))
    return frames


class Fits:
    """Linear ACE fits to any part of a pool, from one design matrix."""

    def __init__(self, system: str, pool: Sequence[Atoms]) -> None:
        from pyace import create_multispecies_basis_config
        from pyace.linearacefit import LinearACEDataset

        self.elements = sorted(
            {symbol for atoms in pool for symbol in atoms.get_chemical_symbols()}
        )
        self.items = [
            LabelledStructure(
                str(number),
                Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True),
                Label(
                    atoms.info["label_energy"],
                    atoms.arrays["label_forces"],
                    np.zeros(6),
                    "chgnet",
                    1,
                    0.0,
                ),
                Provenance("benchmark", str(number)),
            )
            for number, atoms in enumerate(pool)
        ]
        self.sizes = np.array([len(item.atoms) for item in self.items])
        spec = basis_spec(self.elements, FUNCTIONS[system], CUTOFF_A, linear=True)
        rows = fit_rows(self.items, dict.fromkeys(self.elements, 0.0), 0.0)
        dataset = LinearACEDataset(create_multispecies_basis_config(spec), to_dataframe(rows))
        dataset.construct_design_matrix(max_workers=1)
        self.energy_rows = np.array(dataset.get_design_matrix()[: len(self.items)])
        self.force_rows = np.array(dataset.get_design_matrix()[len(self.items) :])
        self.first = np.concatenate([[0], np.cumsum(3 * self.sizes)])
        self.forces = np.concatenate([item.label.forces.ravel() for item in self.items])
        largest = np.array([np.abs(item.label.forces).max() for item in self.items])
        self.calm = largest < np.median(largest)

    def _force_index(self, picks: Sequence[int]) -> NDArray[np.intp]:
        return np.concatenate([np.arange(self.first[i], self.first[i + 1]) for i in picks])

    def errors(self, train: Sequence[int], test: Sequence[int]) -> tuple[float, ...]:
        """Root mean square errors of the fit to ``train``: energy (meV/atom) and force (meV/Å) on
        ``test``, then both on its calm part.
        """
        items = [self.items[i] for i in train]
        references = reference_energies(items, self.elements, CUTOFF_A)
        rows = fit_rows(items, references, 0.0)
        own = self._force_index(train)
        design = np.concatenate([self.energy_rows[list(train)], self.force_rows[own]])
        target = np.concatenate(
            [np.array(rows.energies_ev) / self.sizes[list(train)], self.forces[own]]
        )
        weights = np.concatenate(
            [
                (1 - KAPPA) * rows.energy_weights,
                KAPPA * np.repeat(np.concatenate(rows.force_weights), 3),
            ]
        )
        root = np.sqrt(weights)
        scale = np.linalg.norm(design * root[:, None], axis=0).clip(1e-12)
        scaled = design * root[:, None] / scale
        damped = scaled.T @ scaled + RIDGE * np.linalg.norm(scaled, 2) ** 2 * np.eye(len(scale))
        coefficients = np.linalg.solve(damped, scaled.T @ (root * target)) / scale
        calm = [i for i in test if self.calm[i]]
        return (
            *self._rmse(coefficients, references, test),
            *self._rmse(coefficients, references, calm),
        )

    def _rmse(
        self, coefficients: FloatArray, references: dict[str, float], test: Sequence[int]
    ) -> tuple[float, float]:
        truth = [
            self.items[i].label.energy_ev - reference_sum(self.items[i].atoms, references)
            for i in test
        ]
        energy = (
            self.energy_rows[list(test)] @ coefficients - np.array(truth) / self.sizes[list(test)]
        )
        others = self._force_index(test)
        force = self.force_rows[others] @ coefficients - self.forces[others]
        return 1000 * float(np.sqrt(np.mean(energy**2))), 1000 * float(np.sqrt(np.mean(force**2)))


class Described:
    """Fingerprints of the whole pool; selectors see the rows of a part of it."""

    def __init__(self, items: Sequence[LabelledStructure], elements: Sequence[str]) -> None:
        soap, ace, local = Soap(elements), AceProjections(elements), Soap(elements, max_columns=64)
        self.soap = np.array([soap(item.atoms).mean(axis=0) for item in items], dtype=np.float32)
        self.ace = np.array([ace(item.atoms).mean(axis=0) for item in items])
        self.atoms = [local(item.atoms).astype(np.float32) for item in items]


Selector = Callable[[Described, Sequence[int], int, np.random.Generator], Sequence[int]]


def _plain(method: str, share: float = 0.0) -> Selector:
    def pick(
        described: Described, part: Sequence[int], count: int, rng: np.random.Generator
    ) -> Sequence[int]:
        rows = (described.ace if method == "d_optimal" else described.soap)[list(part)]
        starts = None
        if method == "environments":
            own = [described.atoms[i] for i in part]
            rows, starts = np.concatenate(own), np.cumsum([0, *map(len, own)])
        picked = select(rows, count, rng, method=method, random_fraction=share, starts=starts)  # type: ignore[arg-type]
        return [part[i] for i in picked.all]

    return pick


def _rounds(
    described: Described, part: Sequence[int], count: int, rng: np.random.Generator
) -> Sequence[int]:
    """Two rounds: clusters, then farthest points from them with a third at random."""
    first = list(_plain("clusters")(described, part, count // 2, rng))
    rest = [i for i in part if i not in set(first)]
    rows = described.soap[rest]
    picked = select(
        rows, count - len(first), rng, random_fraction=1 / 3, existing=described.soap[first]
    )
    return [*first, *(rest[i] for i in picked.all)]


SELECTORS: dict[str, Selector] = {
    "random": _plain("random"),
    "fps": _plain("fps"),
    "fps + 1/3 random": _plain("fps", 1 / 3),
    "environments": _plain("environments"),
    "clusters": _plain("clusters"),
    "clusters, fps + 1/3": _rounds,
    "d_optimal": _plain("d_optimal"),
    "d_optimal + 1/3 random": _plain("d_optimal", 1 / 3),
}


def run(system: str, size: Size, folder: Path) -> dict[str, FloatArray]:
    """Selector -> errors (seeds, budgets, 4: energy, force, and both of the calm part)."""
    fits = Fits(system, labelled(system, size, folder))
    described = Described(fits.items, fits.elements)
    total = len(fits.items)
    found = {name: np.full((size.seeds, len(size.budgets), 4), np.nan) for name in SELECTORS}
    for seed in range(size.seeds):
        order = [int(i) for i in np.random.default_rng(seed).permutation(total)]
        test, part = order[: total // 5], sorted(order[total // 5 :])
        for name, selector in SELECTORS.items():
            for place, budget in enumerate(size.budgets):
                picks = selector(described, part, budget, np.random.default_rng([seed, place]))
                found[name][seed, place] = fits.errors(picks, test)
    print(
        f"\n{system}: {total} structures, {total // 5} held out at random; medians of {size.seeds}"
        " seeds"
    )
    print(
        f"{'labels':24}"
        + "".join(f"{budget:>24d}" for budget in size.budgets)
        + "   meV/atom, meV/Å (calm half)"
    )
    for name, errors in found.items():
        cells = (
            f"{e:7.1f} {f:4.0f} ({ce:4.1f} {cf:4.0f})" for e, f, ce, cf in np.median(errors, axis=0)
        )
        print(f"{name:24}" + "".join(cells), flush=True)
    return found


def verdict(system: str, found: dict[str, FloatArray], size: Size) -> list[str]:
    """Ratios to random of the same seed, at 100 labels (the largest budget of a small run)."""
    place = size.budgets.index(JUDGED_AT) if JUDGED_AT in size.budgets else len(size.budgets) - 1
    lines = [
        f"{system} at {size.budgets[place]} labels, error relative to random: energy, force, calm"
        " energy, calm force (seeds where lower)"
    ]
    for name, errors in found.items():
        if name != "random":
            ratio = errors[:, place] / found["random"][:, place]
            means, won = np.exp(np.log(ratio).mean(axis=0)), (ratio < 1).sum(axis=0)
            cells = (
                f"{mean:.2f} ({wins}/{len(ratio)})" for mean, wins in zip(means, won, strict=True)
            )
            lines.append(f"  {name:24} " + "  ".join(cells))
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--small",
        action="store_true",
        help="a minute, to see that it works; the numbers mean nothing",
    )
    parser.add_argument("--system", choices=list(STATIC), action="append", help="only this one")
    parser.add_argument(
        "--data", type=Path, default=Path("selection-data"), help="folder of the labelled pools"
    )
    options = parser.parse_args()
    size = SMALL if options.small else FULL
    lines: list[str] = []
    for system in options.system or list(STATIC):
        lines += verdict(system, run(system, size, options.data), size)
    print("\n" + "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
