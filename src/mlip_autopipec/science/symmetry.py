"""What spglib says of the symmetry of a structure, asked for in one place.

It answers None where it finds no symmetry in a distorted cell, which each caller has its own answer
for. From version 2.7 on it warns of that at every call and wants to raise instead; both are taken
in here, since versions from 2.5 on are supported.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.values import FloatArray

__all__ = ["IntArray", "dataset", "lattice_rotations", "operations", "standardized"]

IntArray = NDArray[np.integer[Any]]


def operations(atoms: Atoms, symprec_a: float) -> tuple[IntArray, FloatArray] | None:
    """Rotations (n, 3, 3) and translations (n, 3) in fractional coordinates.

    Atoms of an element that start from different moments (Bohr magnetons) are different.
    """
    import spglib

    cell, positions, numbers = _spec(atoms)
    if atoms.has("initial_magmoms"):
        moments = np.round(atoms.get_initial_magnetic_moments())
        _, numbers = np.unique(np.c_[numbers, moments], axis=0, return_inverse=True)
        numbers = numbers.ravel() + 1
    spec = cell, positions, numbers
    return _parts(_asked(spglib.get_symmetry, spec, symprec=symprec_a))


def lattice_rotations(cell: FloatArray, symprec_a: float) -> IntArray | None:
    """Rotations (n, 3, 3) of the lattice alone, in fractional coordinates; ``cell``: (3, 3) Å."""
    import spglib

    found = _parts(_asked(spglib.get_symmetry, (cell, [[0.0, 0.0, 0.0]], [1]), symprec=symprec_a))
    return None if found is None else found[0]


def dataset(atoms: Atoms, symprec_a: float) -> Any:
    """spglib's dataset: ``number`` and ``international`` of the space group, ``rotations``,
    ``std_lattice`` (3, 3) Å and ``std_types`` of the conventional cell, ``std_rotation_matrix``
    that turns the structure into its axes.
    """
    import spglib

    return _asked(spglib.get_symmetry_dataset, _spec(atoms), symprec=symprec_a)


def standardized(
    atoms: Atoms, *, primitive: bool, symprec_a: float
) -> tuple[FloatArray, FloatArray, IntArray] | None:
    """Cell (3, 3) Å, scaled positions (n, 3) and atomic numbers (n,) of the idealised standard
    cell.
    """
    import spglib

    found: tuple[FloatArray, FloatArray, IntArray] | None = _asked(
        spglib.standardize_cell,
        _spec(atoms),
        to_primitive=primitive,
        no_idealize=False,
        symprec=symprec_a,
    )
    return found


def _spec(atoms: Atoms) -> Any:
    return atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers


def _parts(found: Any) -> tuple[IntArray, FloatArray] | None:
    return None if found is None else (found["rotations"], found["translations"])


def _asked(question: Callable[..., Any], spec: Any, **options: Any) -> Any:
    """The answer; None where there is none, whichever way spglib says so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        try:
            return question(spec, **options)
        except Exception as error:
            if type(error).__name__ == "SpglibError":  # a class of its own only since 2.7
                return None
            raise
