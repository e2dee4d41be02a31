"""A pair potential in the place of a fitted one: physics that ASE can check, grades as scripted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.lj import LennardJones

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.engines.md.lammps.evaluators import Forces

__all__ = ["PairEvaluator", "potential", "reference"]

SIGMA_A, EPSILON_EV, CUTOFF_A = 2.3, 0.3, 4.6
SCRIPT = "grades.json"


def reference() -> LennardJones:
    """The same potential by ASE."""
    return LennardJones(sigma=SIGMA_A, epsilon=EPSILON_EV, rc=CUTOFF_A)


def potential(folder: Path, grades: Sequence[float] = (0.5,), *, then: Path | None = None) -> Path:
    """A potential folder. ``grades``: extrapolation grade at each grading, the last one for ever.

    ``then``: the potential that comes into force while the last but one of them is given.
    """
    write_json(
        folder / SCRIPT, {"grades": list(grades), "then": None if then is None else str(then)}
    )
    return folder


@dataclass
class PairEvaluator:
    """Stands for :class:`AceEvaluator`: same methods, same units, the sign of its virial."""

    folder: Path
    elements: Sequence[str]
    pointer: Path | None = None
    cutoff_a: float = CUTOFF_A
    gradings: int = 0

    def set_neighbours(self, types: Any, origins: list[int], neighbours: list[list[int]]) -> None:
        self.neighbours = neighbours

    def compute(self, positions: np.ndarray, *, graded: bool) -> Forces:
        energy, virial = 0.0, np.zeros((3, 3))
        forces = np.zeros((len(self.neighbours), 3))
        for atom, others in enumerate(self.neighbours):
            apart = positions[atom] - positions[others]
            distance = np.linalg.norm(apart, axis=1)
            apart, distance = apart[distance < CUTOFF_A], distance[distance < CUTOFF_A]
            sixth = (SIGMA_A / distance) ** 6
            shift = 4 * EPSILON_EV * ((SIGMA_A / CUTOFF_A) ** 12 - (SIGMA_A / CUTOFF_A) ** 6)
            energy += 0.5 * float((4 * EPSILON_EV * (sixth**2 - sixth) - shift).sum())
            size = 24 * EPSILON_EV * (2 * sixth**2 - sixth) / distance**2
            on_atom = size[:, None] * apart
            forces[atom] = on_atom.sum(axis=0)
            virial -= 0.5 * apart.T @ on_atom
        order = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
        gamma = np.full(len(forces), self._grade()) if graded else None
        return Forces(energy, forces, np.array([virial[i, j] for i, j in order]), gamma)

    def _grade(self) -> float:
        if not (self.folder / SCRIPT).exists():
            return 0.5
        script = read_json(self.folder / SCRIPT)
        grades, then = script["grades"], script["then"]
        if then is not None and self.pointer is not None and self.gradings == len(grades) - 2:
            write_json(self.pointer, {"name": Path(then).name, "folder": then, "trainer": "linear"})
        self.gradings += 1
        return float(grades[min(self.gradings, len(grades)) - 1])
