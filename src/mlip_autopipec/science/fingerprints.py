"""SOAP fingerprints: what makes two structures, or two atomic environments, alike.

Smooth overlap of atomic positions (Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115, 2013), computed by dscribe with
r_cut 5 Å, n_max 8, l_max 6. Vectors per atom have unit length; a structure's fingerprint is their mean, so cells of
different size compare, and a supercell has the fingerprint of its primitive cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.errors import MissingProgramError

__all__ = ["atomic_fingerprints", "distinct", "structure_fingerprints"]

FloatArray = NDArray[np.float64]

R_CUT_A, N_MAX, L_MAX, SIGMA_A = 5.0, 8, 6, 0.5
INSTALL = "pip install 'mlip-autopipec[structures]'"


def atomic_fingerprints(structures: Sequence[Atoms], elements: Sequence[str]) -> list[FloatArray]:
    """One array (n_atoms, D) of unit vectors for each structure.

    ``elements``: every element of the campaign, so that vectors of different structures have the same components.
    Up to two elements the full power spectrum is used; above, the density of one element is contracted with the
    density of all (dscribe's ``mu1nu1``), so that D grows linearly with the number of elements.
    Raises MissingProgramError without dscribe.
    """
    try:
        from dscribe.descriptors import SOAP
    except ModuleNotFoundError as error:
        raise MissingProgramError(f"the Python package {error.name!r} (fingerprints)", INSTALL) from error
    periodic = {bool(atoms.pbc.any()) for atoms in structures}
    soaps = {
        flag: SOAP(
            species=sorted(set(elements)),
            r_cut=R_CUT_A,
            n_max=N_MAX,
            l_max=L_MAX,
            sigma=SIGMA_A,
            periodic=flag,
            compression={"mode": "mu1nu1" if len(set(elements)) > 2 else "off", "species_weighting": None},
        )
        for flag in periodic
    }
    return [_unit_rows(soaps[bool(atoms.pbc.any())].create(atoms)) for atoms in structures]


def _unit_rows(vectors: FloatArray) -> FloatArray:
    rows = np.asarray(vectors, dtype=float)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def structure_fingerprints(structures: Sequence[Atoms], elements: Sequence[str]) -> FloatArray:
    """Array (n_structures, D): the mean of the per-atom unit vectors of each structure."""
    if not structures:
        return np.zeros((0, 0))
    return np.array([vectors.mean(axis=0) for vectors in atomic_fingerprints(structures, elements)])


def distinct(fingerprints: FloatArray, tolerance: float = 1e-4) -> list[int]:
    """Indices of the rows kept when later rows nearer than ``tolerance`` to an earlier kept one are dropped."""
    kept: list[int] = []
    for index, row in enumerate(fingerprints):
        if not kept or np.linalg.norm(fingerprints[kept] - row, axis=1).min() > tolerance:
            kept.append(index)
    return kept
