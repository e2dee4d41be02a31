"""How much each structure counts in a fit: the less, the further its energy is from the lowest at
its own composition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlip_autopipec.base.values import FloatArray

__all__ = ["heights", "structure_weights"]

# A label this far (eV/atom) below all others of its composition, where there are at least
# ENOUGH_OTHERS, is taken for broken: the next one is the lowest.
APART_EV_PER_ATOM = 0.5
ENOUGH_OTHERS = 3


def heights(counts: FloatArray, energies_ev: Sequence[float]) -> FloatArray:
    """(n,) energy per atom (eV) above the convex hull of all structures over the compositions.

    ``counts`` (n, n_elements): atoms of each element. Negative for a single label far below all
    others of its composition, which is not let into the hull.
    """
    sizes = counts.sum(axis=1)
    per_atom = np.asarray(energies_ev, dtype=float) / sizes
    fractions = np.round(counts / sizes[:, None], 6)
    kinds, kind_of = np.unique(fractions, axis=0, return_inverse=True)
    kind_of = kind_of.ravel()
    lowest = np.array([_lowest(per_atom[kind_of == kind]) for kind in range(len(kinds))])
    hull = lowest if len(kinds) == 1 else _hull(kinds, lowest)
    return np.asarray(per_atom - hull[kind_of])


def _lowest(energies: FloatArray) -> float:
    ordered = np.sort(energies)
    broken = len(ordered) > ENOUGH_OTHERS and ordered[1] - ordered[0] > APART_EV_PER_ATOM
    return float(ordered[1] if broken else ordered[0])


def _hull(fractions: FloatArray, energies: FloatArray) -> FloatArray:
    """Energy of the lower convex hull at each composition."""
    from scipy.optimize import linprog

    found = [
        linprog(energies, A_eq=fractions.T, b_eq=point, bounds=(0, None)).fun for point in fractions
    ]
    pairs = zip(found, energies, strict=True)
    return np.array([own if value is None else min(value, own) for value, own in pairs])


def structure_weights(heights_ev: FloatArray, half_ev_per_atom: float) -> FloatArray:
    """(n,) 1 on the hull, 1/2 at ``half_ev_per_atom`` above (or, broken, below) it."""
    return np.asarray(1.0 / (1.0 + (heights_ev / half_ev_per_atom) ** 2))
