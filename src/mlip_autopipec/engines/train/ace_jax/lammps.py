"""These potentials inside LAMMPS, by its neighbour list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.md.lammps.evaluators import Forces
from mlip_autopipec.engines.train.ace_jax.neighbours import padded, rounded, species_of
from mlip_autopipec.engines.train.ace_jax.potential import Potential

__all__ = ["AceJaxEvaluator"]


class AceJaxEvaluator:
    """A potential folder ready for LAMMPS (see ``engines.md.lammps.evaluators``)."""

    def __init__(self, folder: Path, elements: Sequence[str]) -> None:
        self._potential = Potential(folder)
        self._species = species_of(tuple(elements), self._potential.elements)
        self.cutoff_a = self._potential.cutoff_a

    def set_neighbours(self, types: Any, origins: list[int], neighbours: list[list[int]]) -> None:
        """``types`` (index into the elements) and ``origins`` of atoms and ghosts; neighbours of
        the atoms, beyond the cutoff by LAMMPS' skin.
        """
        self._i = np.repeat(np.arange(len(neighbours)), [len(found) for found in neighbours])
        self._j = np.array([j for found in neighbours for j in found], dtype=np.int64)
        self._origins = np.asarray(origins)[self._j]
        self._kinds = self._species[np.asarray(types)[: len(neighbours)]]

    def compute(self, positions: Any, *, graded: bool) -> Forces:
        """``positions`` (atoms then ghosts, 3) in Å; gamma per atom when ``graded``."""
        vectors = np.asarray(positions)[self._j] - np.asarray(positions)[self._i]
        within = np.einsum("pa,pa->p", vectors, vectors) < self.cutoff_a**2
        near = padded(
            self._i[within], self._origins[within], vectors[within], self._kinds, self.cutoff_a
        )
        atoms = rounded(len(near), 8)
        energy, forces, strain, gamma = self._potential.compute(near, graded=graded, atoms=atoms)
        return Forces(energy, forces, _virial(strain), gamma)


def _virial(strain: FloatArray) -> FloatArray:
    """The derivative by strain as LAMMPS orders it: xx yy zz xy xz yz."""
    both = 0.5 * (strain + strain.T)
    return np.array([both[a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))])
