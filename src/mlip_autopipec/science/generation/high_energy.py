"""Structures far above the ground state: battered crystals, heaps of atoms, and loose heaps that
become like a liquid on their way down.

DFT is not asked for them: nobody wants their errors in millielectronvolts. A fit that knows nothing
there, though, may think them lower than the crystal, and MD finds the way. A surrogate knows well
enough that they are high, and what pushes atoms about in a melt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mlip_autopipec.science.contacts import SCREEN_LIMIT, closest_contact
from mlip_autopipec.science.generation.context import deformed, lindemann_a, supercell
from mlip_autopipec.science.generation.relaxing import separated
from mlip_autopipec.science.lattices import bare

__all__ = ["high_energy_structures", "loose_heaps"]

# A surrogate labels 240 of such cells in ten seconds.
CRYSTAL_ATOMS = 8
# Of battered crystals.
VACANCY_SHARE = 0.6
# Relative lengths of a battered crystal, and the scatter of each component of its strain.
LENGTHS, STRAIN = (0.88, 1.06), 0.05
# Displacements, in units of those at which the start is about to melt.
DISPLACED = (0.7, 2.8)
# Fewest and most atoms of a heap and of a loose one.
HEAP_ATOMS, LOOSE_ATOMS = (2, 8), (8, 12)
# Volume per atom beside that of the start; how far the cell is from a cube.
HEAP_VOLUMES, LOOSE_VOLUMES, SKEWED = (0.6, 1.3), (0.8, 1.08), 0.3
# Atoms are moved apart to so many sums of covalent radii.
HEAP_CONTACTS, LOOSE_CONTACTS = (0.85, 0.85), (0.88, 0.96)
# Draws for each structure that is wanted; those with atoms too close are drawn again.
TRIES = 20


def high_energy_structures(
    starts: Sequence[Atoms], count: int, rng: np.random.Generator
) -> list[Atoms]:
    """At most ``count`` structures, by turns battered starts and (of crystals) heaps of their atoms
    in cells of about their volume. No pair is nearer than the screen allows.

    ``starts``: relaxed structures; where they are periodic in three directions, cells of at most
    about eight atoms come of them.
    """
    made: list[Atoms] = []
    for draw in range(TRIES * count if starts else 0):
        if len(made) == count:
            break
        start = starts[int(rng.integers(len(starts)))]
        heap = start.pbc.all() and draw % 2 == 1
        if heap:
            atoms = _heap(start, HEAP_ATOMS, HEAP_VOLUMES, HEAP_CONTACTS, rng)
        else:
            atoms = _battered(start, rng)
        if closest_contact(atoms) >= SCREEN_LIMIT:
            made.append(atoms)
    return made


def loose_heaps(starts: Sequence[Atoms], count: int, rng: np.random.Generator) -> list[Atoms]:
    """``count`` heaps about as dense as the starts, with atoms as far apart as in a liquid; none
    where no start is periodic in three directions.
    """
    crystals = [start for start in starts if start.pbc.all()]
    if not crystals:
        return []
    drawn = [crystals[int(draw)] for draw in rng.integers(len(crystals), size=count)]
    return [_heap(start, LOOSE_ATOMS, LOOSE_VOLUMES, LOOSE_CONTACTS, rng) for start in drawn]


def _battered(start: Atoms, rng: np.random.Generator) -> Atoms:
    """The start with a vacancy (not always), strained and rattled."""
    atoms = supercell(start, CRYSTAL_ATOMS) if start.pbc.all() else bare(start)
    melting_a = lindemann_a(atoms)
    if start.pbc.all() and len(atoms) > 2 and rng.random() < VACANCY_SHARE:
        del atoms[int(rng.integers(len(atoms)))]
    strain = rng.normal(0.0, STRAIN, (3, 3))
    length = rng.uniform(*LENGTHS) if start.pbc.any() else 1.0
    atoms = deformed(atoms, length * (np.eye(3) + (strain + strain.T) / 2) - np.eye(3))
    atoms.positions += rng.normal(0.0, melting_a * rng.uniform(*DISPLACED), (len(atoms), 3))
    return atoms


def _heap(
    start: Atoms,
    sizes: tuple[int, int],
    volumes: tuple[float, float],
    contacts: tuple[float, float],
    rng: np.random.Generator,
) -> Atoms:
    """Atoms of the start's composition thrown into a skewed cell and moved apart."""
    unit = supercell(start, sizes[1])
    numbers = rng.permutation(unit.numbers)
    if len(set(numbers)) == 1:  # a compound keeps its formula
        numbers = np.repeat(numbers[:1], rng.integers(sizes[0], sizes[1] + 1))
    volume = len(numbers) * unit.get_volume() / len(unit) * rng.uniform(*volumes)
    cell = np.eye(3) + rng.uniform(-SKEWED, SKEWED, (3, 3))
    if np.linalg.det(cell) < 0:
        cell[0] *= -1
    cell *= (volume / np.linalg.det(cell)) ** (1 / 3)
    heap = Atoms(numbers=numbers, cell=cell, pbc=True)
    heap.set_scaled_positions(rng.random((len(numbers), 3)))
    return separated(heap, min_contact=rng.uniform(*contacts), sweeps=200)
