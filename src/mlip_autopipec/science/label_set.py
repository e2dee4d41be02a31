"""What one labelling method has to serve, and the rules of :mod:`mlip_autopipec.science.dft_rules`
over all of it.

Labels of one training set share one method, so each setting is the strictest that any kind of
structure in the set asks for.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms

from mlip_autopipec.science import dft_rules
from mlip_autopipec.science.bonded_parts import parts_of
from mlip_autopipec.science.dft_rules import Choice

__all__ = [
    "Kind",
    "LabelSet",
    "kmesh_shifted",
    "kspacing_per_a",
    "label_set_of",
    "smearing",
    "starting_moments",
]

# Of each composition, whose bonds are looked at: a cell of a hundred atoms takes milliseconds.
_MOST_LOOKED_AT = 40
# Composition, whether it is periodic, a slab, and sheets of carbon.
_Alike = tuple[tuple[tuple[str, int], ...], bool, bool, bool]
_MOLECULE = (False, False, False)
_MIXED_SMEARING: Choice[tuple[Literal["mv", "gaussian"], float]] = Choice(
    ("gaussian", dft_rules.DEGAUSS_RY),
    "metals and cells with a gap in one method: Gaussian, whose Fermi energy is unique in both",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of structure: relative amounts per element, and the periodic directions.

    ``sheets``: built of layers, one or more; ``layered``: of layers, or chains of
    non-metals, that meet others; ``molecular``: of molecules or noble atoms side by side.
    ``odd_electrons``: their number in one cell is odd; ``moments_given``: the structures say which
    moments they start from.
    """

    composition: Mapping[str, float]
    periodic: tuple[bool, bool, bool] = (True, True, True)
    sheets: bool = False
    layered: bool = False
    molecular: bool = False
    odd_electrons: bool = False
    moments_given: bool = False

    @property
    def is_molecule(self) -> bool:
        return not any(self.periodic)

    @property
    def is_slab(self) -> bool:
        return sum(self.periodic) == 2

    @property
    def held_by_dispersion(self) -> bool:
        return self.layered or self.molecular

    @property
    def metal(self) -> Choice[bool]:
        """:func:`dft_rules.is_metal`; layers of carbon have no gap, whatever carbon has."""
        if self.sheets and set(self.composition) == {"C"}:
            return dft_rules.SHEETS_OF_CARBON
        return dft_rules.is_metal(self.composition)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The structures that one method has to serve, each kind once.

    ``elements``: chemical symbols, sorted; more than those of ``kinds`` where structures are still
    to come. ``own_boxes``: molecules stand in boxes of this program's making, with enough room for
    images to be taken out of the potential; a user's box may be too small for that.
    """

    elements: tuple[str, ...]
    kinds: tuple[Kind, ...]
    own_boxes: bool = False

    @property
    def crystals(self) -> tuple[Kind, ...]:
        """The kinds with k-points: bulk, slabs and wires."""
        return tuple(kind for kind in self.kinds if not kind.is_molecule)

    @property
    def molecules(self) -> tuple[Kind, ...]:
        return tuple(kind for kind in self.kinds if kind.is_molecule)


def label_set_of(structures: Iterable[Atoms], elements: Sequence[str] = ()) -> LabelSet:
    """The set of these structures, and of ``elements`` besides.

    A composition is taken for layers or molecules where most of its structures are: a crystal that
    is pulled apart is one among others. Sheets of carbon and diamond are two kinds.
    """
    alike: dict[_Alike, list[Atoms]] = defaultdict(list)
    symbols = set(elements)
    for atoms in structures:
        counts = _reduced(atoms)
        symbols |= set(counts)
        slab = sum(map(bool, atoms.pbc)) == 2
        sheets = set(counts) == {"C"} and parts_of(atoms).dimensions == 2
        alike[tuple(counts.items()), bool(any(atoms.pbc)), slab, sheets].append(atoms)
    kinds = tuple(_kind(dict(key[0]), found) for key, found in alike.items())
    return LabelSet(tuple(sorted(symbols)), kinds)


def _kind(counts: Mapping[str, int], structures: Sequence[Atoms]) -> Kind:
    first = structures[0]
    periodic = (bool(first.pbc[0]), bool(first.pbc[1]), bool(first.pbc[2]))
    nonmetals = dft_rules.has_nonmetal(list(counts))
    sheets = layered = molecular = 0
    # Metals have neither, and bonds that are longer than their radii say.
    for atoms in structures[:_MOST_LOOKED_AT] if nonmetals and any(periodic) else ():
        parts = parts_of(atoms)
        sheets += parts.dimensions == 2
        several = all(periodic) or parts.count > 1
        chains = parts.dimensions == 1 and dft_rules.makes_molecules(counts)
        layered += several and (parts.dimensions == 2 or chains)
        molecular += parts.dimensions == 0 and dft_rules.makes_molecules(counts)
    most = min(len(structures), _MOST_LOOKED_AT) / 2
    return Kind(
        counts,
        periodic,
        sheets=sheets > most,
        layered=layered > most,
        molecular=molecular > most,
        odd_electrons=any(int(atoms.numbers.sum()) % 2 for atoms in structures),
        moments_given=any(_says_moments(atoms) for atoms in structures),
    )


def _says_moments(atoms: Atoms) -> bool:
    return bool(atoms.has("initial_magmoms") and np.any(atoms.get_initial_magnetic_moments()))


def _reduced(atoms: Atoms) -> dict[str, int]:
    counts: dict[str, int] = {}
    for symbol in sorted(atoms.get_chemical_symbols()):
        counts[symbol] = counts.get(symbol, 0) + 1
    divisor = math.gcd(*counts.values())
    return {symbol: count // divisor for symbol, count in counts.items()}


def kspacing_per_a(needed: LabelSet) -> Choice[float]:
    """The densest k-point spacing (1/Å, 2π included) that any crystal of the set needs."""
    choices = [_spacing(kind) for kind in needed.crystals]
    if not choices:
        return dft_rules.kspacing_per_a({"H": 1.0}, _MOLECULE)
    densest = min(choices, key=lambda choice: choice.value)
    if len(choices) == 1:
        return densest
    return Choice(densest.value, f"the densest that is needed: {densest.reason}")


def _spacing(kind: Kind) -> Choice[float]:
    if kind.molecular:
        return dft_rules.MOLECULES_SIDE_BY_SIDE
    return dft_rules.kspacing_per_a(kind.composition, metal=kind.metal)


def kmesh_shifted(needed: LabelSet) -> Choice[bool]:
    """Whether meshes are shifted: only where every crystal of the set gains by it."""
    if any(kind.molecular for kind in needed.crystals):
        return Choice(False, "molecules side by side: Gamma alone, where one k-point is enough")
    choices = [dft_rules.kmesh_shifted(kind.composition) for kind in needed.crystals]
    if not choices:
        return dft_rules.kmesh_shifted({"H": 1.0}, _MOLECULE)
    return next((choice for choice in choices if not choice.value), choices[0])


def smearing(needed: LabelSet) -> Choice[tuple[Literal["mv", "gaussian"], float]]:
    """Kind and width (Ry): cold smearing where everything is a metal, Gaussian otherwise."""
    metals = [kind.metal.value for kind in needed.crystals]
    if any(metals) and (not all(metals) or needed.molecules):
        return _MIXED_SMEARING
    if metals:
        return dft_rules.smearing(needed.crystals[0].composition, metal=metals[0])
    return Choice(("gaussian", dft_rules.DEGAUSS_RY), "molecules: narrow, so that a bond may break")


def _moments_of_elements(needed: LabelSet) -> Choice[dict[str, float]]:
    """The largest moment that an element has in any kind of structure that holds it."""
    of_kinds = [dft_rules.starting_moments(kind.composition) for kind in needed.kinds]
    there = {symbol for kind in needed.kinds for symbol in kind.composition}
    if rest := set(needed.elements) - there:
        of_kinds.append(dft_rules.starting_moments(sorted(rest)))
    magnetic = [choice for choice in of_kinds if choice.value and set(choice.value) != {"O"}]
    if not magnetic:
        return next((c for c in of_kinds if not c.value), Choice({}, "no magnetic element"))
    largest = {
        symbol: max(choice.value.get(symbol, 0.0) for choice in magnetic)
        for symbol in needed.elements
    }
    names = ", ".join(symbol for symbol, moment in largest.items() if moment)
    return Choice(
        largest,
        f"{names} may be magnetic: started from the high-spin value, all atoms parallel",
    )


def starting_moments(needed: LabelSet) -> Choice[dict[str, float]]:
    """High-spin start moments (Bohr magnetons) where an element is magnetic, or a structure is pure
    oxygen; empty when there is none.
    """
    moments = _moments_of_elements(needed)
    if not any(set(kind.composition) == {"O"} for kind in needed.kinds):
        return moments
    oxygen = dft_rules.starting_moments(["O"])
    if not moments.value or moments == oxygen:
        return oxygen
    # Without a moment to start from, O2 beside iron would stay unpolarised in its own cell.
    return Choice({**moments.value, **oxygen.value}, f"{moments.reason}; {oxygen.reason}")
