"""Prototypes: relaxed starts and points of the lowest one's equation of state, kept whatever their
fingerprint.
"""

from __future__ import annotations

import numpy as np

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.generation.context import Context, deformed
from mlip_autopipec.science.lattices import bare, standard_cell

__all__ = ["generate"]

# One in so many is a crystal far above the lowest: the energy of other coordinations, at the price
# of a tiny cell.
DISTANT_SHARE = 6


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    volume_min: float = -0.12,
    volume_max: float = 0.15,
    **_: object,
) -> list[Candidate]:
    """Every relaxed start in its primitive cell, then volumes of the lowest one (relative change
    evenly spaced).

    At most half of ``count`` are other starts than the lowest (the context's, then one of its
    ``distant`` ones), so that there is always an equation of state.
    All are forced: at few labels farthest point sampling alone would leave the neighbourhood of
    equilibrium empty. Each is a group of its own. ``rng`` is not used.
    """
    near, far = context.starts, context.distant[: max(0, count // DISTANT_SHARE)]
    chosen = [*near[: max(1, count // 2)], *far][:count]
    relaxed = [
        Candidate(
            standard_cell(start.atoms, primitive=True),
            Provenance(
                "prototypes", f"{start.provenance.group}:relaxed", {"start": start.provenance.group}
            ),
            forced=True,
        )
        for start in chosen
    ]
    points = count - len(relaxed)
    if points <= 0 or not context.starts or not relaxed[0].atoms.pbc.all():
        return relaxed
    name = context.starts[0].provenance.group
    grid = np.linspace(volume_min, volume_max, points + 1)
    # The relaxed crystal stands for the volume nearest to its own.
    changes = np.delete(grid, np.argmin(np.abs(grid)))
    return relaxed + [
        Candidate(
            deformed(bare(relaxed[0].atoms), np.eye(3) * ((1 + change) ** (1 / 3) - 1)),
            Provenance(
                "prototypes",
                f"{name}:eos:{index}",
                {"volume_change": round(float(change), 6)},
                parent=name,
            ),
            forced=True,
        )
        for index, change in enumerate(changes)
    ]
