"""Rattling by Monte Carlo with a guarded shortest distance: large displacements without close
contacts.

After the idea of mc_rattle in hiPhive (Eriksson, Fransson & Erhart, Adv. Theory Simul. 2, 1800184,
2019): every atom makes small steps, and a step that brings it near a neighbour is refused with a
probability that rises smoothly as the distance falls. Open directions are explored further than
those that a neighbour blocks, unlike in a normal rattle.
"""

from __future__ import annotations

import itertools
from math import erf

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.contacts import closest_contact
from mlip_autopipec.science.generation.context import (
    Context,
    FloatArray,
    contact_limit,
    deformed,
    half_and_full_cells,
    lindemann_a,
    random_strain,
)
from mlip_autopipec.science.lattices import bare

__all__ = ["generate", "mc_rattled"]

# Enough that each atom has found the walls of its cage.
SWEEPS = 12
# Half of the steps to a distance this much above the limit are refused (sums of covalent radii);
# width of the rise.
SOFT_ABOVE_LIMIT = 0.07
# Width of that rise (sums of covalent radii).
CONTACT_WIDTH = 0.04


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    sigma_min_a: float = 0.05,
    sigma_max_a: float = 0.0,
    volume_spread: float = 0.03,
    max_atoms: int = 16,
    **_: object,
) -> list[Candidate]:
    """Guarded displacements of about ``sigma_min_a``..``sigma_max_a`` per coordinate in cells of
    half and full size.

    ``sigma_max_a`` 0: twice Lindemann's limit of the start, 0.35 Å at most: beyond what a plain
    rattle may do. Each draw is a group of its own; ``parameters`` hold the wanted and the reached
    amplitude (``rattle_a``, ``reached_a``).
    """
    cells = half_and_full_cells(context, max_atoms)
    made: list[Candidate] = []
    for index in range(count if cells else 0):
        parent, name = cells[index % len(cells)]
        sigma = float(
            rng.uniform(
                sigma_min_a, sigma_max_a or max(sigma_min_a, min(0.35, 2 * lindemann_a(parent)))
            )
        )
        cell = deformed(parent, random_strain(rng, (-volume_spread, volume_spread), 0.01))
        moved = mc_rattled(cell, sigma, rng)
        reached = float(np.sqrt(((moved.positions - cell.positions) ** 2).mean()))
        parameters = {
            "rattle_a": round(sigma, 6),
            "reached_a": round(reached, 6),
            "atoms": len(cell),
        }
        provenance = Provenance(
            "mc_rattle", f"mc_rattle:{context.seed}:{index}", parameters, name, context.seed
        )
        made.append(Candidate(moved, provenance))
    return made


def mc_rattled(
    atoms: Atoms, sigma_a: float, rng: np.random.Generator, *, sweeps: int = SWEEPS
) -> Atoms:
    """``sweeps`` passes over all atoms in random order, each step normal with ``sigma_a`` /
    sqrt(sweeps) (Å).

    Free atoms end with a standard deviation of ``sigma_a`` per coordinate, hindered ones with less.
    No step ends nearer than :func:`contact_limit`. The centre of mass is kept.
    """
    positions = atoms.positions.copy()
    radii = covalent_radii[atoms.numbers]
    shifts, limit = _image_shifts(atoms), contact_limit(atoms)
    for _ in range(sweeps):
        for index in rng.permutation(len(atoms)):
            trial = positions[index] + rng.normal(size=3) * sigma_a / np.sqrt(sweeps)
            contact = _contact(trial, int(index), positions, radii, shifts)
            chance = 0.5 * (1 + erf((contact - limit - SOFT_ABOVE_LIMIT) / CONTACT_WIDTH))
            if contact > limit and rng.random() < chance:
                positions[index] = trial
    moved = bare(atoms)
    moved.positions = positions - (positions - atoms.positions).mean(axis=0)
    # Images further than the next cell are not looked at above; a cell so thin keeps its atoms.
    return moved if closest_contact(moved) >= limit else bare(atoms)


def _image_shifts(atoms: Atoms) -> FloatArray:
    """Lattice vectors (m, 3) to the neighbouring cells along periodic directions, the cell itself
    first.
    """
    steps = itertools.product(*((0, 1, -1) if flag else (0,) for flag in atoms.pbc))
    return np.array([np.array(step) @ atoms.cell.array for step in steps])


def _contact(
    trial: FloatArray, index: int, positions: FloatArray, radii: FloatArray, shifts: FloatArray
) -> float:
    """Nearest distance of atom ``index`` at ``trial`` to another atom, in sums of covalent
    radii.
    """
    others = np.arange(len(positions)) != index
    if not others.any():
        return float("inf")
    vectors = positions[others][None] + shifts[:, None] - trial
    nearest = np.sqrt((vectors**2).sum(axis=2)).min(axis=0)
    return float((nearest / (radii[others] + radii[index])).min())
