"""Guard of a potential: a small basis of its own and the environments that span the training data
in it (MaxVol, D-optimality).

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
from mlip_autopipec.engines.train.pacemaker.config import ASI, GUARD
from mlip_autopipec.science.dataset import core_mask

__all__ = ["Guard", "grades_out_of_fold", "learned_projections", "write_guard"]

UNSEEN = 1e3  # grade of a projection of 1 on an element that no label has
# Of the largest projection: a row by which an empty direction is spanned. _inverse leaves it out.
EMPTY = 1e-12
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


def write_guard(guard: Any, items: Sequence[LabelledStructure], folder: Path) -> float:
    """Write the guard basis (a BBasisConfiguration of no energy) and the inverse of its active set
    of the unmasked training atoms into ``folder``; returns their largest grade.
    """
    from pyace import ACEBBasisSet
    from pyace.activelearning import save_active_inverse_set

    guard.save(str(folder / GUARD))
    basis = ACEBBasisSet(str(folder / GUARD))
    projections = learned_projections(basis, items)
    inverse = _inverse_active_set(projections)
    save_active_inverse_set(str(folder / ASI), inverse, elements_name=list(basis.elements_name))
    return float(
        max(
            np.abs(rows @ inverse[species]).max(initial=0.0)
            for species, rows in projections.items()
        )
    )


def _inverse_active_set(
    projections: dict[int, NDArray[np.float64]],
) -> dict[int, NDArray[np.float64]]:
    from pyace.activelearning import compute_active_set

    active = compute_active_set(
        {species: _of_full_rank(rows) for species, rows in projections.items()}, tol=TOLERANCE
    )
    return {species: _inverse(rows) for species, rows in active.items()}


def grades_out_of_fold(
    folder: Path, items: Sequence[LabelledStructure], folds: NDArray[np.int64]
) -> list[NDArray[np.float64]]:
    """Grades of the unmasked atoms of each structure by an active set of the other folds; the basis
    is the guard's of ``folder``. ``folds`` (n_structures,). UNSEEN at most.
    """
    from pyace import ACEBBasisSet

    basis = ACEBBasisSet(str(folder / GUARD))
    own = [learned_projections(basis, [item]) for item in items]
    found = [np.zeros(int(core_mask(item).sum())) for item in items]
    for fold in np.unique(folds):
        others = [rows for rows, of in zip(own, folds, strict=True) if of != fold]
        inverse = _inverse_active_set(
            {species: np.concatenate([rows[species] for rows in others]) for species in own[0]}
        )
        for number in np.flatnonzero(folds == fold):
            item = items[number]
            symbols = np.array(item.atoms.get_chemical_symbols())[core_mask(item)]
            for symbol, species in basis.elements_to_index_map.items():
                grades = np.abs(own[number][species] @ inverse[species])
                worst = np.minimum(grades.max(axis=1, initial=0.0), UNSEEN)
                found[number][symbols == symbol] = worst
    return found


def _of_full_rank(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """A copy that MaxVol takes, with one small row below for each function where the environments
    span fewer directions than there are functions: with two neighbours an atom of a molecule ties
    functions of four bodies to those of three.
    """
    missing = np.linalg.matrix_rank(rows) < rows.shape[1] if rows.size else True
    small = EMPTY * np.abs(rows).max(initial=0.0)
    return np.vstack([rows, small * np.eye(rows.shape[1])]) if missing else rows.copy()


def _inverse(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """pinv: where symmetric data leave directions empty the grade must not be rounding noise. An
    element of which nothing was learned is new wherever it has a neighbour.
    """
    if not rows.any():
        return np.eye(len(rows)) * UNSEEN
    return np.asarray(np.linalg.pinv(rows, rcond=1e-10))


class Guard:
    """The guard of a potential folder, ready to grade python-ace's atomic environments."""

    def __init__(self, folder: Path) -> None:
        from pyace import ACEBBasisSet, ACEBEvaluator, ACECalculator

        # python-ace keeps pointers: what they point to has to live as long.
        self._basis = ACEBBasisSet(str(folder / GUARD))
        self._evaluator = ACEBEvaluator(self._basis)
        self._evaluator.load_active_set(str(folder / ASI))
        self._calculator = ACECalculator()
        self._calculator.set_evaluator(self._evaluator)

    def grades(self, environment: Any) -> NDArray[np.float64]:
        """(n_atoms,) extrapolation grades."""
        self._calculator.compute(environment, compute_projections=True)
        return np.array(self._calculator.gamma_grade, dtype=np.float64)
