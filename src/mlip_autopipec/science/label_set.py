"""What one labelling method has to serve, and the rules of :mod:`mlip_autopipec.science.dft_rules`
over all of it.

Labels of one training set share one method, so each setting is the strictest that any kind of
structure in the set asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ase import Atoms

from mlip_autopipec.science import dft_rules
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

_MOLECULE = (False, False, False)
_MIXED_SMEARING: Choice[tuple[Literal["mv", "gaussian"], float]] = Choice(
    ("gaussian", dft_rules.DEGAUSS_RY),
    "metals and cells with a gap in one method: Gaussian, whose Fermi energy is unique in both",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of structure: relative amounts per element, and the periodic directions."""

    composition: Mapping[str, float]
    periodic: tuple[bool, bool, bool] = (True, True, True)

    @property
    def is_molecule(self) -> bool:
        return not any(self.periodic)


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
    """The set of these structures, and of ``elements`` besides."""
    kinds: dict[tuple[tuple[tuple[str, int], ...], bool], Kind] = {}
    symbols = set(elements)
    for atoms in structures:
        counts = _reduced(atoms)
        symbols |= set(counts)
        periodic = (bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2]))
        kinds.setdefault((tuple(counts.items()), any(periodic)), Kind(counts, periodic))
    return LabelSet(tuple(sorted(symbols)), tuple(kinds.values()))


def _reduced(atoms: Atoms) -> dict[str, int]:
    counts: dict[str, int] = {}
    for symbol in sorted(atoms.get_chemical_symbols()):
        counts[symbol] = counts.get(symbol, 0) + 1
    divisor = math.gcd(*counts.values())
    return {symbol: count // divisor for symbol, count in counts.items()}


def kspacing_per_a(needed: LabelSet) -> Choice[float]:
    """The densest k-point spacing (1/Å, 2π included) that any crystal of the set needs."""
    choices = [dft_rules.kspacing_per_a(kind.composition) for kind in needed.crystals]
    if not choices:
        return dft_rules.kspacing_per_a({"H": 1.0}, _MOLECULE)
    densest = min(choices, key=lambda choice: choice.value)
    if len(choices) == 1:
        return densest
    return Choice(densest.value, f"the densest that is needed: {densest.reason}")


def kmesh_shifted(needed: LabelSet) -> Choice[bool]:
    """Whether meshes are shifted: only where every crystal of the set gains by it."""
    choices = [dft_rules.kmesh_shifted(kind.composition) for kind in needed.crystals]
    if not choices:
        return dft_rules.kmesh_shifted({"H": 1.0}, _MOLECULE)
    return next((choice for choice in choices if not choice.value), choices[0])


def smearing(needed: LabelSet) -> Choice[tuple[Literal["mv", "gaussian"], float]]:
    """Kind and width (Ry): cold smearing where everything is a metal, Gaussian otherwise."""
    metals = [dft_rules.is_metal(kind.composition).value for kind in needed.crystals]
    if any(metals) and (not all(metals) or needed.molecules):
        return _MIXED_SMEARING
    if metals:
        return dft_rules.smearing(needed.crystals[0].composition)
    return Choice(("gaussian", dft_rules.DEGAUSS_RY), "molecules: narrow, so that a bond may break")


def starting_moments(needed: LabelSet) -> Choice[dict[str, float]]:
    """High-spin start moments (Bohr magnetons) where an element is magnetic, or a structure is pure
    oxygen; empty when there is none.
    """
    moments = dft_rules.starting_moments(needed.elements)
    if not any(set(kind.composition) == {"O"} for kind in needed.kinds):
        return moments
    oxygen = dft_rules.starting_moments(["O"])
    if not moments.value or moments == oxygen:
        return oxygen
    # Without a moment to start from, O2 beside iron would stay unpolarised in its own cell.
    return Choice({**moments.value, **oxygen.value}, f"{moments.reason}; {oxygen.reason}")
