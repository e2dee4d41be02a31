"""Strained small cells: volume and shape far from equilibrium, each with a few rattled copies.

Small cells cost least in DFT and already span most of the energy surface; a symmetric cell has no
forces to learn from, so none is proposed without a rattle.
"""

from __future__ import annotations

import numpy as np

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.generation.context import (
    Context,
    deformed,
    random_strain,
    rattled,
    supercell,
)

__all__ = ["generate"]


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    volume_min: float = -0.10,
    volume_max: float = 0.12,
    max_deviatoric: float = 0.08,
    max_atoms: int = 8,
    copies: int = 2,
    rattle_min_a: float = 0.02,
    rattle_max_a: float = 0.08,
    **_: object,
) -> list[Candidate]:
    """``copies`` rattled copies of each strained cell; a cell and its copies are one group.

    Cells of about ``max_atoms`` and of half as many take turns, and so do the start structures.
    """
    made: list[Candidate] = []
    largest = min(max_atoms, context.max_atoms)
    cells = [
        supercell(start.atoms, size)
        for start in context.starts
        for size in (largest, max(1, largest // 2))
    ]
    names = [start.provenance.group for start in context.starts for _ in range(2)]
    index = 0
    while cells and len(made) < count:
        parent, name = cells[index % len(cells)], names[index % len(cells)]
        strain = random_strain(rng, (volume_min, volume_max), max_deviatoric)
        cell = deformed(parent, strain)
        for _copy in range(min(copies, count - len(made))):
            sigma = float(rng.uniform(rattle_min_a, rattle_max_a))
            parameters = {
                "strain": np.round(strain, 6).tolist(),
                "rattle_a": round(sigma, 6),
                "atoms": len(cell),
            }
            provenance = Provenance(
                "strain", f"strain:{context.seed}:{index}", parameters, name, context.seed
            )
            made.append(Candidate(rattled(cell, sigma, rng), provenance))
        index += 1
    return made
