"""A molecule in a periodic box: put together again where the faces of the box cut it."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order

__all__ = ["put_together"]

#: Bonds stretched to this many sums of covalent radii still hold: about 2.6 Å between two carbon
#: atoms.
LONGEST_BOND = 1.7


def put_together(atoms: Atoms) -> Atoms | None:
    """The one molecule that ``atoms`` (periodic) are, free of the box; None when they are several.

    Every atom is placed at the image nearest to the atom it is bonded to, going out from the first
    one.
    """
    count = len(atoms)
    first, second, vectors = neighbor_list(
        "ijD", atoms, LONGEST_BOND * covalent_radii[atoms.numbers]
    )
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(count, count)).tocsr()
    order, parents = breadth_first_order(graph, 0)
    if len(order) < count:
        return None
    # Of several images of a pair the nearest is the bond.
    far_to_near = np.argsort(-np.linalg.norm(vectors, axis=1))
    bond = {(int(first[row]), int(second[row])): vectors[row] for row in far_to_near}
    positions = np.array(atoms.positions)
    for atom in order[1:]:
        positions[atom] = positions[parents[atom]] + bond[int(parents[atom]), int(atom)]
    return Atoms(numbers=atoms.numbers, positions=positions)
