"""Rattled supercells near equilibrium: forces of thermal size and beyond."""

from __future__ import annotations

import numpy as np

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.generation.context import (
    Context,
    deformed,
    half_and_full_cells,
    lindemann_a,
    random_strain,
    rattled,
)

__all__ = ["generate"]


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    sigma_min_a: float = 0.02,
    sigma_max_a: float = 0.0,
    volume_spread: float = 0.03,
    max_atoms: int = 16,
    **_: object,
) -> list[Candidate]:
    """Displacements of standard deviation ``sigma_min_a``..``sigma_max_a`` in cells of half and
    full ``max_atoms``.

    ``sigma_max_a`` 0: up to Lindemann's limit of the start crystal, 0.25 Å at most. The volume
    varies by ``volume_spread``, as on heating. Each draw is independent and a group of its own.
    """
    cells = half_and_full_cells(context, max_atoms)
    made: list[Candidate] = []
    for index in range(count if cells else 0):
        parent, name = cells[index % len(cells)]
        sigma = float(rng.uniform(sigma_min_a, sigma_max_a or min(0.25, lindemann_a(parent))))
        strain = random_strain(rng, (-volume_spread, volume_spread), 0.01)
        parameters = {"rattle_a": round(sigma, 6), "atoms": len(parent)}
        provenance = Provenance(
            "rattle", f"rattle:{context.seed}:{index}", parameters, name, context.seed
        )
        made.append(Candidate(rattled(deformed(parent, strain), sigma, rng), provenance))
    return made
