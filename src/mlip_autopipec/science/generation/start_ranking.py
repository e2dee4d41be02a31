"""Start crystals relaxed and ranked by the surrogate, dear steps for the promising ones only.

Each rung of the ladder sees fewer structures than the one before: energies of every proposal on a
few volumes, a short relaxation of the most promising of these, a longer one of the most promising
of those, and a tight one of what is kept. What is promising is judged by energy less what the
forces still promise. Proposals that end in one crystal are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.science.generation.context import FloatArray
from mlip_autopipec.science.generation.matching import same_structure
from mlip_autopipec.science.generation.start_relaxation import (
    TIGHT_FORCE_EV_PER_A,
    Evaluate,
    Tried,
    relaxed_with_energy,
    scanned,
)
from mlip_autopipec.science.lattices import bare, standard_cell
from mlip_autopipec.science.screening import composition

__all__ = ["Start", "ranked", "unranked"]

# Starts within this of the lowest: about what heat and the surrogate's error can turn around.
KEPT_ABOVE_LOWEST_EV_PER_ATOM = 0.1
# Close-packed stackings lie within the surrogate's error of each other: there the crystal known for
# the element wins.
REFERENCE_BONUS_EV_PER_ATOM = 0.02
#: Temperature (K) of the ideal mixing entropy that disordered cells are credited with: where alloys
#: are annealed.
MIXING_K = 1000.0
# Starts that everything is built on, and crystals far above them that are shown to the fit.
MOST_NEAR, MOST_HIGH = 8, 3
# Above the lowest: no crystal that is worth a label lies higher.
HIGHEST_EV_PER_ATOM = 1.0
# Structures that reach the short and the long relaxation, by their energy and by what their forces
# promise: of the asked composition, and of every other one.
Quota = dict[bool, tuple[int, int]]
# Quotas of the short relaxation; True: of the asked composition.
SHORT: Quota = {True: (20, 6), False: (6, 2)}
# Quotas of the long one.
LONG: Quota = {True: (10, 2), False: (4, 1)}
# Steps of each relaxation: to tell the promising, to rank them, and to build on them.
SHORT_STEPS, LONG_STEPS, TIGHT_STEPS = 12, 80, 150
# The long relaxation ends here: good enough to rank by energy.
LONG_FORCE_EV_PER_A = 0.03
# Only crystals this near in energy are compared as possibly the same one.
SAME_ENERGY_EV_PER_ATOM = 0.01


@dataclass(frozen=True, slots=True)
class Start:
    """A start structure. Energies are None where no surrogate ranked it.

    ``above_ev_per_atom``: above the lowest start; of a solid solution, above the convex hull of the
    ordered ones.
    ``near``: one of those that everything else is built on; the others are far above, and few.
    """

    candidate: Candidate
    energy_ev_per_atom: float | None = None
    above_ev_per_atom: float | None = None
    near: bool = True


@dataclass(frozen=True, slots=True)
class _Entry:
    index: int
    candidate: Candidate
    energy: float
    promised: float = 0.0

    @property
    def disordered(self) -> bool:
        return bool(self.candidate.provenance.parameters.get("disordered"))

    @property
    def key(self) -> str:
        return composition(self.candidate.atoms)


def ranked(
    proposals: Sequence[Candidate],
    evaluate: Evaluate,
    *,
    fractions: dict[str, float] | None = None,
    keep_all: bool = False,
) -> list[Start]:
    """The starts, best first, relaxed and without duplicates: those near the lowest, then a few
    high ones.

    Near: within 0.1 eV/atom of the lowest (at most 8, more with ``keep_all``: the user's own
    structures, which are all kept). An element's reference state comes first when it lies within
    0.02 eV/atom of the lowest.

    ``fractions``: the composition of a solid solution, whose starts differ in composition. They are
    compared by their height above the convex hull of the ordered ones; a disordered cell is
    credited with T S of ideal mixing at 1000 K. The best start of the asked composition comes
    first, for everything that takes one start only (the lattice that is expected where it lies
    within 0.02 eV/atom); then the compound on the hull that is nearest in composition, if there is
    one; then by height, at equal height nearest composition first.

    ``evaluate``: see :class:`Evaluate`.
    """
    entries = [
        _Entry(index, _with_atoms(item, _reduced(item.atoms)), 0.0)
        for index, item in enumerate(proposals)
    ]
    if keep_all:
        return _own(_step("relaxation", entries, evaluate, _tight()))
    asked = None if fractions is None else _asked(proposals, fractions)
    entries = _best(_step("energies of prototypes", entries, evaluate, scanned), SHORT, asked)
    short = partial(relaxed_with_energy, max_force_ev_per_a=LONG_FORCE_EV_PER_A, steps=SHORT_STEPS)
    tried = _step("first relaxation", entries, evaluate, short)
    entries = _best(tried, LONG, asked)
    long = partial(relaxed_with_energy, max_force_ev_per_a=LONG_FORCE_EV_PER_A, steps=LONG_STEPS)
    entries = [_standard(entry) for entry in _step("relaxation", entries, evaluate, long)]
    heights = _heights(entries, fractions)
    order = _order(_merged(_sorted(entries)), heights, fractions, asked)
    near = [entry for entry in order if heights[entry.index] <= KEPT_ABOVE_LOWEST_EV_PER_ATOM][
        :MOST_NEAR
    ]
    if asked is not None and order and order[0] not in near:
        near.insert(0, order[0])
    relaxed_indices = {entry.index for entry in entries}
    near_indices = {entry.index for entry in near}
    # A disordered cell has no perfect positions to be found.
    ordered = [entry for entry in near if not entry.disordered]
    tight = {
        entry.index: _standard(entry)
        for entry in _step("last relaxation", ordered, evaluate, _tight())
    }
    near = [
        tight.get(entry.index, entry) for entry in near if entry.disordered or entry.index in tight
    ]
    # What the short relaxation left is far from a minimum, but may be needed where every relaxed
    # one is near.
    others = [entry for entry in order if entry.index not in near_indices]
    others += [_standard(entry) for entry in tried if entry.index not in relaxed_indices]
    heights = _heights([*near, *others], fractions)
    near = _order(_merged(_sorted(near)), heights, fractions, asked)
    limits = KEPT_ABOVE_LOWEST_EV_PER_ATOM, HIGHEST_EV_PER_ATOM
    high = [entry for entry in others if limits[0] < heights[entry.index] <= limits[1]]
    high = sorted(_merged(_sorted(high)), key=lambda entry: heights[entry.index])[:MOST_HIGH]
    return _as_starts(near, heights) + [
        replace(start, near=False) for start in _as_starts(high, heights)
    ]


def unranked(proposals: Sequence[Candidate], most: int) -> list[Start]:
    """The first ``most`` proposals as they are, where no surrogate knows every element."""
    return [Start(_with_atoms(item, bare(item.atoms))) for item in proposals[:most]]


def _tight() -> Any:
    return partial(relaxed_with_energy, max_force_ev_per_a=TIGHT_FORCE_EV_PER_A, steps=TIGHT_STEPS)


def _step(
    what: str,
    entries: Sequence[_Entry],
    evaluate: Evaluate,
    work: Callable[[Atoms, Calculator], Tried | None],
) -> list[_Entry]:
    """The entries with new atoms and energies; those that failed are left out."""
    results = evaluate(what, work, [entry.candidate.atoms for entry in entries])
    return [
        _Entry(
            entry.index,
            _with_atoms(entry.candidate, found.atoms),
            found.energy_ev_per_atom,
            found.promised_ev_per_atom,
        )
        for entry, found in zip(entries, results, strict=True)
        if found is not None
    ]


def _best(entries: Sequence[_Entry], quota: Quota, asked: str | None) -> list[_Entry]:
    """The lowest of each composition, the most promising others, and whatever is forced (reference
    states ...).
    """
    kept: list[_Entry] = []
    for key in dict.fromkeys(entry.key for entry in entries):
        same = [entry for entry in entries if entry.key == key]
        lowest, promising = quota[asked is None or key == asked]
        chosen = _sorted(same)[:lowest]
        rest = sorted(
            (entry for entry in same if entry not in chosen),
            key=lambda entry: (entry.promised, entry.index),
        )
        kept += [
            *chosen,
            *rest[:promising],
            *(entry for entry in rest[promising:] if entry.candidate.forced),
        ]
    return sorted(kept, key=lambda entry: entry.index)


def _sorted(entries: Sequence[_Entry]) -> list[_Entry]:
    return sorted(entries, key=lambda entry: (_rank_energy(entry), entry.index))


def _rank_energy(entry: _Entry) -> float:
    return entry.energy - _bonus(entry)


def _bonus(entry: _Entry) -> float:
    """For an element's known crystal, and the lattice that an alloy is expected to have."""
    provenance = entry.candidate.provenance
    known = provenance.group.startswith("reference:") or provenance.parameters.get("expected")
    return REFERENCE_BONUS_EV_PER_ATOM if known else 0.0


