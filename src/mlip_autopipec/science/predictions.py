"""What a potential predicts for labelled structures: the rows of ``predictions.json``, which every
trainer writes, and the errors that follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mlip_autopipec.base.labels import LabelledStructure, PotentialRef
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.science.dataset import core_mask

__all__ = ["Errors", "Predicted", "Predictions", "errors", "errors_of", "prediction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A structure by DFT and by a potential. Forces of unmasked atoms alone, flat.

    ``force_errors_ev_per_a`` and ``gamma``, of each unmasked atom, where a fit without the
    structure's group tells them: the predicted standard error of a force component, and the
    extrapolation grade.
    """

    name: str
    n_atoms: int
    masked: bool
    energy_dft_ev_per_atom: float
    energy_potential_ev_per_atom: float
    forces_dft_ev_per_a: Sequence[float]
    forces_potential_ev_per_a: Sequence[float]
    gamma_max: float | None = None
    force_errors_ev_per_a: Sequence[float] | None = None
    gamma: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """The content of ``predictions.json``: what a potential was fitted to, and what was held out
    (or, where its trainer cross-validates, every label by a fit without its group).
    """

    train: tuple[Predicted, ...] = ()
    test: tuple[Predicted, ...] = ()

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Predictions:
        """Keys that a row may have beside its own are left out."""
        return cls(*(tuple(map(_row, data.get(split, ()))) for split in ("train", "test")))


def _row(data: Mapping[str, Any]) -> Predicted:
    return Predicted(**{key: data[key] for key in Predicted.__slots__ if key in data})


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Root mean square errors of a potential against DFT; None where there is nothing to average.

    Energies of whole cells, components of forces on unmasked atoms.
    """

    n_structures: int | None = None
    """Structures that were compared."""
    energy_rmse_mev_per_atom: float | None = None
    """Of energies."""
    force_rmse_mev_per_a: float | None = None
    """Of force components."""

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Errors:
        """Keys that a trainer adds are left out."""
        return cls(**{key: data[key] for key in cls.__slots__ if key in data})


def errors_of(potential: PotentialRef | None, split: Literal["train", "test"]) -> Errors:
    """Errors that were measured with a fit; empty where they were not."""
    metrics = potential.metrics.get(split) if potential else None
    return Errors.from_json(metrics or {})


def prediction(
    item: LabelledStructure,
    energy_ev: float,
    forces: FloatArray,
    gamma: FloatArray | None = None,
) -> Predicted:
    """The row of one structure: its total energy (eV), forces (n_atoms, 3) in eV/Å and, where the
    potential gives them, extrapolation grades (n_atoms,).

    Energies per atom; forces of unmasked atoms alone, flat, rounded to 1e-5; the largest grade
    among these.
    """
    mask, n_atoms = core_mask(item), len(item.atoms)
    known = gamma is not None and mask.any()
    return Predicted(
        name=item.name,
        n_atoms=n_atoms,
        masked=item.core is not None,
        energy_dft_ev_per_atom=item.label.energy_ev / n_atoms,
        energy_potential_ev_per_atom=float(energy_ev) / n_atoms,
        forces_dft_ev_per_a=np.round(item.label.forces[mask], 5).ravel().tolist(),
        forces_potential_ev_per_a=np.round(forces[mask], 5).ravel().tolist(),
        gamma_max=round(float(np.asarray(gamma)[mask].max()), 4) if known else None,
    )


def errors(rows: Sequence[Predicted]) -> Errors:
    """Of energies of whole cells only, and of force components of unmasked atoms."""
    energy = [
        row.energy_potential_ev_per_atom - row.energy_dft_ev_per_atom
        for row in rows
        if not row.masked
    ]
    force = [
        ours - theirs
        for row in rows
        for ours, theirs in zip(row.forces_potential_ev_per_a, row.forces_dft_ev_per_a, strict=True)
    ]
    return Errors(
        n_structures=len(rows),
        energy_rmse_mev_per_atom=_rmse_milli(energy),
        force_rmse_mev_per_a=_rmse_milli(force),
    )


def _rmse_milli(differences: Sequence[float]) -> float | None:
    return 1000.0 * float(np.sqrt(np.mean(np.square(differences)))) if differences else None
