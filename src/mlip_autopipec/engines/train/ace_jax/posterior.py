"""How wrong a potential may be, and its resampled fits.

``posterior.npz`` in a potential folder: ``factor`` R (the leverage of a force row x is |x R|²),
``knots_leverage`` and ``knots_error`` (eV/Å), ``resampled`` (fits, columns), and what the basis is
built from again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.ace_jax.design import Rows, build_basis, design_rows
from mlip_autopipec.engines.train.ace_jax.potential import MODEL, POSTERIOR, Potential
from mlip_autopipec.engines.train.ace_jax.regression import Fit
from mlip_autopipec.science.dataset import core_mask
from mlip_autopipec.science.leverages import calibrate, cross_calibrated, errors_at

__all__ = ["Posterior", "calibrated", "force_errors"]


@dataclass(frozen=True, slots=True)
class Posterior:
    """What a potential folder keeps of the posterior of its fit."""

    factor: FloatArray
    knots_leverage: FloatArray
    knots_error: FloatArray
    resampled: FloatArray
    order: int
    max_degree: int

    def save(self, path: Path) -> None:
        np.savez(path, **{name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def load(cls, potential: Path) -> Posterior:
        """Of a potential folder. Raises InputError where it has none."""
        path = potential / POSTERIOR
        if not path.is_file():
            raise InputError(
                "this potential does not know how wrong its forces are",
                file=path,
                hint="fit it again: it is from before the trainer kept that",
            )
        with np.load(path) as data:
            return cls(
                factor=data["factor"],
                knots_leverage=data["knots_leverage"],
                knots_error=data["knots_error"],
                resampled=data["resampled"],
                order=int(data["order"]),
                max_degree=int(data["max_degree"]),
            )


def calibrated(
    items: Sequence[LabelledStructure],
    rows: Sequence[Rows],
    left: Sequence[FloatArray],
    folds: Sequence[int],
    fit: Fit,
) -> tuple[tuple[FloatArray, FloatArray], list[FloatArray]]:
    """Knots (leverage, eV/Å), and for each structure the errors of its core atoms (eV/Å) as
    predicted by fit and calibration without its fold.

    ``left``: forces (n, 3) of each label that the expansion has to give.
    """
    leverages, squares = [], []
    for item, row, forces, fold in zip(items, rows, left, folds, strict=True):
        mask = core_mask(item)
        leverages.append(_leverage(row.forces[mask], fit.factors_without[fold]))
        off = row.forces[mask] @ fit.without[fold] - forces[mask]
        squares.append((off**2).mean(axis=1))
    sizes = [len(part) for part in leverages]
    leverage, square = np.concatenate(leverages), np.concatenate(squares)
    told = cross_calibrated(leverage, square, np.repeat(np.array(folds, dtype=np.int64), sizes))
    return calibrate(leverage, square), np.split(told, np.cumsum(sizes)[:-1])


def force_errors(potential: Path, structures: Sequence[Atoms]) -> list[FloatArray]:
    """Calibrated standard error of a force component on each atom, (n_atoms,) eV/Å for each
    structure.

    Raises InputError for a potential without a posterior, or for an element that it lacks.
    """
    posterior, of = Posterior.load(potential), Potential(potential)
    symbols = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
    if unknown := sorted(symbols - set(of.elements)):
        raise InputError(
            "the potential does not know an element",
            file=potential / MODEL,
            value=", ".join(unknown),
        )
    basis = build_basis(of.elements, posterior.order, posterior.max_degree, of.cutoff_a)
    knots = posterior.knots_leverage, posterior.knots_error
    return [
        errors_at(_leverage(row.forces, posterior.factor), knots)
        for row in design_rows(basis, structures)
    ]


def _leverage(forces: FloatArray, factor: FloatArray) -> FloatArray:
    """(n,) root of the mean over the components of x C x^T; ``forces`` (n, 3, m)."""
    reach = forces.reshape(-1, forces.shape[-1]) @ factor
    return np.asarray(np.sqrt((reach**2).sum(axis=1).reshape(-1, 3).mean(axis=1)))
