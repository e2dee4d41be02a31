"""Special quasirandom structures: small cells whose pair correlations are those of the random
alloy.

Zunger, Wei, Ferreira & Bernard, Phys. Rev. Lett. 65, 353 (1990). sqsgenerator (Gehringer, Friák &
Holec, Comput. Phys. Commun. 286, 108664, 2023) proposes decorations. It counts nearest images
alone, so in cells this small its proposals are judged again with all images, triplets included, and
the best are improved by exchanges of two atoms.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.generation.alloying import (
    IntArray,
    Parent,
    Sublattice,
    compositions,
    decorated,
    parents,
)
from mlip_autopipec.science.generation.context import Context, deformed, random_strain, rattled
from mlip_autopipec.science.generation.relaxing import loosely_relaxed

__all__ = ["alloys", "generate", "quasirandom"]

INSTALL = "pip install 'mlip-autopipec[structures]'"
# Of the residual, by shell: near pairs carry most of the energy.
SHELL_WEIGHTS = {1: 1.0, 2: 0.5, 3: 0.25}
# Triplets of nearest neighbours break ties between equal pair correlations.
TRIPLET_WEIGHT = 0.25
# Decorations that are judged by our own residual: sqsgenerator's objective differs from it.
JUDGED = 200
# The best of these are improved further by exchanging atoms.
POLISHED = 2


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 32,
    copies: int = 3,
    iterations: int = 20000,
    relax_steps: int = 10,
    **_: object,
) -> list[Candidate]:
    """Quasirandom cells of the asked composition and a grid around it, in two sizes, and rattled
    copies of each.

    ``parameters`` hold the numbers of atoms and, for each sublattice, ``pair_residual`` (largest
    deviation of a pair probability from the random alloy's, by shell) and ``triplet_residual``.
    Nothing for elements and for compounds in which no two elements share a site. Raises
    MissingProgramError without sqsgenerator.
    """

    def fill(parent: Parent, held: Sublattice, numbers: dict[str, int]) -> tuple[list[str], Json]:
        return quasirandom(parent, held, numbers, int(rng.integers(2**31)), iterations=iterations)

    return alloys("sqs", fill, context, count, rng, max_atoms, copies, relax_steps)


def alloys(
    strategy: str,
    fill: Any,
    context: Context,
    count: int,
    rng: np.random.Generator,
    max_atoms: int,
    copies: int,
    relax_steps: int,
) -> list[Candidate]:
    """Decorated cells by ``fill(parent, sublattice, numbers) -> (symbols, parameters)``; a group
    each with its copies.

    The first copy has its volume and atoms loosely relaxed, the others are also strained and
    rattled. Sizes (half of ``max_atoms`` and all of it) and lattices take turns within each
    composition, the asked composition first.
    """
    largest = min(max_atoms, context.max_atoms)
    lattices = parents(context, [max(2, largest // 2), largest])
    grids = [
        list(
            zip(
                *(
                    compositions(context.fractions, h.elements, len(h.sites))
                    for h in parent.sublattices
                ),
                strict=False,
            )
        )
        for parent in lattices
    ]
    order = [
        (lattice, chosen)
        for row in itertools.zip_longest(*grids)
        for lattice, chosen in zip(lattices, row, strict=True)
        if chosen is not None
    ]
    made: list[Candidate] = []
    for index in range(-(-count // copies) if order else 0):
        parent, chosen = order[index % len(order)]
        known: Json = {}
        decoration = []
        for held, numbers in zip(parent.sublattices, chosen, strict=True):
            symbols, found = fill(parent, held, numbers)
            decoration.append((held.sites, symbols))
            # A second sublattice's numbers are named after its elements.
            known |= (
                {f"{key}:{'-'.join(held.elements)}": value for key, value in found.items()}
                if known
                else found
            )
        cell = decorated(parent, decoration)
        known |= {"atoms": len(cell), "counts": dict(cell.symbols.formula.count())}
        relaxed = loosely_relaxed(cell, context.calculator, relax_steps, volume=True)
        for copy in range(min(copies, count - len(made))):
            sigma = float(rng.uniform(0.02, 0.12)) if copy else 0.01
            strain = random_strain(rng, (-0.06, 0.08), 0.04) if copy else np.zeros((3, 3))
            group = f"{strategy}:{context.seed}:{index}"
            provenance = Provenance(
                strategy, group, {**known, "rattle_a": round(sigma, 6)}, parent.name, context.seed
            )
            made.append(Candidate(rattled(deformed(relaxed, strain), sigma, rng), provenance))
        context.progress(len(made) / count)
    return made


def quasirandom(
    parent: Parent, held: Sublattice, numbers: dict[str, int], seed: int, *, iterations: int = 20000
) -> tuple[list[str], Json]:
    """Symbols on the sites of ``held`` with exactly these ``numbers``, and residuals.

    Equal seed, equal answer.
    """
    elements = [element for element, number in sorted(numbers.items()) if number]
    correlations = held.correlations

    def residual(kinds: IntArray) -> float:
        pairs = correlations.pair_residuals(kinds, len(elements))
        weighted = float(np.dot(list(SHELL_WEIGHTS.values())[: len(pairs)], pairs))
        return weighted + TRIPLET_WEIGHT * correlations.triplet_residual(kinds, len(elements))

    kinds = np.repeat(np.arange(len(elements)), [numbers[element] for element in elements])
    if len(elements) > 1:
        proposed = _proposals(parent, held.sites, numbers, correlations.radii_a, seed, iterations)
        pool = [np.array([elements.index(symbol) for symbol in symbols]) for symbols in proposed]
        kinds = min(
            (_polished(kinds, residual) for kinds in sorted(pool, key=residual)[:POLISHED]),
            key=residual,
        )
    return [elements[kind] for kind in kinds], {
        "pair_residual": [
            round(float(value), 6) for value in correlations.pair_residuals(kinds, len(elements))
        ],
        "triplet_residual": round(correlations.triplet_residual(kinds, len(elements)), 6),
        "shells_a": correlations.radii_a,
    }


def _polished(kinds: IntArray, residual: Callable[[IntArray], float]) -> IntArray:
    """The best exchange of two unlike atoms, again and again until none lowers the residual."""
    best, lowest = kinds, residual(kinds)
    while True:
        for i, j in itertools.combinations(range(len(kinds)), 2):
            if kinds[i] == kinds[j]:
                continue
            trial = kinds.copy()
            trial[[i, j]] = trial[[j, i]]
            value = residual(trial)
            if value < lowest - 1e-9:
                best, lowest = trial, value
        if best is kinds:
            return kinds
        kinds = best


def _proposals(
    parent: Parent,
    sites: IntArray,
    numbers: dict[str, int],
    radii_a: list[float],
    seed: int,
    iterations: int,
) -> list[list[str]]:
    """Up to JUDGED decorations that sqsgenerator finds, best first by its own objective.

    Raises MissingProgramError without it, ValueError with its own message when it refuses the cell.
    """
    try:
        import sqsgenerator
    except ModuleNotFoundError as error:
        raise MissingProgramError(
            "the Python package 'sqsgenerator' (quasirandom structures)", INSTALL
        ) from error
    from ase.data import chemical_symbols

    scaled = parent.atoms.get_scaled_positions()[sites]
    present = {element: number for element, number in numbers.items() if number}
    # Its own search for shells fails in cells of a few atoms: bounds between our shells instead.
    bounds = [0.0, *[(a + b) / 2 for a, b in itertools.pairwise(radii_a)], radii_a[-1] + 0.1]
    # In a cell of a few atoms no nearest image may be left in a shell.
    nearest = parent.atoms[sites].get_all_distances(mic=True)
    weights = {
        shell: weight
        for shell, weight in itertools.islice(SHELL_WEIGHTS.items(), len(radii_a))
        if ((nearest > bounds[shell - 1] + 1e-3) & (nearest <= bounds[shell])).any()
    }
    configuration = sqsgenerator.parse_config({
        "structure": {
            "lattice": parent.atoms.cell.array.tolist(),
            "coords": scaled.tolist(),
            "species": [next(iter(present))] * len(sites),
            "supercell": [1, 1, 1],
        },
        "composition": [present],
        "iterations": iterations,
        "iteration_mode": "random",
        "shell_weights": weights,
        "shell_radii": bounds,
        "seed": seed,
        "thread_config": 1,
    })  # fmt: skip
    if hasattr(configuration, "msg"):  # it returns its errors
        raise ValueError(f"sqsgenerator: {configuration.msg}")
    # Equal objectives come back in no fixed order: sorted, so that one seed gives one answer.
    found: list[list[str]] = []
    # Its warnings are of shells that its own search would have left out. The pack is kept: its
    # results point into it.
    pack = sqsgenerator.optimize(configuration, level=sqsgenerator.core.LogLevel.error)
    for _, results in pack:
        species = sorted(
            {tuple(int(number) for number in result.structure().species) for result in results}
        )
        found += [
            [chemical_symbols[number] for number in numbers]
            for numbers in species[: JUDGED - len(found)]
        ]
    return found
