"""The species of a calculation: one for each element, more where atoms of an element start from
different moments.

pw.x starts every atom of a species with the same moment, so an antiferromagnet has two species of
one element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms

__all__ = ["MOST_SPECIES", "Species", "has_moments", "species_of"]

# Of pw.x (parameter ntypx).
MOST_SPECIES = 10
# Bohr magnetons. Less is what a calculation leaves on the atoms beside a magnetic one.
_NO_MOMENT = 0.05


@dataclass(frozen=True, slots=True)
class Species:
    """``name``: as pw.x knows it (``Mn``, or ``Mn1`` and ``Mn2``); ``moment``: Bohr magnetons to
    start from, None where the structure says nothing.
    """

    name: str
    symbol: str
    moment: float | None = None


def has_moments(atoms: Atoms) -> bool:
    """Whether a structure says how its moments start; all zero says nothing, for many programs
    write such a column.
    """
    return bool(
        atoms.has("initial_magmoms")
        and np.abs(atoms.get_initial_magnetic_moments()).max(initial=0.0) > _NO_MOMENT
    )


def species_of(atoms: Atoms, *, moments: bool) -> tuple[list[Species], list[str]]:
    """The species, sorted, and each atom's name among them. ``moments``: whether those of the
    structure count.

    Atoms of an element whose moments agree to the nearest Bohr magneton, and in sign, start from
    their mean; from the mean of each sign where that makes more species than pw.x takes.
    """
    if not (moments and has_moments(atoms)):
        symbols = atoms.get_chemical_symbols()
        return [Species(symbol, symbol) for symbol in sorted(set(symbols))], symbols
    groups = _groups(atoms, lambda moment: (np.sign(moment), round(abs(moment))))
    if len(groups) > MOST_SPECIES:
        groups = _groups(atoms, lambda moment: (np.sign(moment), 0))
    start = atoms.get_initial_magnetic_moments()
    species, names = [], [""] * len(atoms)
    many = {symbol: sum(key[0] == symbol for key in groups) for symbol, *_ in groups}
    number = dict.fromkeys(many, 0)
    for key in sorted(groups, key=lambda key: (key[0], -key[1], -key[2])):
        symbol = key[0]
        number[symbol] += 1
        name = symbol if many[symbol] == 1 else f"{symbol}{number[symbol]}"
        moment = float(np.mean(start[groups[key]]))
        species.append(Species(name, symbol, round(moment, 3)))
        for index in groups[key]:
            names[index] = name
    return species, names


def _groups(
    atoms: Atoms, kind: Callable[[float], tuple[float, int]]
) -> dict[tuple[str, float, int], list[int]]:
    found: dict[tuple[str, float, int], list[int]] = {}
    moments = atoms.get_initial_magnetic_moments()
    for index, (symbol, moment) in enumerate(
        zip(atoms.get_chemical_symbols(), moments, strict=True)
    ):
        sign, size = kind(0.0 if abs(moment) <= _NO_MOMENT else float(moment))
        found.setdefault((symbol, float(sign), size), []).append(index)
    return found
