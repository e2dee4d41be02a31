"""Isolated atoms, dimers and trimers: the reference of energies, the short range and the way bonds
break.

A crystal never brings two atoms much nearer than a bond, and a potential may do anything there:
these structures fix its pair and triplet terms from contact to the loss of the bond. They carry the
shortest contact that they may have under ``min_contact`` of their parameters: for them alone the
screen's limits, made for solids, would be wrong.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.contacts import DIMER_LIMIT
from mlip_autopipec.science.generation.context import WIDE_MARGIN_A, Context, in_a_box

__all__ = ["CONTACTS", "generate"]

# Distances in sums of covalent radii. Pseudopotentials overlap below; above, PBE's atoms have no
# bond left.
CONTACTS = (0.55, 2.0)


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    isolated: bool = True,
    trimers: bool = True,
    contact_min: float = CONTACTS[0],
    contact_max: float = CONTACTS[1],
    **_: object,
) -> list[Candidate]:
    """Every element's atom (with ``isolated``), then dimers of every pair and, every third time, a
    trimer.

    Distances are stratified between ``contact_min`` and ``contact_max`` sums of covalent radii:
    each pair's draws fill the range evenly. Non-periodic, in a box with 6 Å on each side. Every
    structure is a group of its own.
    """
    elements = context.elements
    made: list[Candidate] = []

    def add(atoms: Atoms, parameters: Json) -> None:
        group = f"cluster:{context.seed}:{len(made)}"
        known = {"atoms": len(atoms), "min_contact": DIMER_LIMIT, **parameters}
        made.append(
            Candidate(
                in_a_box(atoms, WIDE_MARGIN_A),
                Provenance("cluster", group, known, None, context.seed),
            )
        )

    if isolated:
        for element in elements[:count]:
            add(Atoms(element), {"kind": "atom"})
    pairs = list(itertools.combinations_with_replacement(elements, 2))
    triples = list(itertools.combinations_with_replacement(elements, 3))
    rest = count - len(made)
    with_trimers = trimers and context.max_atoms >= 3
    kinds = ["trimer" if with_trimers and number % 3 == 2 else "dimer" for number in range(rest)]
    if context.max_atoms < 2:
        return made
    dimers = kinds.count("dimer")
    rounds = -(-dimers // len(pairs))
    number = {"dimer": 0, "trimer": 0}
    for kind in kinds:
        if kind == "dimer":
            pair = pairs[number[kind] % len(pairs)]
            # The n-th draw of a pair lies in the n-th of as many equal parts of the range.
            part = (number[kind] // len(pairs) + rng.random()) / rounds
            contact = contact_min + part * (contact_max - contact_min)
            add(_dimer(pair, contact), {"kind": kind, "contact": round(contact, 4)})
        else:
            atoms, sides = _trimer(
                triples[number[kind] % len(triples)], contact_min, contact_max, rng
            )
            add(atoms, {"kind": kind, "contact": round(min(sides), 4)})
        number[kind] += 1
    return made


def _radius_a(element: str) -> float:
    return float(covalent_radii[atomic_numbers[element]])


def _dimer(pair: tuple[str, str], contact: float) -> Atoms:
    distance = contact * (_radius_a(pair[0]) + _radius_a(pair[1]))
    return Atoms(list(pair), positions=[[0, 0, 0], [distance, 0, 0]])


def _trimer(
    elements: tuple[str, ...], contact_min: float, contact_max: float, rng: np.random.Generator
) -> tuple[Atoms, list[float]]:
    """Two sides and the angle between them drawn at random, the third side no shorter than
    ``contact_min`` either.
    """
    order = [elements[index] for index in rng.permutation(3)]
    radii = [_radius_a(element) for element in order]
    while True:
        sides = [float(rng.uniform(contact_min, contact_max)) for _ in range(2)]
        angle = float(rng.uniform(np.pi / 4, np.pi))
        one = sides[0] * (radii[0] + radii[1]) * np.array([1.0, 0.0, 0.0])
        two = sides[1] * (radii[0] + radii[2]) * np.array([np.cos(angle), np.sin(angle), 0.0])
        third = float(np.linalg.norm(one - two) / (radii[1] + radii[2]))
        if third >= contact_min:
            return Atoms(order, positions=[np.zeros(3), one, two]), [*sides, third]
