"""Labels from anywhere: copies, energies that the others contradict, units that do not fit.

Nothing is silent: what is left out has a reason, what is doubted is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.science.fingerprints import structure_key
from mlip_autopipec.science.label_units import Relation, of_stress, per_atom, relation

__all__ = ["Gate", "judge"]

# Copies of one geometry agree so well (eV/atom, eV/Å) in one method.
SAME_EV_PER_ATOM, SAME_EV_PER_A = 1e-3, 0.02
# An energy is an outlier when a fit of pair terms to all others misses it by so many robust widths,
# and by more than any smooth surface would (eV/atom): of 239 labels of silicon (mlearn: melt,
# defects, surfaces) none is, of one 0.47 eV/atom too low among 29 every one.
WIDTHS, LEAST_EV_PER_ATOM = 10.0, 0.25
# Where a structure decides its own fit (leverage above), the others cannot judge it.
MOST_LEVERAGE = 0.5
# More than this share is a population, not outliers: said, and learned.
MOST_OUTLIERS = 0.05
# Too few structures for a fit: one that far (eV/atom) below the next of its composition, or that
# far above with forces that are calm (eV/Å), is a slip. Free atoms cost up to 9 eV/atom.
GROSS_LOW_EV, GROSS_HIGH_EV, CALM_EV_PER_A = 2.0, 15.0, 20.0
# And of no composition with fewer others anything is said.
ENOUGH_OTHERS = 4
# Pair terms: radial functions up to this distance.
REACH_A, RADIAL = 5.0, 6
#: Elements in fewer structures are told.
RARE = 3


@dataclass(frozen=True, slots=True)
class Gate:
    """``leave``: index -> why; ``without_stress``: of none the stress may be learned; ``doubt``:
    why energies and forces cannot both be in eV and eV/Å, or energies cannot be totals.
    """

    leave: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    without_stress: bool = False
    doubt: str | None = None


def judge(items: Sequence[LabelledStructure], *, keep: bool = False) -> Gate:
    """What is left out and what is said; ``keep``: outliers, odd copies and stresses stay."""
    leave, notes = _copies(items, keep), list[str]()
    rest = [index for index in range(len(items)) if index not in leave]
    broken = _outliers([items[index] for index in rest])
    named = {rest[index]: off for index, off in broken.items()}
    if len(named) > max(1, MOST_OUTLIERS * len(rest)):
        notes.append(f"{len(named)} energies lie far from what the others say, but are learned")
    elif keep and named:
        notes.append(f"energies far from what the others say: structures {sorted(named)}")
    else:
        for index, off in named.items():
            side = "below" if off < 0 else "above"
            leave[index] = f"energy {abs(off):.2g} eV/atom {side} what the others say"
    notes += _rare([item for index, item in enumerate(items) if index not in leave])
    found: Relation | None = relation(items)
    strange = None if found is None else of_stress(found)
    if strange is not None:
        notes.append(strange + ("" if keep else "; no stress is learned"))
    doubt = (None if found is None else found.complaint) or per_atom(items)
    return Gate(leave, tuple(notes), strange is not None and not keep, doubt)


def _copies(items: Sequence[LabelledStructure], keep: bool) -> dict[int, str]:
    """Later copies of one geometry; all of them where their labels differ."""
    same: dict[bytes, list[int]] = {}
    for index, item in enumerate(items):
        same.setdefault(structure_key(item.atoms), []).append(index)
    leave: dict[int, str] = {}
    for indices in same.values():
        one = items[indices[0]]
        if any(_differ(one, items[index]) for index in indices[1:]):
            if not keep:
                leave |= dict.fromkeys(indices, "one geometry with labels that differ")
            continue
        leave |= dict.fromkeys(indices[1:], "copies of an earlier structure")
    return leave


def _differ(one: LabelledStructure, other: LabelledStructure) -> bool:
    apart = abs(one.label.energy_ev - other.label.energy_ev) / len(one.atoms)
    forces = np.abs(np.asarray(one.label.forces) - np.asarray(other.label.forces)).max()
    return bool(apart > SAME_EV_PER_ATOM or forces > SAME_EV_PER_A)


def _rare(items: Sequence[LabelledStructure]) -> list[str]:
    places: dict[str, int] = {}
    for item in items:
        for symbol in set(item.atoms.get_chemical_symbols()):
            places[symbol] = places.get(symbol, 0) + 1
    if len(items) < 2 * RARE:
        return []
    return [
        f"{symbol} is in {n} of {len(items)} structures: hardly anything is known of it"
        for symbol, n in sorted(places.items())
        if n < RARE
    ]


def _outliers(items: Sequence[LabelledStructure]) -> dict[int, float]:
    """Index -> eV/atom that an energy is off."""
    bound = [index for index, item in enumerate(items) if not _free(item)]
    if len(bound) <= ENOUGH_OTHERS:
        return {}
    chosen = [items[index] for index in bound]
    energies = np.array([item.label.energy_ev / len(item.atoms) for item in chosen])
    features = _pair_terms(chosen)
    found = _gross(chosen, energies)
    if features is not None:
        off, leverage = _left_out(features, energies)
        width = 1.4826 * float(np.median(np.abs(off - np.median(off))))
        limit = np.maximum(WIDTHS * width / np.sqrt(1 - leverage), LEAST_EV_PER_ATOM)
        judged = (np.abs(off) > limit) & (leverage < MOST_LEVERAGE)
        found |= {int(index): float(off[index]) for index in np.flatnonzero(judged)}
    return {bound[index]: off for index, off in found.items()}


def _free(item: LabelledStructure) -> bool:
    lengths = item.atoms.cell.lengths()[item.atoms.pbc]
    return len(item.atoms) == 1 and bool((lengths > REACH_A).all())


def _gross(items: Sequence[LabelledStructure], energies: FloatArray) -> dict[int, float]:
    kinds: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        kinds.setdefault(item.atoms.symbols.formula.reduce()[0].format("hill"), []).append(index)
    found: dict[int, float] = {}
    for indices in kinds.values():
        if len(indices) <= ENOUGH_OTHERS:
            continue
        ordered = sorted(indices, key=lambda index: energies[index])
        if energies[ordered[1]] - energies[ordered[0]] > GROSS_LOW_EV:
            found[ordered[0]] = float(energies[ordered[0]] - energies[ordered[1]])
        middle = float(np.median(energies[indices]))
        for index in indices:
            calm = np.abs(np.asarray(items[index].label.forces)).max() < CALM_EV_PER_A
            if calm and energies[index] - middle > GROSS_HIGH_EV:
                found[index] = float(energies[index] - middle)
    return found


def _pair_terms(items: Sequence[LabelledStructure]) -> FloatArray | None:
    """(n, D) per atom: composition and radial functions of each pair of elements; None where there
    are less than three structures a column.
    """
    elements = sorted({int(z) for item in items for z in item.atoms.numbers})
    pairs = [(a, b) for i, a in enumerate(elements) for b in elements[i:]]
    radial = min(RADIAL, (len(items) // 3 - len(elements)) // len(pairs))
    if radial < 2:
        return None
    rows = []
    for item in items:
        numbers = item.atoms.numbers
        counts = [float(np.sum(numbers == element)) for element in elements]
        first, second, distance = _pairs(item.atoms)
        low = np.minimum(numbers[first], numbers[second])
        high = np.maximum(numbers[first], numbers[second])
        terms = []
        fading = (1 - distance / REACH_A) ** 2
        for one, other in pairs:
            here = (low == one) & (high == other)
            for power in range(radial):
                # from the slowest (all of the reach) to the hardest wall
                terms.append(float(np.sum(fading[here] * (2.0 / distance[here]) ** (2 * power))))
        rows.append([value / len(numbers) for value in (*counts, *terms)])
    return np.array(rows)


def _pairs(atoms: Atoms) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Atoms and images nearer than REACH_A: indices and distances (Å)."""
    from scipy.spatial import cKDTree

    steps = [range(1)] * 3
    if atoms.pbc.any():
        heights = 1 / np.linalg.norm(atoms.cell.complete().reciprocal().array, axis=1)
        reach = np.ceil(REACH_A / heights).astype(int)
        steps = [
            range(-n, n + 1) if periodic else range(1)
            for n, periodic in zip(reach, atoms.pbc, strict=True)
        ]
    shifts = np.array(list(itertools.product(*steps))) @ atoms.cell.array
    here = atoms.get_positions(wrap=bool(atoms.pbc.any()))
    images = (here[None, :, :] + shifts[:, None, :]).reshape(-1, 3)
    found = cKDTree(here).sparse_distance_matrix(cKDTree(images), REACH_A, output_type="ndarray")
    found = found[found["v"] > 1e-6]  # not an atom with itself
    return found["i"], found["j"] % len(here), found["v"]


def _left_out(features: FloatArray, energies: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n,) how far each energy is from a robust fit to the others, and the leverage that it would
    have if it counted in full: near 1 where the others do not reach.
    """
    scale = np.abs(features).max(axis=0)
    x = features / np.where(scale > 0, scale, 1.0)
    weights = np.ones(len(x))
    off, leverage = np.zeros(len(x)), np.zeros(len(x))
    for _ in range(15):
        gram = (x.T * weights) @ x
        inverse = np.linalg.pinv(gram + 1e-8 * np.eye(x.shape[1]), hermitian=True)
        residual = energies - x @ (inverse @ (x.T @ (weights * energies)))
        own = np.einsum("ij,jk,ik->i", x, inverse, x)
        share = np.clip(weights * own, 0.0, 0.999)
        off = residual / (1 - share)
        beyond = own / (1 - share)
        leverage = beyond / (1 + beyond)
        width = max(1.4826 * float(np.median(np.abs(off))), 1e-4)
        weights = 1 / (1 + (off / (2 * width)) ** 2)
    return off, leverage
