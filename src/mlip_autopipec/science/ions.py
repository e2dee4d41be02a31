"""Usual charges of ions, and how strongly they hold their electrons."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

__all__ = ["ANIONS", "balanced", "charge_of", "electronegativity_difference"]

#: Closed-shell charges of elements that take electrons.
ANIONS = {
    "H": -1,
    "N": -3,
    "P": -3,
    "As": -3,
    "Sb": -3,
    "O": -2,
    "S": -2,
    "Se": -2,
    "Te": -2,
    "F": -1,
    "Cl": -1,
    "Br": -1,
    "I": -1,
}
#: Usual charges of elements that give electrons away (solid binary oxides and halides).
_CATIONS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs", "Ag"), (1,)),
    **dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"), (2,)),
    **dict.fromkeys(("B", "Al", "Ga", "In", "Sc", "Y", "La", "Gd", "Bi"), (3,)),
    **dict.fromkeys(("C", "Si", "Ge", "Ti", "Zr", "Hf"), (4,)),
    **dict.fromkeys(("V", "Nb", "Ta"), (5,)),
    **dict.fromkeys(("Sn", "Pb", "Pt"), (2, 4)),
    **dict.fromkeys(("Mo", "W"), (4, 6)),
    **dict.fromkeys(("P", "As", "Sb"), (3, 5)),
    "Cr": (3, 6),
    "Mn": (2, 3, 4),
    "Fe": (2, 3),
    "Co": (2, 3),
    "Ni": (2,),
    "Cu": (1, 2),
    "Hg": (2,),
    "Tl": (1, 3),
    "Pd": (2,),
    "Ce": (3, 4),
    "H": (1,),
    "N": (5,),
    "S": (4, 6),
    "Se": (4, 6),
    "Te": (4,),
}
#: Pauling's electronegativities of closed-shell cations and of the anions that take their electrons
#: (A. L. Allred, J. Inorg. Nucl. Chem. 17, 215, 1961).
_ELECTRONEGATIVITIES = {
    "Li": 0.98, "Na": 0.93, "K": 0.82, "Rb": 0.82, "Cs": 0.79, "Be": 1.57, "Mg": 1.31, "Ca": 1.00,
    "Sr": 0.95, "Ba": 0.89, "Al": 1.61, "Sc": 1.36, "Y": 1.22, "La": 1.10, "Zr": 1.33, "Hf": 1.30,
    "F": 3.98, "O": 3.44, "Cl": 3.16, "Br": 2.96, "I": 2.66,
}  # fmt: skip


def balanced(counts: Mapping[str, float]) -> bool:
    """True when some assignment of usual charges, with at least one anion, sums to zero."""
    if len(counts) < 2:
        return False
    options = []
    for element in counts:
        charges = (*_CATIONS.get(element, ()), *([ANIONS[element]] if element in ANIONS else []))
        if not charges:
            return False
        options.append(charges)
    tolerance = 1e-3 * sum(counts.values())
    return any(
        min(charges) < 0
        and abs(sum(q * n for q, n in zip(charges, counts.values(), strict=True))) < tolerance
        for charges in itertools.product(*options)
    )


def charge_of(symbol: str, counts: Mapping[str, float]) -> int | None:
    """The only usual charge of an element with which a compound is neutral; None where there is
    none, or a choice. The other elements keep their first usual charge.
    """
    if symbol not in counts or len(counts) < 2 or not balanced(counts):
        return None
    rest = 0.0
    for element, amount in counts.items():
        if element != symbol:
            usual = ANIONS.get(element) or next(iter(_CATIONS.get(element, ())), None)
            if usual is None:
                return None
            rest += usual * amount
    charge = -rest / counts[symbol]
    return round(charge) if abs(charge - round(charge)) < 1e-2 and charge > 0 else None


def electronegativity_difference(counts: Mapping[str, float]) -> float | None:
    """Between the two of the cations and anions that are nearest; None where not all are
    closed-shell ions (halides, oxides) with charges that add up to zero.

    ``counts``: amounts per element.
    """
    cations = [_ELECTRONEGATIVITIES.get(symbol) for symbol in counts if symbol not in ANIONS]
    anions = [_ELECTRONEGATIVITIES.get(symbol) for symbol in counts if symbol in ANIONS]
    known_cations = [value for value in cations if value is not None]
    known_anions = [value for value in anions if value is not None]
    known = len(known_cations) + len(known_anions) == len(counts)
    if not (known_cations and known_anions and known and balanced(counts)):
        return None
    return min(known_anions) - max(known_cations)