def _merged(entries: Sequence[_Entry]) -> list[_Entry]:
    """Of entries that are one crystal the first is kept, under the name of the one that was
    proposed first.

    Common prototypes are proposed before rare ones: marcasite that relaxes to rutile is called
    rutile.
    """
    kept: list[_Entry] = []
    for entry in entries:
        place = next((place for place, other in enumerate(kept) if _same(entry, other)), None)
        if place is None:
            kept.append(entry)
            continue
        first, source = kept[place], entry.candidate.provenance
        if entry.index < first.index and entry.disordered == first.disordered:
            kept[place] = replace(first, candidate=replace(first.candidate, provenance=source))
    return kept


def _same(one: _Entry, other: _Entry) -> bool:
    near = one.key == other.key and abs(one.energy - other.energy) < SAME_ENERGY_EV_PER_ATOM
    return near and same_structure(one.candidate.atoms, other.candidate.atoms)


def _asked(proposals: Sequence[Candidate], fractions: dict[str, float]) -> str:
    """Key of the composition that a solid solution's disordered cells have, or of the proposal
    nearest to it.
    """
    return composition(min(proposals, key=lambda item: _distance(item.atoms, fractions)).atoms)


def _distance(atoms: Atoms, fractions: dict[str, float]) -> float:
    shares = _shares(atoms, list(fractions))
    return round(float(np.abs(shares - list(fractions.values())).max()), 6)


