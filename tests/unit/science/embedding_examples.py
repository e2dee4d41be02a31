"""Crystals to cut from, and a pair potential that grades its own atoms."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list

from mlip_autopipec.science.embedding import Cutout, cut

__all__ = ["CRYSTALS", "REPEATS", "Graded", "cut_one", "one_hot"]

CRYSTALS = {
    "diamond": bulk("Si", "diamond", 5.47, cubic=True),
    "fcc": bulk("Al", "fcc", 4.04, cubic=True),
    "bcc": bulk("Fe", "bcc", 2.83, cubic=True),
    "hcp": bulk("Mg", "hcp", 3.2, 5.2),
    "rocksalt": bulk("NaCl", "rocksalt", 5.64, cubic=True),
}
REPEATS = {"diamond": 2, "fcc": 3, "bcc": 4, "hcp": 4, "rocksalt": 3}


def one_hot(n: int, atom: int, value: float = 9.0) -> np.ndarray:
    gamma = np.full(n, 0.5)
    gamma[atom] = value
    return gamma


def cut_one(parent: Atoms, atom: int, **changes: Any) -> Cutout:
    options: dict[str, Any] = {
        "gamma_select": 2.0,
        "max_atoms": 32,
        "core_radius_a": 3.0,
        "buffer_a": 1.6,
        "environment_a": 3.0,
        "min_atoms": 1,
    }
    found = cut(parent, one_hot(len(parent), atom), **(options | changes))
    assert len(found) == 1
    assert isinstance(found[0], Cutout), found[0]
    return found[0]


class Graded(Calculator):  # type: ignore[misc]
    """Lennard-Jones whose gamma and local energies depend on the neighbours within its cutoff
    alone.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "energies"]

    def __init__(self, cutoff_a: float, sigma_a: float) -> None:
        super().__init__()
        self.pair = LennardJones(
            sigma=sigma_a, epsilon=0.2, rc=cutoff_a, smooth=True, ro=0.8 * cutoff_a
        )
        self.cutoff_a = cutoff_a

    def calculate(self, atoms: Atoms, properties: Any, system_changes: Any) -> None:
        super().calculate(atoms, properties, system_changes)
        self.pair.calculate(atoms, properties, system_changes)
        i, d = neighbor_list("id", atoms, self.cutoff_a)
        gamma = np.bincount(i, weights=np.exp(-d), minlength=len(atoms)) * 20
        self.results = {**self.pair.results, "gamma": gamma}
