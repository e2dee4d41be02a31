"""Whether a liquid belongs to what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mlip_autopipec.config import facts
from mlip_autopipec.config.plan import Material

__all__ = ["Melting", "Wanted", "melting_of"]

# From this share of the melting point on the liquid belongs to what is asked.
NEAR_MELTING = 0.8
# Compounds with nitrogen, oxygen or halogens: between sodium chloride's and magnesium oxide's.
IONIC_MELTING_K = 1900.0

#: How much of the first labels is to be liquid.
Wanted = Literal["many", "few", "none"]
#: That, and the melting point (K).
Melting = tuple[Wanted, float]


def melting_of(goal: str, material: Material, temperatures_k: Sequence[float]) -> Melting:
    """How much liquid the first labels need, and the melting point (K).

    By experiment for elements, by composition for alloys, the highest of the elements' for other
    compounds without a large gap. Insulators are not melted unless that is asked for: their melts
    need temperatures and charges that a surrogate knows poorly.
    """
    kind = facts.kind_of(material)
    melting_k = _melting_k(material, kind)
    highest = max(temperatures_k, default=300.0)
    if kind == "molecule" or goal == "crystal":
        return "none", melting_k
    if goal == "liquid" or highest >= NEAR_MELTING * melting_k:
        return "many", melting_k
    return ("none" if kind == "insulator" else "few"), melting_k


def _melting_k(material: Material, kind: str) -> float:
    if kind == "insulator":
        return IONIC_MELTING_K
    known = {
        element: melting_k
        for element in material.elements
        if (melting_k := facts.melting_point_k(_pure(element))) is not None
    }
    if not known:
        return IONIC_MELTING_K
    if kind != "metal":
        return max(known.values())
    whole = sum(material.fractions[element] for element in known)
    return sum(material.fractions[element] * known[element] for element in known) / whole


def _pure(element: str) -> Material:
    return Material(formula=element, fractions={element: 1.0})
