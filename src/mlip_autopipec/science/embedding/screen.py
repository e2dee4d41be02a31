"""Which buffer atoms are unphysical: what DFT says of those is not learned.

A periodic cutout is a crystal of its own and DFT of it is exact, so a buffer atom that merely
differs from the parent's teaches as much as any other. What must not be learned is what no parent
would show: atoms pressed onto each other, forces beyond the parent's, surroundings of which the
potential knows less than of the worst place of the parent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from mlip_autopipec.science.embedding.model import FloatArray, IntArray

__all__ = ["ForceErrors", "Screen"]

ForceErrors = Callable[[Atoms], FloatArray]
"""Predicted standard error of a force component on each atom of a structure, (n,) eV/Å."""


@dataclass(frozen=True)
class Screen:
    """Limits to what a buffer atom may be: no neighbour nearer than ``distance_a``, no force above
    ``force_ev_per_a``, no predicted error above ``error_ev_per_a`` (by ``force_errors``, where
    given).
    """

    distance_a: float
    force_ev_per_a: float
    error_ev_per_a: float = float("inf")
    force_errors: ForceErrors | None = None

    def beyond(self, atoms: Atoms, forces: FloatArray, buffer: IntArray) -> IntArray:
        """The atoms of ``buffer`` beyond a limit, by the current potential's ``forces`` (n, 3)."""
        bad = np.linalg.norm(forces, axis=1) > self.force_ev_per_a
        bad[neighbor_list("i", atoms, self.distance_a)] = True
        if self.force_errors is not None:
            bad |= ~(self.force_errors(atoms) <= self.error_ev_per_a)
        found: IntArray = buffer[bad[buffer]]
        return found
