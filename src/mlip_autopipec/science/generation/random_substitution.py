"""Random substitution: the elements of a solid solution dealt out by chance.

Beside quasirandom structures, whose neighbourhoods are all average, these have the clusters and the
ordered patches that a real alloy has too.
"""

from __future__ import annotations

import numpy as np

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.generation.alloying import Parent, Sublattice
from mlip_autopipec.science.generation.context import Context
from mlip_autopipec.science.generation.sqs import alloys

__all__ = ["generate"]


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 16,
    copies: int = 2,
    relax_steps: int = 10,
    **_: object,
) -> list[Candidate]:
    """As the strategy ``sqs`` with the atoms of each composition dealt at random; ``pair_residual``
    says how random.
    """

    def fill(_parent: Parent, held: Sublattice, numbers: dict[str, int]) -> tuple[list[str], Json]:
        elements = [element for element, number in sorted(numbers.items()) if number]
        kinds = rng.permutation(
            np.repeat(np.arange(len(elements)), [numbers[element] for element in elements])
        )
        residual = held.correlations.pair_residuals(kinds, len(elements))
        parameters = {"pair_residual": [round(float(value), 6) for value in residual]}
        return [elements[kind] for kind in kinds], parameters

    return alloys("random_substitution", fill, context, count, rng, max_atoms, copies, relax_steps)
