"""Values of the embedding: a cutout that may be labelled, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.values import Json

__all__ = ["Cutout", "FloatArray", "IntArray", "Kind", "Piece", "Skipped"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Kind = Literal["whole", "crystal", "box"]


@dataclass(frozen=True)
class Piece:
    """A periodic piece of the parent before its seam and its core are looked at.

    ``parent``: (m,) index in the parent of each atom of ``atoms``; ``centre``: index in ``atoms``
    of the centre atom.
    ``image_distance_a``: shortest lattice vector of the piece, Å.
    """

    atoms: Atoms
    parent: IntArray
    centre: int
    kind: Kind
    image_distance_a: float
    notes: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Cutout:
    """A cell to be labelled.

    ``core``: indices of the atoms that see what they saw in the parent (all of them when ``kind``
    is ``whole``).
    ``unphysical``: indices of the buffer atoms that the screen refused: what DFT says of them is
    not worth learning.
    ``parent_indices``: for each atom of ``atoms`` its index in the parent. ``centre``: index in
    ``atoms``.
    ``gamma``: largest extrapolation grade of the cluster this cutout serves.
    ``checks``: what was measured (radii in Å, forces in eV/Å, energies in eV).
    """

    atoms: Atoms
    core: tuple[int, ...]
    parent_indices: tuple[int, ...]
    centre: int
    kind: Kind
    gamma: float
    checks: Json = field(default_factory=dict)
    unphysical: tuple[int, ...] = ()

    @property
    def masked(self) -> bool:
        """Whether some forces of this cell must not be learned."""
        return bool(self.unphysical)

    @property
    def learned(self) -> tuple[int, ...] | None:
        """Indices of the atoms whose forces are learned; None where every atom counts, and with
        them energy and stress: DFT of a calm periodic cell is exact, core or not.
        """
        if not self.unphysical:
            return None
        refused = set(self.unphysical)
        return tuple(i for i in range(len(self.atoms)) if i not in refused)


@dataclass(frozen=True)
class Skipped:
    """A cluster of extrapolating atoms that could not be embedded, and why. ``centre``: index in
    the parent.
    """

    reason: str
    centre: int
    gamma: float
