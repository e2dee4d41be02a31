"""Cells that repeat a crystal: its conventional cell, and the MD cell made of it."""

from __future__ import annotations

import itertools

import numpy as np
import spglib
from ase import Atoms

__all__ = ["conventional_cell", "supercell"]

VACUUM_A = 8.0


def conventional_cell(atoms: Atoms, symprec_a: float = 0.01) -> Atoms:
    """The standardised conventional cell (spglib); the structure itself when spglib finds no
    symmetry.
    """
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.standardize_cell(cell, to_primitive=False, no_idealize=False, symprec=symprec_a)
    if found is None:
        return Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    lattice, scaled, numbers = found
    return Atoms(numbers=numbers, scaled_positions=scaled, cell=lattice, pbc=True)


def supercell(atoms: Atoms, md_atoms: int) -> Atoms:
    """The repetition of the conventional cell nearest to ``md_atoms`` atoms and, among those,
    nearest to a cube.

    A structure that is not periodic everywhere is put into a box with 8 Å of vacuum along its free
    directions instead; a molecule, which may turn in any way, into a cube with 16 Å to spare beyond
    its largest distance.
    """
    if not atoms.pbc.any():
        cube = Atoms(atoms.symbols, positions=atoms.positions)
        cube.set_cell(np.eye(3) * (float(atoms.get_all_distances().max()) + 2 * VACUUM_A))
        cube.center()
        cube.pbc = True
        return cube
    if not atoms.pbc.all():
        boxed = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        for axis in np.flatnonzero(~atoms.pbc):
            boxed.center(vacuum=VACUUM_A, axis=int(axis))
        boxed.pbc = True
        return boxed
    unit = conventional_cell(atoms)
    heights = unit.cell.volume / np.linalg.norm(
        np.cross(unit.cell[[1, 2, 0]], unit.cell[[2, 0, 1]]), axis=1
    )

    def cost(repeats: tuple[int, ...]) -> float:
        sides = heights * np.array(repeats)
        # a factor 1.5 in shape weighs as much as one in size
        return float(
            abs(np.log(len(unit) * np.prod(repeats) / md_atoms)) + np.log(sides.max() / sides.min())
        )

    most = max(1, round(md_atoms / len(unit)))
    shapes = [
        n
        for n in itertools.product(range(1, min(most, 12) + 1), repeat=3)
        if np.prod(n) <= 2 * most
    ]
    grown: Atoms = unit.repeat(min(shapes, key=cost))
    return grown
