"""Structure generation: one strategy per file, looked up by name.

A strategy is a plain function ``generate(context, count, rng, **options) -> list[Candidate]``. It
is pure: the random generator and the calculator are arguments, and equal arguments give equal
candidates.

**Groups.** ``provenance.group`` names what must stay on one side of a train/test split. A group is
the smallest set of candidates that share a random draw beyond the perfect crystal: a strained cell
with its rattled copies; one volume of the equation of state; one rattled supercell (its noise is
its own); one defective cell, alloy or slab with its rattled copies; one segment of consecutive MD
frames at one temperature. That every solid cell descends from the same few crystals is the same on
both sides and is not hidden by a finer split; larger families would leave nothing to test on.
"""

from __future__ import annotations

import importlib
from typing import Protocol

import numpy as np

from mlip_autopipec.base.errors import InputError, nearest
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.science.generation.context import Context

__all__ = ["NEEDS_CALCULATOR", "STRATEGIES", "Context", "Strategy", "strategy"]

Option = float | int | str | bool


class Strategy(Protocol):
    """Proposes at most ``count`` candidates (fewer where the material has no more to offer)."""

    def __call__(
        self, context: Context, count: int, rng: np.random.Generator, **options: Option
    ) -> list[Candidate]: ...


STRATEGIES: dict[str, str] = {
    "prototypes": "mlip_autopipec.science.generation.prototypes:generate",
    "strain": "mlip_autopipec.science.generation.strain:generate",
    "rattle": "mlip_autopipec.science.generation.rattle:generate",
    "mc_rattle": "mlip_autopipec.science.generation.mc_rattle:generate",
    "normal_modes": "mlip_autopipec.science.generation.normal_modes:generate",
    "sqs": "mlip_autopipec.science.generation.sqs:generate",
    "random_substitution": "mlip_autopipec.science.generation.random_substitution:generate",
    "vacancy": "mlip_autopipec.science.generation.defects:vacancies",
    "divacancy": "mlip_autopipec.science.generation.defects:divacancies",
    "antisite": "mlip_autopipec.science.generation.defects:antisites",
    "substitution": "mlip_autopipec.science.generation.defects:substitutions",
    "interstitial": "mlip_autopipec.science.generation.interstitials:generate",
    "surface": "mlip_autopipec.science.generation.surfaces:generate",
    "cluster": "mlip_autopipec.science.generation.dimers_trimers:generate",
    "molecule_pair": "mlip_autopipec.science.generation.molecule_pairs:generate",
    "melt_quench": "mlip_autopipec.science.generation.melt_quench:generate",
    "thermal": "mlip_autopipec.science.generation.thermal:generate",
}

# Molecular dynamics and vibrations with the surrogate: impossible where it does not know an
# element.
NEEDS_CALCULATOR = frozenset({"melt_quench", "normal_modes", "thermal"})


def strategy(name: str) -> Strategy:
    """The strategy called ``name``. Raises InputError with the nearest known name."""
    if name not in STRATEGIES:
        raise InputError(
            "unknown generation strategy",
            key="generation.batches",
            value=name,
            hint=nearest(name, STRATEGIES),
        )
    module, _, attribute = STRATEGIES[name].partition(":")
    found: Strategy = getattr(importlib.import_module(module), attribute)
    return found
