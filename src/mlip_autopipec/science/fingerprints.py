"""SOAP fingerprints: what makes two structures, or two atomic environments, alike.

Smooth overlap of atomic positions (Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115, 2013), computed
by dscribe with r_cut 5 Å, n_max 8, l_max 6. Vectors per atom have unit length; a structure's
fingerprint is their mean, so cells of different size compare, and a supercell has the fingerprint
of its primitive cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.base.values import Json

__all__ = [
    "AtomicFingerprint",
    "Soap",
    "atomic_fingerprints",
    "distinct",
    "structure_fingerprints",
    "structure_key",
]

FloatArray = NDArray[np.float64]

#: Anything that gives one vector (D,) for each atom of a structure: SOAP here, the projections on
#: an ACE basis, ...
AtomicFingerprint = Callable[[Atoms], FloatArray]

# SOAP of the first neighbour shells, broad enough that thermal motion is a small distance.
R_CUT_A, N_MAX, L_MAX, SIGMA_A = 5.0, 8, 6, 0.5
INSTALL = "pip install 'mlip-autopipec[structures]'"


class Soap:
    """Unit vectors (n_atoms, D) of a structure's atoms.

    ``elements``: every element of the campaign, so that vectors of different structures have the
    same components. Up to two elements the full power spectrum is used; above, the density of one
    element is contracted with the density of all (dscribe's ``mu1nu1``), so that D grows linearly
    with the number of elements.
    ``max_columns``: longer vectors are multiplied by a fixed random matrix, which keeps all
    distances within about 1/sqrt(2 max_columns) (Johnson and Lindenstrauss, Contemp. Math. 26, 189,
    1984). Raises MissingProgramError without dscribe.
    """

    def __init__(self, elements: Sequence[str], max_columns: int | None = None) -> None:
        self.elements = tuple(sorted(set(elements)))
        self._descriptors: dict[bool, Any] = {}
        full = int(self._descriptor(True).get_number_of_features())
        self._folding: FloatArray | None = None
        #: D, the length of the vectors.
        self.columns = full
        if max_columns is not None and full > max_columns:
            self._folding = np.random.default_rng(0).normal(size=(full, max_columns)) / np.sqrt(
                max_columns
            )
            self.columns = max_columns

    @property
    def parameters(self) -> Json:
        """All that the vectors depend on."""
        return {"kind": "soap", "settings": self._settings(), "columns": self.columns}

    def __call__(self, atoms: Atoms) -> FloatArray:
        rows = np.asarray(self._descriptor(bool(atoms.pbc.any())).create(atoms), dtype=float)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return np.asarray(rows if self._folding is None else rows @ self._folding)

    def _settings(self) -> Json:
        mode = "mu1nu1" if len(self.elements) > 2 else "off"
        return {
            "species": list(self.elements),
            "r_cut": R_CUT_A,
            "n_max": N_MAX,
            "l_max": L_MAX,
            "sigma": SIGMA_A,
            "compression": {"mode": mode, "species_weighting": None},
        }

    def _descriptor(self, periodic: bool) -> Any:
        if periodic not in self._descriptors:
            try:
                from dscribe.descriptors import SOAP
            except ModuleNotFoundError as error:
                raise MissingProgramError(
                    f"the Python package {error.name!r} (fingerprints)", INSTALL
                ) from error
            self._descriptors[periodic] = SOAP(**self._settings(), periodic=periodic)
        return self._descriptors[periodic]


def atomic_fingerprints(structures: Sequence[Atoms], elements: Sequence[str]) -> list[FloatArray]:
    """One array (n_atoms, D) of unit vectors for each structure, by :class:`Soap` (``elements``,
    errors: see there).
    """
    soap = Soap(elements) if structures else None
    return [soap(atoms) for atoms in structures] if soap else []


def structure_fingerprints(structures: Sequence[Atoms], elements: Sequence[str]) -> FloatArray:
    """Array (n_structures, D): the mean of the per-atom unit vectors of each structure."""
    if not structures:
        return np.zeros((0, 0))
    soap = Soap(elements)
    return np.array([soap(atoms).mean(axis=0) for atoms in structures])


def structure_key(atoms: Atoms) -> bytes:
    """A hash (16 bytes) of species, positions and cell (to 1e-7 Å, as text files have them) and
    periodicity.
    """
    # + 0.0: minus zero is zero
    lengths = [
        (np.round(array, 7) + 0.0).astype("<f8") for array in (atoms.positions, atoms.cell.array)
    ]
    parts = (atoms.numbers.astype("<i4"), *lengths, atoms.pbc)
    return hashlib.blake2b(
        b"".join(np.ascontiguousarray(part).tobytes() for part in parts), digest_size=16
    ).digest()


def distinct(fingerprints: FloatArray, tolerance: float = 1e-4) -> list[int]:
    """Indices of the rows kept when later rows nearer than ``tolerance`` to an earlier kept one are
    dropped.
    """
    kept: list[int] = []
    for index, row in enumerate(fingerprints):
        if not kept or np.linalg.norm(fingerprints[kept] - row, axis=1).min() > tolerance:
            kept.append(index)
    return kept
