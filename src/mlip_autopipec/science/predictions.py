"""What a potential predicts for labelled structures: the rows of ``predictions.json``, which every
trainer writes, and the errors that follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.science.dataset import core_mask

__all__ = ["errors", "prediction"]


def prediction(
    item: LabelledStructure,
    energy_ev: float,
    forces: FloatArray,
    gamma: FloatArray | None = None,
) -> Json:
    """The row of one structure: its total energy (eV), forces (n_atoms, 3) in eV/Å and, where the
    potential gives them, extrapolation grades (n_atoms,).

    Energies per atom; forces of unmasked atoms alone, flat, rounded to 1e-5; the largest grade
    among these.
    """
    mask, n_atoms = core_mask(item), len(item.atoms)
    known = gamma is not None and mask.any()
    return {
        "name": item.name,
        "n_atoms": n_atoms,
        "masked": item.core is not None,
        "energy_dft_ev_per_atom": item.label.energy_ev / n_atoms,
        "energy_potential_ev_per_atom": float(energy_ev) / n_atoms,
        "forces_dft_ev_per_a": np.round(item.label.forces[mask], 5).ravel().tolist(),
        "forces_potential_ev_per_a": np.round(forces[mask], 5).ravel().tolist(),
        "gamma_max": round(float(np.asarray(gamma)[mask].max()), 4) if known else None,
    }


def errors(rows: Sequence[Mapping[str, Any]]) -> Json:
    """``n_structures``, ``energy_rmse_mev_per_atom`` (whole cells only) and
    ``force_rmse_mev_per_a`` (components of unmasked atoms); None where nothing is left to average.
    """
    energy = [
        row["energy_potential_ev_per_atom"] - row["energy_dft_ev_per_atom"]
        for row in rows
        if not row["masked"]
    ]
    force = [
        ours - theirs
        for row in rows
        for ours, theirs in zip(
            row["forces_potential_ev_per_a"], row["forces_dft_ev_per_a"], strict=True
        )
    ]
    return {
        "n_structures": len(rows),
        "energy_rmse_mev_per_atom": _rmse_milli(energy),
        "force_rmse_mev_per_a": _rmse_milli(force),
    }


def _rmse_milli(differences: Sequence[float]) -> float | None:
    return 1000.0 * float(np.sqrt(np.mean(np.square(differences)))) if differences else None
