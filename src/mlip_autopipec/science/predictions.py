"""The rows of a potential's ``predictions.json``, which every trainer writes, and the errors that
follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlip_autopipec.base.values import Json

__all__ = ["errors"]


def errors(rows: Sequence[Mapping[str, Any]]) -> Json:
    """``n_structures``, ``energy_rmse_mev_per_atom`` (whole cells), ``force_rmse_mev_per_a`` (per
    component).
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
