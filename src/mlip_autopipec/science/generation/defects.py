"""Point defects on lattice sites: vacancies, divacancies, antisites and foreign atoms, relaxed
loosely, then rattled.

The supercell keeps a defect's images more than 8 Å apart where DFT can afford that many atoms, else
it is the largest it can. A relaxed defect with its rattled copies is one group.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from ase import Atoms

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.contacts import BUILT_LIMIT, closest_contact
from mlip_autopipec.science.generation.alloying import mixing_partners
from mlip_autopipec.science.generation.context import Context, rattled, supercell
from mlip_autopipec.science.generation.defect_cells import SEPARATION_A, defect_cell
from mlip_autopipec.science.generation.relaxing import loosely_relaxed, separated
from mlip_autopipec.science.lattices import bare, separation_a

__all__ = ["antisites", "divacancies", "family", "substitutions", "vacancies"]

# A perfect supercell and a running number -> the defective cell and what was done to it; None where
# impossible.
Maker = Callable[[Atoms, int], tuple[Atoms, Json] | None]


def vacancies(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 16,
    copies: int = 3,
    relax_steps: int = 15,
    sigma_min_a: float = 0.03,
    sigma_max_a: float = 0.15,
    whole_units: bool = False,
    **_: object,
) -> list[Candidate]:
    """Supercells of at most ``max_atoms`` atoms without one atom, ``copies`` rattled copies of
    each.

    The removed atom is drawn at random (species take turns by chance of their number). With
    ``whole_units`` the nearest atoms of the other species go with it, as many as make a formula
    unit (Schottky's defect, bound). Starts too large for the limit or not periodic are left out.
    """

    def make(cell: Atoms, number: int) -> tuple[Atoms, Json] | None:
        removed = int(rng.integers(len(cell)))
        if not whole_units:
            return _without(cell, [removed]), {"removed": str(cell.symbols[removed])}
        unit = _formula_unit(cell, removed)
        if len(unit) == len(cell):
            return None
        return _without(cell, unit), {"removed": sorted(str(cell.symbols[i]) for i in unit)}

    return family(
        "vacancy",
        make,
        context,
        count,
        rng,
        max_atoms,
        copies,
        relax_steps,
        (sigma_min_a, sigma_max_a),
        blocky=True,
    )


def divacancies(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 32,
    copies: int = 3,
    relax_steps: int = 15,
    sigma_min_a: float = 0.03,
    sigma_max_a: float = 0.12,
    **_: object,
) -> list[Candidate]:
    """As :func:`vacancies` without two atoms: nearest neighbours first, then the second distance,
    in turn.
    """

    def make(cell: Atoms, number: int) -> tuple[Atoms, Json] | None:
        first = int(rng.integers(len(cell)))
        shells = _shells(cell, first)
        if len(cell) < 6 or not shells:
            return None
        distance, members = shells[number % min(2, len(shells))]
        pair = [first, int(rng.choice(members))]
        named = sorted(str(cell.symbols[index]) for index in pair)
        return _without(cell, pair), {"removed": named, "distance_a": round(distance, 4)}

    return family(
        "divacancy",
        make,
        context,
        count,
        rng,
        max_atoms,
        copies,
        relax_steps,
        (sigma_min_a, sigma_max_a),
    )


def antisites(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 32,
    copies: int = 2,
    relax_steps: int = 15,
    sigma_min_a: float = 0.02,
    sigma_max_a: float = 0.1,
    **_: object,
) -> list[Candidate]:
    """Compounds: two neighbours of unlike species change places; every third time one atom alone is
    replaced.

    The exchange keeps the composition (and the charge of an ionic crystal). Nothing for elements.
    """

    def make(cell: Atoms, number: int) -> tuple[Atoms, Json] | None:
        if len(set(cell.numbers)) < 2:
            return None
        first = int(rng.integers(len(cell)))
        unlike = [
            int(other)
            for _, members in _shells(cell, first)[:3]
            for other in members
            if cell.numbers[other] != cell.numbers[first]
        ]
        if not unlike:
            return None
        second = unlike[int(rng.integers(len(unlike)))]
        one, two = str(cell.symbols[first]), str(cell.symbols[second])
        changed = bare(cell)
        changed.symbols[first] = two
        if number % 3 == 2:
            return changed, {"removed": [one], "added": [two]}
        changed.symbols[second] = one
        return changed, {"exchanged": sorted((one, two))}

    return family(
        "antisite",
        make,
        context,
        count,
        rng,
        max_atoms,
        copies,
        relax_steps,
        (sigma_min_a, sigma_max_a),
    )


def substitutions(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 32,
    copies: int = 2,
    relax_steps: int = 15,
    sigma_min_a: float = 0.02,
    sigma_max_a: float = 0.1,
    **_: object,
) -> list[Candidate]:
    """Alloys: one atom, every second time two neighbours, replaced by an element of the material
    that mixes with it.

    Nothing where no element mixes with another (elements, ionic compounds).
    """

    def make(cell: Atoms, number: int) -> tuple[Atoms, Json] | None:
        sites = [
            i for i in range(len(cell)) if mixing_partners(str(cell.symbols[i]), context.elements)
        ]
        if not sites:
            return None
        first = sites[int(rng.integers(len(sites)))]
        chosen = [first]
        near = [
            int(other)
            for _, members in _shells(cell, first)[:1]
            for other in members
            if int(other) in sites
        ]
        if number % 2 and near:
            chosen.append(near[int(rng.integers(len(near)))])
        changed, removed, added = bare(cell), [], []
        for site in chosen:
            partners = mixing_partners(str(cell.symbols[site]), context.elements)
            removed.append(str(cell.symbols[site]))
            added.append(partners[int(rng.integers(len(partners)))])
            changed.symbols[site] = added[-1]
        return changed, {"removed": removed, "added": added}

    return family(
        "substitution",
        make,
        context,
        count,
        rng,
        max_atoms,
        copies,
        relax_steps,
        (sigma_min_a, sigma_max_a),
    )


def family(
    strategy: str,
    make: Maker,
    context: Context,
    count: int,
    rng: np.random.Generator,
    max_atoms: int,
    copies: int,
    relax_steps: int,
    sigmas_a: tuple[float, float],
    *,
    blocky: bool = False,
) -> list[Candidate]:
    """Defects of each periodic start in turn, each relaxed loosely and given ``copies`` rattled
    copies.

    ``make`` builds one; what it reports goes into ``parameters``. ``max_atoms`` counts the perfect
    supercell. With ``blocky`` a cell that cannot keep images apart is :func:`supercell`'s, whose
    DFT needs fewer k-points.
    """
    made: list[Candidate] = []
    limit = min(max_atoms, context.max_atoms)
    cells = [
        (_cell(s.atoms, limit, blocky), s.provenance.group)
        for s in context.starts
        if s.atoms.pbc.all()
    ]
    cells = [(cell, name) for cell, name in cells if 4 <= len(cell) <= context.max_atoms]
    index, vain = 0, 0
    while cells and len(made) < count and vain < 2 * len(cells):
        cell, name = cells[index % len(cells)]
        built = make(cell, index // len(cells))
        if built is None or len(built[0]) > context.max_atoms:
            index, vain = index + 1, vain + 1
            continue
        defect = loosely_relaxed(separated(built[0]), context.calculator, relax_steps)
        if closest_contact(defect) < BUILT_LIMIT:  # no room for it in a cell this small
            index, vain = index + 1, vain + 1
            continue
        vain = 0
        for _copy in range(min(copies, count - len(made))):
            sigma = float(rng.uniform(*sigmas_a))
            parameters = {"rattle_a": round(sigma, 6), "atoms": len(defect), **built[1]}
            provenance = Provenance(
                strategy, f"{strategy}:{context.seed}:{index}", parameters, name, context.seed
            )
            made.append(Candidate(rattled(defect, sigma, rng), provenance))
        index += 1
    return made


def _cell(atoms: Atoms, max_atoms: int, blocky: bool) -> Atoms:
    cell = defect_cell(atoms, max_atoms)
    return (
        supercell(atoms, max_atoms)
        if blocky and separation_a(cell.cell.array) < SEPARATION_A
        else cell
    )


def _without(cell: Atoms, removed: list[int]) -> Atoms:
    hole = bare(cell)
    del hole[removed]
    return hole


def _formula_unit(cell: Atoms, first: int) -> list[int]:
    """``first`` and the atoms nearest to it with which it makes one formula unit."""
    amounts = cell.symbols.formula.count()
    units = math.gcd(*amounts.values())
    wanted = {symbol: amount // units for symbol, amount in amounts.items()}
    chosen: list[int] = []
    for atom in [first, *(i for _, members in _shells(cell, first) for i in members)]:
        symbol = str(cell.symbols[atom])
        if wanted[symbol]:
            wanted[symbol] -= 1
            chosen.append(atom)
    return chosen


def _shells(cell: Atoms, atom: int) -> list[tuple[float, list[int]]]:
    """Distances (Å, nearest images) from ``atom``, ascending, with the atoms at each."""
    distances = cell.get_distances(atom, range(len(cell)), mic=True)
    shells: list[tuple[float, list[int]]] = []
    for other in np.argsort(distances, kind="stable"):
        if int(other) == atom:
            continue
        if shells and distances[other] - shells[-1][0] < 0.1:
            shells[-1][1].append(int(other))
        else:
            shells.append((float(distances[other]), [int(other)]))
    return shells
