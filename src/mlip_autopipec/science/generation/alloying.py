"""Solid solutions: which elements share sites, which compositions a cell can hold, and how random a
decoration is.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from mlip_autopipec.science.generation.context import Context, FloatArray, deformed, supercell
from mlip_autopipec.science.lattices import bare, standard_cell

__all__ = [
    "Correlations",
    "Parent",
    "Sublattice",
    "compositions",
    "decorated",
    "mixing_groups",
    "mixing_partners",
    "parents",
]

IntArray = NDArray[np.int64]

# Elements that take the anion's sites of a compound; the others share the metal's. Among themselves
# both kinds mix.
_ANION_SITES = frozenset(
    {"H", "B", "C", "N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Sb", "Te", "I"}
)
# Steps of the grid of compositions around the asked one, in atomic fractions of a sublattice.
GRID_STEPS = (0.125, 0.25)
# Of spglib, tried in turn: relaxed starts are slightly off their symmetry.
SITE_TOLERANCES_A = (0.01, 0.1, 0.3)
# Shells of neighbours whose occupation is counted.
SHELLS = 3
# In edges of the cube that holds one site: the fourth shells of simple lattices lie within 2.3.
FARTHEST_SHELL = 3.0


def mixing_groups(elements: Sequence[str]) -> list[tuple[str, ...]]:
    """The elements by the sublattice they share: metals and anions apart where there are both,
    sorted.
    """
    metals = tuple(sorted(set(elements) - _ANION_SITES))
    anions = tuple(sorted(set(elements) & _ANION_SITES))
    return [group for group in (metals, anions) if group]


def mixing_partners(element: str, elements: Sequence[str]) -> list[str]:
    """The other elements among ``elements`` that may take a site of ``element``, sorted."""
    groups = mixing_groups({element, *elements})  # type: ignore[arg-type]
    return [other for group in groups if element in group for other in group if other != element]


@dataclass(frozen=True, slots=True)
class Sublattice:
    """Indices ``sites`` of a parent that ``elements`` share, and the counter of its
    ``correlations``.
    """

    elements: tuple[str, ...]
    sites: IntArray
    correlations: Correlations


@dataclass(frozen=True, slots=True)
class Parent:
    """A supercell whose ``sublattices`` wait for their atoms.

    ``bond_a``: mean bond of the start's own elements, to which its volume belongs. ``name``: of the
    start.
    """

    atoms: Atoms
    sublattices: tuple[Sublattice, ...]
    bond_a: float
    name: str


def parents(context: Context, sizes: Sequence[int]) -> list[Parent]:
    """The distinct lattices of the starts with their decoration taken off, in supercells of about
    each of ``sizes``.

    A start serves when its sublattices have the sizes that the composition asks for. Those whose
    sites form no shells serve only where no other does. Empty when no two elements of the
    composition share a sublattice, as in elements and stoichiometric compounds.
    """
    groups = mixing_groups(context.elements)
    if all(len(group) < 2 for group in groups):
        return []
    found: list[Parent] = []
    blurred: list[Parent] = []
    seen: set[tuple[object, ...]] = set()
    for start in context.starts:
        plain = _undecorated(start.atoms, groups, context.fractions)
        if plain is None:
            continue
        for size in sizes:
            cell = supercell(plain, size)
            spread = np.sort(cell.get_all_distances(mic=True)[0]) / (
                cell.get_volume() / len(cell)
            ) ** (1 / 3)
            lattice = (len(cell), *np.round(spread, 1))
            if len(cell) < 2 or len(cell) > context.max_atoms or lattice in seen:
                continue
            seen.add(lattice)
            held = tuple(_sublattice(cell, group) for group in groups if len(group) > 1)
            bond = _mean_bond_a(start.atoms.get_chemical_symbols(), metal=len(groups) == 1)
            parent = Parent(cell, held, bond, start.provenance.group)
            shells = min(len(sublattice.correlations.radii_a) for sublattice in held)
            if shells:
                (found if shells == SHELLS else blurred).append(parent)
    return found or blurred


def _sublattice(cell: Atoms, group: tuple[str, ...]) -> Sublattice:
    sites = np.flatnonzero(cell.numbers == atomic_numbers[group[0]])
    return Sublattice(group, sites, Correlations(cell, sites))


def _undecorated(
    atoms: Atoms, groups: Sequence[tuple[str, ...]], fractions: Mapping[str, float]
) -> Atoms | None:
    """The primitive lattice with each site taken by the first element of its group; None where
    sites do not suit.
    """
    if not atoms.pbc.all():
        return None
    plain = bare(atoms)
    taken = np.zeros(len(atoms), dtype=bool)
    for group in groups:
        # A start may hold an element that the composition lacks; its site goes to the group it
        # would mix with.
        sites = np.array(
            [s in group or bool(set(mixing_partners(s, group)) & set(group)) for s in atoms.symbols]
        )
        share = sum(fractions[element] for element in group)
        if len(groups) > 1 and abs(sites.mean() - share) > 0.5 / max(len(atoms), 8):
            return None
        plain.numbers[sites] = atomic_numbers[group[0]]
        taken |= sites
    if not taken.all():
        return None
    # Atoms of a relaxed alloy are off their sites by some tenths of an Å; the fewest atoms, at the
    # finest tolerance.
    return min(
        (standard_cell(plain, primitive=True, symprec_a=a) for a in SITE_TOLERANCES_A), key=len
    )


def compositions(
    fractions: Mapping[str, float], elements: Sequence[str], sites: int
) -> list[dict[str, int]]:
    """Numbers of atoms of ``elements`` on ``sites`` sites: the asked composition first, then a grid
    around it.

    The first one has every element at least once where there is room. Those that follow have an
    eighth or a quarter of the sites moved from one element to another (all atoms of an element that
    has fewer, which gives the pure ends).
    """
    total = sum(fractions[element] for element in elements)
    wanted = np.array([fractions[element] / total * sites for element in elements])
    target = np.floor(wanted).astype(int)
    for index in np.argsort(target - wanted, kind="stable")[: sites - int(target.sum())]:
        target[index] += 1
    while sites >= len(elements) and (target == 0).any():
        target[np.argmax(target)] -= 1
        target[np.argmin(target)] += 1
    grid = [tuple(int(n) for n in target)]
    for step in GRID_STEPS:
        for giver, taker in itertools.permutations(range(len(elements)), 2):
            moved = min(max(1, round(step * sites)), int(target[giver]))
            shifted = target.copy()
            shifted[giver] -= moved
            shifted[taker] += moved
            grid.append(tuple(int(n) for n in shifted))
    return [dict(zip(elements, numbers, strict=True)) for numbers in dict.fromkeys(grid)]


def decorated(parent: Parent, symbols: Sequence[tuple[IntArray, Sequence[str]]]) -> Atoms:
    """The parent with the given symbols on the given sites, scaled by Vegard's rule from the
    start's composition.
    """
    atoms = bare(parent.atoms)
    for sites, names in symbols:
        atoms.numbers[sites] = [atomic_numbers[name] for name in names]
    metal = all(len(held.sites) == len(atoms) for held in parent.sublattices)
    return deformed(
        atoms,
        np.eye(3) * (_mean_bond_a(atoms.get_chemical_symbols(), metal=metal) / parent.bond_a - 1),
    )


def _mean_bond_a(symbols: Sequence[str], *, metal: bool) -> float:
    """Average over the atoms of the bond (Å) of each with its own kind.

    ``metal``: nearest distance in the element's own crystal where ASE knows it; else twice the
    covalent radius, as is right where metals bond to anions.
    """
    return sum(_bond_a(symbol, metal) for symbol in symbols) / len(symbols)


@functools.cache
def _bond_a(symbol: str, metal: bool) -> float:
    if metal:
        with contextlib.suppress(ValueError, RuntimeError, KeyError, NotImplementedError):
            distances = neighbor_list("d", bulk(symbol), 5.6)
            if len(distances):
                return float(distances.min())
    return 2 * float(covalent_radii[atomic_numbers[symbol]])


class Correlations:
    """Pair and triplet probabilities of a decoration on fixed sites, periodic images included.

    Shells are those of the sites alone. For the random alloy P(a, b) = x_a x_b in every shell and
    P(a; b, c) = x_a x_b x_c for a centre with two of its first neighbours. The residuals are the
    largest deviations from that. There are fewer than ``shells`` shells (``radii_a``), perhaps
    none, where sites of low symmetry leave no gap in the distances from some distance on.
    """

    def __init__(
        self, atoms: Atoms, sites: IntArray, shells: int = SHELLS, tolerance_a: float = 0.08
    ) -> None:
        lattice = Atoms(
            numbers=[1] * len(sites),
            positions=atoms.positions[sites],
            cell=atoms.cell,
            pbc=atoms.pbc,
        )
        spacing_a = (atoms.get_volume() / len(sites)) ** (1 / 3)
        reach = 1.5 * spacing_a
        while True:
            i, j, distance = neighbor_list("ijd", lattice, reach)
            edges = np.unique(np.round(distance / tolerance_a).astype(int))
            starts = edges[np.r_[True, np.diff(edges) > 1]] if len(edges) else edges
            if len(starts) > shells or reach > FARTHEST_SHELL * spacing_a:
                break
            reach *= 1.3
        shells = max(0, min(shells, len(starts) - 1))
        bounds = (starts[: shells + 1] - 1) * tolerance_a
        member = np.searchsorted(bounds, distance, side="right") - 1
        self.sites = len(sites)
        self.radii_a = [round(float(distance[member == s].mean()), 4) for s in range(shells)]
        self.pairs = [(i[member == s], j[member == s]) for s in range(shells)]
        first = [j[(member == 0) & (i == site)] for site in range(len(sites))] if shells else []
        corners = [
            (s, b, c)
            for s, around in enumerate(first)
            for b, c in itertools.combinations(around, 2)
        ]
        self.corners = np.array(corners, dtype=int).reshape(-1, 3)

    def pair_probabilities(self, kinds: IntArray, species: int) -> FloatArray:
        """(shells, species, species): share of ordered neighbour pairs with these kinds.

        ``kinds`` (sites,).
        """
        found = np.zeros((len(self.pairs), species, species))
        for shell, (i, j) in enumerate(self.pairs):
            counted = np.bincount(kinds[i] * species + kinds[j], minlength=species**2)
            found[shell] = counted.reshape(species, species) / len(i)
        return found

    def pair_residuals(self, kinds: IntArray, species: int) -> FloatArray:
        """Largest |P(a, b) - x_a x_b| of every shell."""
        share = np.bincount(kinds, minlength=species) / self.sites
        gaps = np.abs(self.pair_probabilities(kinds, species) - np.outer(share, share))
        return np.asarray(gaps.max(axis=(1, 2)))

    def triplet_residual(self, kinds: IntArray, species: int) -> float:
        """Largest |P(a; b, c) - x_a x_b x_c| over a centre and two of its first neighbours, b and c
        in any order.
        """
        share = np.bincount(kinds, minlength=species) / self.sites
        a, b, c = kinds[self.corners].T
        counted = np.bincount((a * species + b) * species + c, minlength=species**3).reshape(
            (species,) * 3
        )
        found = (counted + counted.transpose(0, 2, 1)) / (2 * len(self.corners))
        return float(np.abs(found - np.einsum("a,b,c->abc", share, share, share)).max())
