"""Whether two structures are one: crystals up to their size and setting, molecules up to their
orientation.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms

from mlip_autopipec.base.errors import MissingProgramError

__all__ = ["same_crystal", "same_structure"]

INSTALL = "pip install 'mlip-autopipec[structures]'"
# ltol, stol, angle_tol of the matcher. Loose: two relaxations of one crystal; strict: one crystal
# written twice.
LOOSE, STRICT = (0.15, 0.2, 4.0), (0.01, 0.01, 0.5)
# Molecules whose interatomic distances agree within this are one.
DISTANCE_A = 0.1


def same_crystal(one: Atoms, other: Atoms, *, strict: bool = False) -> bool:
    """pymatgen's StructureMatcher (Ong et al., Comput. Mater. Sci. 68, 314, 2013), volumes scaled
    to each other.

    Raises MissingProgramError without pymatgen.
    """
    try:
        from pymatgen.analysis.structure_matcher import StructureMatcher
        from pymatgen.core.structure import Structure
    except ModuleNotFoundError as error:
        raise MissingProgramError(
            f"the Python package {error.name!r} (comparing crystals)", INSTALL
        ) from error
    first, second = (
        Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions())
        for atoms in (one, other)
    )
    length, sites, angle = STRICT if strict else LOOSE
    return bool(StructureMatcher(ltol=length, stol=sites, angle_tol=angle).fit(first, second))


def same_structure(one: Atoms, other: Atoms) -> bool:
    """:func:`same_crystal` for crystals; equal sorted distances (0.1 Å) for molecules; False for a
    mixed pair.
    """
    if one.pbc.all() and other.pbc.all():
        return same_crystal(one, other)
    if one.pbc.any() or other.pbc.any() or len(one) != len(other):
        return False
    first, second = (np.sort(atoms.get_all_distances().ravel()) for atoms in (one, other))
    return bool(np.abs(first - second).max() < DISTANCE_A)
