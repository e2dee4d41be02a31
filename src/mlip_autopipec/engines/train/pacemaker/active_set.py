"""Active set of an ACE potential: the environments that span the training data (MaxVol,
D-optimality).

gamma of an atom = max |c|, its B-projections written in rows of the active set; gamma <= 1 means
inside the training data: Lysogorskiy et al., Phys. Rev. Materials 7, 043801 (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.science.dataset import core_mask

__all__ = ["learned_projections", "write_active_set"]

TOLERANCE = 1.001  # MaxVol goes on until no training atom has a larger grade


def learned_projections(
    basis: Any, items: Sequence[LabelledStructure]
) -> dict[int, NDArray[np.float64]]:
    """Species index -> (n_atoms, n_functions) linear B-projections of the unmasked atoms of all
    structures.
    """
    from pyace.activelearning import compute_B_projections

    index = basis.elements_to_index_map
    parts: dict[int, list[NDArray[np.float64]]] = {species: [] for species in index.values()}
    for item in items:
        # One structure at a time: pyace sorts rows by species and keeps the order of atoms inside
        # one.
        projections = compute_B_projections(basis, [item.atoms])
        mask = core_mask(item)
        symbols = np.array(item.atoms.get_chemical_symbols())
        for symbol, species in index.items():
            parts[species].append(projections[species][mask[symbols == symbol]])
    return {species: np.concatenate(rows) for species, rows in parts.items()}


def write_active_set(potential: Path, items: Sequence[LabelledStructure], asi: Path) -> float:
    """Write the inverse of the active set of the unmasked training atoms; returns their largest
    grade.

    Raises ValueError (pyace) when an element has fewer atoms than basis functions.
    """
    from pyace import ACEBBasisSet
    from pyace.activelearning import compute_active_set, save_active_inverse_set

    basis = ACEBBasisSet(str(potential))
    projections = learned_projections(basis, items)
    active = compute_active_set(
        {species: rows.copy() for species, rows in projections.items()}, tol=TOLERANCE
    )
    # pinv where symmetric data leave directions empty: there the grade must not be rounding noise.
    inverse = {species: np.linalg.pinv(rows, rcond=1e-10) for species, rows in active.items()}
    save_active_inverse_set(str(asi), inverse, elements_name=list(basis.elements_name))
    return float(
        max(np.abs(rows @ inverse[species]).max() for species, rows in projections.items())
    )
