"""Start cells of a solid solution: its composition on the parent lattices, and the ordered crystals
nearby.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.generation import sqs
from mlip_autopipec.science.generation.alloying import Correlations, Parent, Sublattice
from mlip_autopipec.science.generation.context import supercell
from mlip_autopipec.science.generation.elements import (
    lattice_of,
    reference_crystal,
    simple_lattice,
    touching,
)
from mlip_autopipec.science.lattices import bare

__all__ = ["atoms_of_each", "disordered", "neighbours", "parent_lattices", "pure_elements"]

# Atoms of a start cell, the smallest that holds the composition first.
CELL_SIZES = (16, 24, 32)
CLOSE_PACKED = ("fcc", "bcc", "hcp")
# A start cell may be this far off (atomic fraction) before a larger one is taken.
MAX_DEVIATION = 0.01
# Ordered compounds this near (atomic fraction) share their local surroundings with the solid
# solution.
NEIGHBOURHOOD = 0.15
# Of an ordered neighbour: larger formulas have more prototypes than they teach.
LARGEST_FORMULA = 5


def atoms_of_each(
    fractions: Mapping[str, float], max_atoms: int = CELL_SIZES[-1]
) -> dict[str, int]:
    """Numbers of atoms in the smallest cell of 16, 24 or 32 atoms that comes within 0.01, else in
    the closest one.

    Cells have at most ``max_atoms``, exactly so many where that is below 16. Every element is there
    at least once.
    """
    best: tuple[float, int, dict[str, int]] | None = None
    for size in [size for size in CELL_SIZES if size <= max_atoms] or [
        max(max_atoms, len(fractions))
    ]:
        counts = _rounded(fractions, size)
        off = max(abs(counts[symbol] / size - fractions[symbol]) for symbol in fractions)
        key = (0.0 if off <= MAX_DEVIATION else off, size, counts)
        if best is None or key[:2] < best[:2]:
            best = key
    assert best is not None
    return best[2]


def _rounded(fractions: Mapping[str, float], size: int) -> dict[str, int]:
    """Largest remainders, none below 1, ``size`` in all."""
    counts = {symbol: max(1, int(value * size + 1e-9)) for symbol, value in fractions.items()}
    while (total := sum(counts.values())) != size:
        gap = {symbol: fractions[symbol] * size - number for symbol, number in counts.items()}
        step = 1 if total < size else -1
        movable = [symbol for symbol in sorted(counts) if step > 0 or counts[symbol] > 1]
        counts[max(movable, key=lambda symbol: step * gap[symbol])] += step
    return counts


def parent_lattices(elements: Mapping[str, float]) -> list[str]:
    """Simple lattices of the elements, the one to be expected first, then the commonest (by
    fraction).

    With one close-packed lattice come the other two: alloys often take one that no end member has
    (beta brass). Alloys of transition metals are expected to be bcc up to 6.87 and fcc from 8
    valence electrons per atom (Guo et al., J. Appl. Phys. 109, 103505, 2011), others to have the
    commonest lattice of their elements.
    """
    weight: dict[str, float] = {}
    for symbol, fraction in sorted(elements.items()):
        lattice = lattice_of(symbol)
        if lattice in (*CLOSE_PACKED, "diamond"):
            weight[lattice] = weight.get(lattice, 0.0) + fraction
    if not weight or set(weight) & set(CLOSE_PACKED):
        weight |= {lattice: weight.get(lattice, 0.0) for lattice in CLOSE_PACKED}
    valence = _valence_electrons(elements)
    expected = (
        None if valence is None else "fcc" if valence >= 8 else "bcc" if valence < 6.87 else None
    )
    return sorted(weight, key=lambda lattice: (lattice != expected, -weight[lattice], lattice))


def _valence_electrons(elements: Mapping[str, float]) -> float | None:
    """Electrons outside the noble-gas core (and filled f shell) per atom of transition metals; None
    for others.
    """
    total = 0.0
    for symbol, fraction in elements.items():
        number = atomic_numbers[symbol]
        group = next(
            (number - first + 3 for first in (21, 39, 71) if first <= number <= first + 8), None
        )
        if group is None:
            return None
        total += fraction * group
    return total


def disordered(
    fractions: Mapping[str, float], seed: int, max_atoms: int = CELL_SIZES[-1]
) -> Iterator[Candidate]:
    """The composition spread over each parent lattice so that few pairs of neighbours deviate from
    chance.

    Special quasirandom structures (see ``sqs``) in cells as :func:`atoms_of_each` says;
    ``parameters`` hold their residuals. Equal seeds give equal cells. Raises MissingProgramError
    without sqsgenerator.
    """
    counts = atoms_of_each(fractions, max_atoms)
    for place, lattice in enumerate(parent_lattices(fractions)):
        common = max(sorted(counts), key=lambda symbol: counts[symbol])
        sites = supercell(simple_lattice(common, lattice), sum(counts.values()))
        filled, residuals = _quasirandom(sites, counts, seed)
        atoms = touching(filled)
        name = ",".join(f"{symbol}{number}" for symbol, number in sorted(counts.items()))
        parameters = {
            "prototype": f"disordered {lattice}",
            "disordered": True,
            "expected": place == 0,
            **residuals,
        }
        yield Candidate(
            atoms, Provenance("start", f"{lattice}:{name}", parameters, seed=seed), forced=True
        )


def _quasirandom(sites: Atoms, counts: dict[str, int], seed: int) -> tuple[Atoms, Json]:
    every = np.arange(len(sites))
    held = Sublattice(tuple(sorted(counts)), every, Correlations(sites, every))
    parent = Parent(sites, (held,), 0.0, "")
    symbols, residuals = sqs.quasirandom(parent, held, counts, seed)
    filled = bare(sites)
    filled.symbols[:] = symbols
    return filled, residuals


def pure_elements(fractions: Mapping[str, float]) -> Iterator[Candidate]:
    """The known crystal of each element that has a small one: the ends of the composition range."""
    for symbol in sorted(fractions):
        known = reference_crystal(symbol)
        if known is not None:
            yield known


def neighbours(fractions: Mapping[str, float]) -> list[dict[str, int]]:
    """Formulas of at most 5 atoms near a binary or ternary composition (every fraction within
    0.15), nearest first.

    Nothing for more elements: their ordered crystals are rare and large.
    """
    symbols = sorted(fractions)
    if not 2 <= len(symbols) <= 3:
        return []
    found: list[tuple[float, tuple[int, ...]]] = []
    for numbers in itertools.product(range(1, LARGEST_FORMULA), repeat=len(symbols)):
        total = sum(numbers)
        off = max(
            abs(n / total - fractions[symbol]) for n, symbol in zip(numbers, symbols, strict=True)
        )
        if total <= LARGEST_FORMULA and np.gcd.reduce(numbers) == 1 and off <= NEIGHBOURHOOD:
            found.append((round(off, 9), numbers))
    return [dict(zip(symbols, numbers, strict=True)) for _, numbers in sorted(found)]
