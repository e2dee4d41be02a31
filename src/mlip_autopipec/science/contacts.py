"""When two atoms are too close: one measure, and the limits that different work sets to it.

The measure is a pair's distance over its sum of covalent radii, periodic images included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

__all__ = [
    "BUILT_LIMIT",
    "DIMER_LIMIT",
    "LABEL_LIMIT",
    "SCREEN_LIMIT",
    "START_LIMIT",
    "STREAM_LIMIT",
    "Contact",
    "closest_contact",
    "refusal",
    "too_close",
]

#: No DFT calculation is begun below: cores overlap, and the SCF ends in nonsense or not at all.
#: Dimer curves go down to about 0.55 and have to pass.
LABEL_LIMIT = 0.4
#: What a strategy that builds dimers and trimers sets for its own: what the calculation can stand,
#: with a margin for hydrogen, whose limit the screen scales.
DIMER_LIMIT = 0.5
#: A frame of MD is not streamed below: the potential has left all physics, and the frame would
#: teach nothing. Above it MD of a hot liquid, and of a potential that is still young, is heard.
STREAM_LIMIT = 0.6
#: Below, a trial start crystal is not given to the surrogate: its lattice is scanned from volumes
#: that may be far too small.
START_LIMIT = 0.65
#: The screen's, for candidates (``surrogate.min_distance_factor`` of the plan): what heat and
#: pressure reach, with room; below, forces are tens of eV/Å and outweigh all others in a fit.
SCREEN_LIMIT = 0.7
#: Strategies build nothing nearer than this: a bit above the screen's limit, so that what they
#: build is not thrown away there.
BUILT_LIMIT = 0.75

#: Hydrogen bends the rule of covalent radii most (H3+, hot protons): the screen, and what is built
#: for it, measures its pairs as if they were 1/0.8 longer.
HYDROGEN_SLACK = 0.8
# Pairs farther apart than this are no contact.
_REACH = 1.2


@dataclass(frozen=True, slots=True)
class Contact:
    """The pair of a structure that is closest by the measure; ``first`` and ``second``: indices."""

    first: int
    second: int
    distance_a: float
    ratio: float


def closest_contact(atoms: Atoms) -> float:
    """Smallest ratio of a structure, hydrogen's pairs by their looser measure.

    Infinity when no pair is nearer than 1.2.
    """
    found = _closest(atoms, _REACH, HYDROGEN_SLACK)
    return float("inf") if found is None else found.ratio


def refusal(atoms: Atoms, limit: float) -> str | None:
    """Why a candidate is not worth a label where its :func:`closest_contact` is below ``limit``."""
    contact = closest_contact(atoms)
    if contact >= limit:
        return None
    return f"closest pair at {contact:.2f} of its covalent distance, limit {limit:g}"


def too_close(atoms: Atoms, limit: float) -> Contact | None:
    """The closest pair where it is nearer than ``limit``, hydrogen like every other element."""
    return _closest(atoms, limit, 1.0)


def _closest(atoms: Atoms, reach: float, hydrogen_slack: float) -> Contact | None:
    from ase.neighborlist import neighbor_list  # brings SciPy: not for whoever reads a limit

    radii = covalent_radii[atoms.numbers]
    i, j, distance = neighbor_list("ijd", atoms, cutoff=reach * radii)
    if len(distance) == 0:
        return None
    with_hydrogen = (atoms.numbers[i] == 1) | (atoms.numbers[j] == 1)
    ratio = distance / (radii[i] + radii[j]) / np.where(with_hydrogen, hydrogen_slack, 1.0)
    worst = int(np.argmin(ratio))
    return Contact(int(i[worst]), int(j[worst]), float(distance[worst]), float(ratio[worst]))
