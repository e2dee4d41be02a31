"""Structure generation: one strategy per file, looked up by name, by entry point (group
``mlip_autopipec.strategy``) or as ``module:function``.

A strategy is a plain function ``generate(context, count, rng, **options) -> list[Candidate]``. It
is pure: the random generator and the calculator are arguments, and equal arguments give equal
candidates. One that cannot do without the surrogate's forces says so with ``needs_surrogate``.

**Groups.** ``provenance.group`` names what must stay on one side of a train/test split. A group is
the smallest set of candidates that share a random draw beyond the perfect crystal: a strained cell
with its rattled copies; one volume of the equation of state; one rattled supercell (its noise is
its own); one defective cell, alloy or slab with its rattled copies; one segment of consecutive MD
frames at one temperature. That every solid cell descends from the same few crystals is the same on
both sides and is not hidden by a finer split; larger families would leave nothing to test on.
"""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np

from mlip_autopipec.base.plugins import Plugins
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.science.generation.context import Context, Needs

__all__ = ["STRATEGIES", "Context", "Needs", "Strategy", "known", "needs", "strategy"]

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
    "atoms_and_dimers": "mlip_autopipec.science.generation.atoms_and_dimers:generate",
    "cluster": "mlip_autopipec.science.generation.dimers_trimers:generate",
    "molecule_pair": "mlip_autopipec.science.generation.molecule_pairs:generate",
    "melt_quench": "mlip_autopipec.science.generation.melt_quench:generate",
    "thermal": "mlip_autopipec.science.generation.thermal:generate",
}

_PLUGINS = Plugins(
    "generation strategy", "generation.batches", "mlip_autopipec.strategy", STRATEGIES
)


def known() -> dict[str, str]:
    """Every strategy that has a name, with the function it stands for."""
    return _PLUGINS.known()


def strategy(name: str) -> Strategy:
    """The strategy called ``name``, or at ``module:function``.

    Raises InputError with the nearest known name.
    """
    return cast(Strategy, _PLUGINS.find(name))


def needs(name: str) -> Needs:
    """What a strategy asks of the surrogate; nothing where its function does not say."""
    found: Needs = getattr(strategy(name), "needs", Needs())
    return found
