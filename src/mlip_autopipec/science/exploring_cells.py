"""Cells that MD explores in: small whole ones, which DFT can label as they are, and what is done to
them before MD starts.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.geometry import minkowski_reduce

from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.generation.surfaces import slabs
from mlip_autopipec.science.lattices import (
    SYMPREC_A,
    bare,
    heights_a,
    hermite_forms,
    md_cell,
    standard_cell,
)

__all__ = ["cell_motion", "exploring_cell", "small_cell"]

# In fewer atoms too few vibrate.
FEWEST_ATOMS = 8
# Lattices whose nearest images are as far apart within this are told apart by their shape.
SAME_SEPARATION = 0.02
# Combinations of reduced primitive vectors among which a lattice's shortest vector is looked for.
REACH = 4
# A slab has fewer neighbours than a crystal: as many atoms again are allowed.
SLAB_FACTOR = 2
LAST_MONOCLINIC = 15  # space group: up to here the cell's angles are free
FIRST_CUBIC = 195  # space group: from here on the three axes are one
RIGHT_ANGLE_DEG = 0.5  # off 90 degrees, and still upright


def exploring_cell(
    starts: Sequence[Atoms],
    start: str,
    most_atoms: int,
    *,
    atoms: int | None = None,
    strain: float = 0.0,
    volume_ratio: float = 1.0,
    visit: int = 0,
    seed: int = 0,
) -> Atoms:
    """The cell in which MD begins.

    ``starts``: start structures, the lowest first. ``start``: as a condition of the plan names it:
    ``crystal``, ``phase`` (the others of the starts, one after the other by ``visit``; the first
    where there is no other), ``vacancy`` (an atom less, drawn by ``seed``), ``slab`` (a low-index
    surface), ``melt`` and ``molecule`` (the first as it is). ``most_atoms``: of the cell; more
    where the primitive cell has more. ``atoms``: of a large cell instead, about. ``strain``:
    relative change of volume, after that by ``volume_ratio``: DFT's volume over that of the starts,
    which were relaxed by the surrogate.
    """
    others = starts[1:] if start == "phase" and len(starts) > 1 else starts[:1]
    parent = others[visit % len(others)]
    if not parent.pbc.all():
        return md_cell(parent, atoms or most_atoms)
    cell = small_cell(parent, most_atoms) if atoms is None else md_cell(parent, atoms)
    if start == "slab":
        cut = slabs(parent, SLAB_FACTOR * most_atoms)
        cell = md_cell(cut[visit % len(cut)][1], most_atoms) if cut else cell
    if start == "vacancy" and len(cell) > 2:
        del cell[int(np.random.default_rng(seed).integers(len(cell)))]
    scale = volume_ratio * (1 + strain)
    if scale != 1.0:
        cell.set_cell(cell.cell.array * scale ** (1 / 3), scale_atoms=True)
    return cell


def small_cell(atoms: Atoms, most_atoms: int) -> Atoms:
    """The supercell of 8 to ``most_atoms`` atoms whose images are farthest apart; among equals the
    smallest, then the one nearest to a cube.

    All sublattices of the primitive cell are looked at that hold an even number of atoms (an order
    of moments or charges fits in), and those that repeat it alike in three directions: their
    k-points can be those of the primitive cell. Larger primitive cells are returned as they are.
    """
    unit = standard_cell(atoms, primitive=True)
    unit = unit if len(unit) <= len(atoms) else bare(atoms)
    vectors = minkowski_reduce(unit.cell.array)[0]
    unit.set_cell(vectors)
    unit.wrap()
    best: tuple[float, FloatArray] | None = None
    most = max(1, most_atoms // len(unit))
    fewest = min(most, -(-FEWEST_ATOMS // len(unit)))
    fitting = [
        n
        for n in range(fewest, most + 1)
        if n * len(unit) % 2 == 0 or round(n ** (1 / 3)) ** 3 == n
    ]
    for index in fitting or [most]:
        forms, shortest = _separations(index, tuple(map(tuple, vectors)))
        widest = float(shortest.max())
        if best is not None and widest < best[0] * (1 + SAME_SEPARATION):
            continue
        equal = forms[shortest > widest * (1 - 1e-6)]
        best = widest, min(equal, key=lambda form: _oblongness(form @ vectors))
    assert best is not None
    reduced = minkowski_reduce(best[1] @ vectors)[0]
    grown = make_supercell(unit, np.round(reduced @ np.linalg.inv(vectors)).astype(int))
    if np.linalg.det(grown.cell.array) < 0:
        grown.set_cell(-grown.cell.array)
        grown.wrap()
    return bare(grown)


@functools.lru_cache(maxsize=128)
def _separations(
    index: int, vectors: tuple[tuple[float, ...], ...]
) -> tuple[FloatArray, FloatArray]:
    """Sublattices of that index (k, 3, 3) and the distance (Å) of nearest images in each (k,)."""
    forms = hermite_forms(index).astype(float)
    points = np.array(list(itertools.product(range(-REACH, REACH + 1), repeat=3)), dtype=float)
    lengths = np.linalg.norm(points @ np.array(vectors), axis=1)
    order = np.argsort(lengths)[1:]
    points, lengths = points[order], lengths[order]
    # A lattice vector belongs to a sublattice where its coordinates there are whole numbers.
    inside = points @ np.linalg.inv(forms)
    found = (np.abs(inside - np.round(inside)) < 1e-6).all(axis=2)
    return forms, np.where(found.any(axis=1), lengths[found.argmax(axis=1)], np.inf)


def _oblongness(cell: FloatArray) -> float:
    heights = heights_a(minkowski_reduce(cell)[0])
    return float(heights.max() / heights.min())


def cell_motion(crystal: Atoms, cell: Atoms, start: str) -> Literal["iso", "aniso", "tri"]:
    """How an MD cell of this crystal may move: like its symmetry, and a liquid in volume alone.

    Axes that stand upright can move by themselves; in a cell whose vectors lie otherwise the angles
    have to move with them.
    """
    if start == "melt" or not crystal.pbc.all():
        return "iso"
    found = symmetry.dataset(crystal, SYMPREC_A)
    group = 1 if found is None else int(found.number)
    if group >= FIRST_CUBIC:
        return "iso"
    upright = np.abs(cell.cell.angles()[:2] - 90.0).max() < RIGHT_ANGLE_DEG
    return "aniso" if group > LAST_MONOCLINIC and upright else "tri"
