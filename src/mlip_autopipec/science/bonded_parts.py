"""What a structure is built of: molecules, chains, layers or a network, by its bonds alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

__all__ = ["Parts", "parts_of"]

# Of the sum of two covalent radii. Bonds reach 1.15 of it when they are hot; across the gaps of
# graphite (2.2), MoS2 (1.7) and Bi2Te3 (1.32), and between molecules, it is more.
BOND_FACTOR = 1.25


@dataclass(frozen=True, slots=True)
class Parts:
    """``dimensions``: directions in which the most extended part goes on for ever, 0 for molecules
    and 2 for layers; ``count``: parts in one cell.
    """

    dimensions: int
    count: int


def parts_of(atoms: Atoms) -> Parts:
    """The parts that hang together by bonds of at most 1.25 times the sum of covalent radii."""
    radii = [BOND_FACTOR * float(covalent_radii[number]) for number in atoms.numbers]
    first, second, shifts = neighbor_list("ijS", atoms, radii)
    reached: dict[int, np.ndarray] = {}
    neighbours: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(len(atoms))]
    for i, j, shift in zip(first, second, shifts, strict=True):
        neighbours[i].append((int(j), shift))
    dimensions = count = 0
    for root in range(len(atoms)):
        if root in reached:
            continue
        count += 1
        reached[root] = np.zeros(3, dtype=int)
        stack, loops = [root], []
        while stack:
            here = stack.pop()
            for there, shift in neighbours[here]:
                image = reached[here] + shift
                if there not in reached:
                    reached[there] = image
                    stack.append(there)
                elif (image != reached[there]).any():
                    loops.append(image - reached[there])  # the part meets its own image
        if loops:
            dimensions = max(dimensions, int(np.linalg.matrix_rank(np.array(loops))))
    return Parts(dimensions, count)
