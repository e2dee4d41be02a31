"""From a plan to candidates: what the task ``generate`` and the command ``generate`` have in
common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.config.plan import Plan, StrategyPlan, SurrogatePlan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import Surrogate
from mlip_autopipec.science import generation, screening
from mlip_autopipec.science.fingerprints import distinct, structure_fingerprints
from mlip_autopipec.science.generation.context import Context
from mlip_autopipec.science.generation.start_ranking import Start

__all__ = [
    "calculator",
    "limits",
    "lowest",
    "propose",
    "sub_seed",
    "surrogate_knows",
    "without_twins",
]


def surrogate_knows(plan: Plan) -> bool:
    """Whether the surrogate knows every element."""
    return _surrogate(plan).supports(plan.material.elements)


def calculator(plan: Plan) -> Calculator | None:
    """The surrogate's calculator, or None where it does not know an element (then geometry alone
    decides).
    """
    surrogate = _surrogate(plan)
    return surrogate.calculator() if surrogate.supports(plan.material.elements) else None


def _surrogate(plan: Plan) -> Surrogate:
    return registry.surrogate(plan.surrogate.engine, plan.surrogate.model)


def sub_seed(*parts: int) -> int:
    """One seed for each strategy of each batch, independent of the others."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def propose(
    plan: Plan,
    item: StrategyPlan,
    found: Sequence[Start],
    model: Calculator | None,
    seed: int,
    progress: Callable[[float], None],
) -> list[Candidate]:
    """What the strategy ``item`` makes of the starts.

    Raises InputError.
    """
    make = generation.strategy(item.name)
    context = Context(
        fractions=plan.material.fractions,
        starts=tuple(start.candidate for start in found if start.near),
        calculator=model,
        temperatures_k=tuple(
            condition.temperature_k
            for condition in plan.exploration.conditions
            if condition.role == "asked"
        ),
        max_atoms=plan.embedding.max_dft_atoms,
        seed=seed,
        progress=progress,
        distant=tuple(start.candidate for start in found if not start.near),
    )
    options: dict[str, Any] = dict(item.options)
    return make(context, item.count, np.random.default_rng(seed), **options)


def limits(plan: SurrogatePlan) -> screening.Limits:
    """The screen's limits from the plan."""
    return screening.Limits(
        plan.min_distance_factor, plan.max_force_ev_per_a, plan.max_energy_above_lowest_ev_per_atom
    )


def lowest(found: Sequence[Start]) -> dict[str, float]:
    """Composition -> lowest energy (eV/atom) among the starts."""
    known: dict[str, float] = {}
    for start in found:
        if start.energy_ev_per_atom is not None:
            key = screening.composition(start.candidate.atoms)
            known[key] = min(start.energy_ev_per_atom, known.get(key, np.inf))
    return known


def without_twins(
    candidates: Sequence[Candidate], elements: tuple[str, ...]
) -> tuple[list[Candidate], list[Candidate]]:
    """Candidates with a fingerprint of their own, and the later ones of equal fingerprint."""
    kept = set(distinct(structure_fingerprints([item.atoms for item in candidates], elements)))
    return (
        [item for index, item in enumerate(candidates) if index in kept],
        [item for index, item in enumerate(candidates) if index not in kept],
    )