def _heights(entries: Sequence[_Entry], fractions: dict[str, float] | None) -> dict[int, float]:
    """Index -> eV/atom above the lowest, or above the convex hull of the ordered entries (mixing
    entropy credited).
    """
    if not entries:
        return {}
    if fractions is None:
        lowest = min(entry.energy for entry in entries)
        return {entry.index: entry.energy - lowest for entry in entries}
    symbols = sorted(fractions)
    ends = [entry for entry in entries if not entry.disordered]
    points = np.array([_shares(entry.candidate.atoms, symbols) for entry in ends]).reshape(
        -1, len(symbols)
    )
    energies = np.array([entry.energy for entry in ends])
    found = {}
    for entry in entries:
        share = _shares(entry.candidate.atoms, symbols)
        hull = _hull(points, energies, share)
        height = entry.energy - (entry.energy if hull is None else hull)
        if entry.disordered:
            present = share[share > 0]
            height += units.kB * MIXING_K * float(np.sum(present * np.log(present)))
        found[entry.index] = height
    return found


def _shares(atoms: Atoms, symbols: Sequence[str]) -> FloatArray:
    counts = atoms.symbols.formula.count()
    return np.array([counts.get(symbol, 0) / len(atoms) for symbol in symbols])


def _hull(points: FloatArray, energies: FloatArray, share: FloatArray) -> float | None:
    """Lowest energy of any mixture of ``points`` (n, elements) with the composition ``share``; None
    without one.
    """
    from scipy.optimize import linprog

    if not len(points):
        return None
    solved = linprog(energies, A_eq=points.T, b_eq=share, bounds=(0, None), method="highs")
    return float(solved.fun) if solved.success else None


def _order(
    entries: list[_Entry],
    heights: dict[int, float],
    fractions: dict[str, float] | None,
    asked: str | None,
) -> list[_Entry]:
    if fractions is None:
        return _sorted(entries)

    def key(entry: _Entry) -> tuple[float, float, int]:
        return (
            round(heights[entry.index], 3),
            _distance(entry.candidate.atoms, fractions),
            entry.index,
        )

    order = sorted(entries, key=key)
    same = sorted(
        (entry for entry in order if entry.key == asked), key=lambda e: heights[e.index] - _bonus(e)
    )
    first = same[:1]
    stable = [
        entry
        for entry in order
        if key(entry)[0] == 0 and not entry.disordered and _is_compound(entry)
    ]
    chosen = first + [entry for entry in stable if entry not in first][:1]
    return chosen + [entry for entry in order if entry not in chosen]


def _is_compound(entry: _Entry) -> bool:
    return len(set(entry.candidate.atoms.numbers.tolist())) > 1


def _as_starts(entries: Sequence[_Entry], heights: dict[int, float]) -> list[Start]:
    return [
        Start(replace(entry.candidate, forced=False), entry.energy, heights[entry.index])
        for entry in entries
    ]


def _own(entries: Sequence[_Entry]) -> list[Start]:
    """The user's structures: each composition by itself, in the order of the file, lowest energy
    first.
    """
    starts: list[Start] = []
    for key in dict.fromkeys(entry.key for entry in entries):
        same = _merged(_sorted([entry for entry in entries if entry.key == key]))
        starts += _as_starts(same, _heights(same, None))
    return starts


def _standard(entry: _Entry) -> _Entry:
    return replace(
        entry,
        candidate=_with_atoms(
            entry.candidate, standard_cell(entry.candidate.atoms, primitive=True)
        ),
    )


def _reduced(atoms: Atoms) -> Atoms:
    """The primitive cell where it is smaller: the same relaxation for less."""
    primitive = standard_cell(atoms, primitive=True)
    return primitive if len(primitive) < len(atoms) else bare(atoms)


def _with_atoms(start: Candidate, atoms: Atoms) -> Candidate:
    return Candidate(atoms, start.provenance, start.forced)
