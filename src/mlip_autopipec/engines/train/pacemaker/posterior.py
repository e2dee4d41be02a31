"""How wrong the linear fit may be: leverages by its posterior, scaled by cross-validated errors.

``posterior.npz`` in a potential folder: ``factor`` R (the leverage of a force row x is |x R|²),
``knots_leverage`` and ``knots_error`` (eV/Å), ``resampled`` (fits, columns), ``coefficients``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.pacemaker.config import POSTERIOR, YAML
from mlip_autopipec.engines.train.pacemaker.data import bare
from mlip_autopipec.engines.train.pacemaker.design import LinearBasis
from mlip_autopipec.science.lattices import fully_periodic
from mlip_autopipec.science.leverages import errors_at

__all__ = ["Posterior", "force_errors", "stored_posterior"]


@dataclass(frozen=True, slots=True)
class Posterior:
    """What a potential folder keeps of the posterior of its fit."""

    factor: FloatArray
    knots_leverage: FloatArray
    knots_error: FloatArray
    coefficients: FloatArray
    resampled: FloatArray

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **{name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def load(cls, path: Path) -> Posterior:
        """Raises InputError where there is none."""
        if not path.is_file():
            raise InputError(
                "this potential does not know how wrong its forces are",
                file=path,
                hint="fit it again with the trainer `linear`",
            )
        with np.load(path) as data:
            return cls(**{name: data[name] for name in cls.__slots__})

    def errors(self, leverage: FloatArray) -> FloatArray:
        """(n_atoms,) eV/Å standard error of a force component; beyond the largest leverage that was
        seen in proportion to it.
        """
        return errors_at(leverage, (self.knots_leverage, self.knots_error))


def stored_posterior(potential: Path) -> Posterior:
    """Of a potential folder. Raises InputError where it has none."""
    return Posterior.load(potential / POSTERIOR)


def force_errors(potential: Path, structures: Sequence[Atoms]) -> list[FloatArray]:
    """Calibrated standard error of a force component on each atom, (n_atoms,) eV/Å for each
    structure.

    Raises InputError for a potential without a posterior, or for an element that it lacks.
    """
    from pyace import ACEBBasisSet

    posterior = stored_posterior(potential)
    basis = LinearBasis(ACEBBasisSet(str(potential / YAML)))
    known = set(basis.basis.elements_name)
    found = []
    for atoms in structures:
        unknown = sorted(set(atoms.get_chemical_symbols()) - known)
        if unknown:
            raise InputError("the potential does not know an element", value=", ".join(unknown))
        boxed = fully_periodic(bare(atoms), float(basis.basis.cutoffmax))
        rows = basis.gradients(boxed)[1]
        reach = rows.reshape(-1, basis.columns) @ posterior.factor
        leverage = np.sqrt((reach**2).sum(axis=1).reshape(-1, 3).mean(axis=1))
        found.append(posterior.errors(leverage))
    return found
