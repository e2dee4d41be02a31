"""The free atom of every element and a few dimers of every pair: where energies begin, and how two
atoms repel and let go.

Without them a fit guesses the energy of a free atom (silicon's bound by 0.4 instead of 4.6 eV), and
with it that of every surface, void and cluster. So all of them are forced, and the screen asks for
nothing but the distance (``min_contact``): surrogates made for solids know nothing of them.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.contacts import DIMER_LIMIT
from mlip_autopipec.science.generation.context import Context, in_a_box

__all__ = ["generate"]

# Distances of a pair, in sums of covalent radii, by how many there are: the wall first, then the
# bond, then its end.
CONTACTS = {1: (0.9,), 2: (0.85, 1.25), 3: (0.8, 1.1, 1.6), 4: (0.8, 1.0, 1.25, 1.6)}
# The ends of these.
NEAREST, FARTHEST = 0.8, 1.6
# Beyond, no potential of short range feels the other atom.
LONGEST_A = 4.8
# Room on each side. Silicon's atom, 28 Ry: 22, 2 and 0 meV too high with 4, 5 and 6 Å, at 1.4, 2.5
# and 6.6 s of CPU.
MARGIN_A = 5.0


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    margin_a: float = MARGIN_A,
    **_: object,
) -> list[Candidate]:
    """Every element's atom, then dimers: equally many of every pair, as many as ``count`` allows.

    Four at most of each, at 0.8 to 1.6 sums of covalent radii, nearer where that is beyond 4.8 Å.
    Non-periodic, in a box with ``margin_a`` (Å) on each side; all forced, each a group of its own.
    ``rng`` is not used.
    """
    elements = context.elements
    pairs = list(itertools.combinations_with_replacement(elements, 2))
    made = [
        _candidate(Atoms(element), f"atom:{element}", {"kind": "atom"}, margin_a)
        for element in elements[:count]
    ]
    of_each = min(max(CONTACTS), (count - len(made)) // len(pairs)) if pairs else 0
    if context.max_atoms < 2 or of_each == 0:
        return made
    for one, other in pairs:
        radii_a = sum(float(covalent_radii[atomic_numbers[symbol]]) for symbol in (one, other))
        squeezed = min(1.0, (LONGEST_A / radii_a - NEAREST) / (FARTHEST - NEAREST))
        for contact in CONTACTS[of_each]:
            distance_a = (NEAREST + (contact - NEAREST) * squeezed) * radii_a
            dimer = Atoms([one, other], positions=[[0, 0, 0], [distance_a, 0, 0]])
            known: Json = {"kind": "dimer", "contact": round(distance_a / radii_a, 4)}
            made.append(_candidate(dimer, f"dimer:{one}-{other}:{contact:g}", known, margin_a))
    return made


def _candidate(atoms: Atoms, group: str, known: Json, margin_a: float) -> Candidate:
    parameters = {**known, "atoms": len(atoms), "min_contact": DIMER_LIMIT}
    provenance = Provenance("atoms_and_dimers", group, parameters)
    return Candidate(in_a_box(atoms, margin_a), provenance, forced=True)
