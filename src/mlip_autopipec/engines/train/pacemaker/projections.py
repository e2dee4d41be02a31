"""B-projections of atoms on an ACE basis: in a linear ACE the energy of an atom is linear in
them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.potential_folder import fit_folder
from mlip_autopipec.engines.train.pacemaker.config import YAML, basis_spec, require_package

__all__ = ["AceProjections"]

FUNCTIONS_PER_ELEMENT = 100
CUTOFF_A = 5.5


class AceProjections:
    """(n_atoms, D) for the atoms of a structure; D counts the functions of all elements.

    An atom has zeros in the columns of other elements, so that the mean over atoms is the row of a
    structure in the design matrix for energies per atom. The basis is that of ``potential`` (a
    folder of ours or a potential.yaml), else a fresh linear one of 100 functions per element with a
    cutoff of 5.5 Å. Raises MissingProgramError without python-ace, InputError for a file without a
    potential or with too few elements.
    """

    def __init__(self, elements: Sequence[str], potential: Path | None = None) -> None:
        require_package("pyace")
        from pyace import ACEBBasisSet, create_multispecies_basis_config

        if potential is None:
            spec = basis_spec(elements, FUNCTIONS_PER_ELEMENT, CUTOFF_A, linear=True)
            self._basis = ACEBBasisSet(create_multispecies_basis_config(spec))
            source: Json = {"spec": spec}
        else:
            file = fit_folder(potential) / YAML if potential.is_dir() else potential
            self._basis = _read(file)
            source = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        self._index: dict[str, int] = dict(self._basis.elements_to_index_map)
        unknown = sorted(set(elements) - set(self._index))
        if unknown:
            raise InputError(
                "this potential does not know an element", file=potential, value=", ".join(unknown)
            )
        sizes = [
            len(self._basis.basis_rank1[s]) + len(self._basis.basis[s])
            for s in range(len(self._index))
        ]
        self._first = np.concatenate([[0], np.cumsum(sizes)])
        self._source = source
        #: D, the length of the vectors.
        self.columns = int(self._first[-1])

    @property
    def parameters(self) -> Json:
        """All that the vectors depend on."""
        return {"kind": "ace", **self._source}

    def __call__(self, atoms: Atoms) -> NDArray[np.float64]:
        from pyace.activelearning import compute_B_projections

        plain = Atoms(
            numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc
        )
        by_species = compute_B_projections(self._basis, [plain])
        symbols = np.array(plain.get_chemical_symbols())
        rows = np.zeros((len(plain), self.columns))
        for symbol, species in self._index.items():
            own = symbols == symbol
            if own.any():
                rows[own, self._first[species] : self._first[species + 1]] = by_species[species]
        return rows


def _read(file: Path) -> object:
    from pyace import ACEBBasisSet

    if not file.is_file():
        raise InputError(
            "no such potential",
            file=file,
            hint="give the folder of a potential, or its potential.yaml",
        )
    try:
        return ACEBBasisSet(str(file))
    except Exception as error:  # pyace raises what its YAML parser does
        raise InputError(f"no ACE potential: {' '.join(str(error).split())}", file=file) from None
