"""What a potential predicts for labelled structures: forces of unmasked atoms, and energies.

The errors that pacemaker prints count masked atoms too, so they are not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.train.pacemaker.data import core_mask

__all__ = ["predict"]


def predict(calculator: Calculator, items: Sequence[LabelledStructure]) -> list[Json]:
    """One row per structure: energies (eV/atom), flat forces of unmasked atoms (eV/Å), largest
    grade among them.
    """
    rows: list[Json] = []
    for item in items:
        atoms = item.atoms.copy()
        calculator.calculate(atoms)
        mask = core_mask(item)
        rows.append(
            {
                "name": item.name,
                "n_atoms": len(atoms),
                "masked": item.core is not None,
                "energy_dft_ev_per_atom": item.label.energy_ev / len(atoms),
                "energy_potential_ev_per_atom": float(calculator.results["energy"]) / len(atoms),
                "forces_dft_ev_per_a": np.round(item.label.forces[mask], 5).ravel().tolist(),
                "forces_potential_ev_per_a": np.round(calculator.results["forces"][mask], 5)
                .ravel()
                .tolist(),
                "gamma_max": round(float(calculator.results["gamma"][mask].max()), 4)
                if mask.any()
                else None,
            }
        )
    return rows
