"""Interstitials: an atom of the material put into a void of its crystal, relaxed loosely, then
rattled.

The voids are the vertices of the Voronoi diagram, the points farthest from all atoms around them;
those that the crystal's symmetry makes alike count once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atom, Atoms
from scipy.spatial import Voronoi

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.values import Json
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.generation.context import Context, FloatArray
from mlip_autopipec.science.generation.defects import family
from mlip_autopipec.science.lattices import bare, standard_cell

__all__ = ["generate", "voids"]

# A void nearer to an atom than this share of the largest one is no place for another atom.
SMALLEST_OF_LARGEST = 0.75


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 32,
    copies: int = 2,
    relax_steps: int = 15,
    sigma_min_a: float = 0.02,
    sigma_max_a: float = 0.1,
    **_: object,
) -> list[Candidate]:
    """One atom more in supercells of fewer than ``max_atoms`` atoms; voids (largest first) and
    elements take turns.

    Atoms nearer than 0.77 sums of covalent radii are pushed apart before the surrogate relaxes.
    """

    known: dict[int, tuple[list[float], list[tuple[FloatArray, float]]]] = {}

    def make(cell: Atoms, number: int) -> tuple[Atoms, Json] | None:
        if id(cell) not in known:
            # Distinct sites are looked for in the small cell, where there are few; the supercell
            # holds each of them.
            unit = standard_cell(cell, primitive=True)
            distinct = voids(unit if len(unit) < len(cell) else cell)
            known[id(cell)] = [distance for _, distance in distinct], _all_voids(cell)
        distances, places = known[id(cell)]
        if not distances:
            return None
        elements = sorted(set(cell.get_chemical_symbols()))
        distance = distances[number % len(distances)]
        element = elements[number // len(distances) % len(elements)]
        alike = [place for place, size in places if abs(size - distance) < 0.02]
        if not alike:
            return None
        grown = bare(cell)
        grown.append(Atom(element, position=alike[int(rng.integers(len(alike)))] @ cell.cell.array))
        return grown, {"added": [element], "void_radius_a": round(distance, 4)}

    return family(
        "interstitial", make, context, count, rng,
        min(max_atoms, context.max_atoms) - 1, copies, relax_steps, (sigma_min_a, sigma_max_a),
    )  # fmt: skip


def voids(atoms: Atoms) -> list[tuple[FloatArray, float]]:
    """(fractional position (3,), distance in Å to the nearest atoms) of symmetry-distinct voids,
    largest first.

    ``atoms`` periodic in all directions. Voids much smaller than the largest are left out.
    """
    found = symmetry.operations(atoms, 0.01)
    rotations, shifts = (np.eye(3)[None], np.zeros((1, 3))) if found is None else found
    kept: list[tuple[FloatArray, float]] = []
    for place, distance in _all_voids(atoms):
        images = rotations @ place + shifts
        if not any(
            abs(distance - size) < 0.02 and _near(images, other, atoms).any()
            for other, size in kept
        ):
            kept.append((place, distance))
    return kept


def _all_voids(atoms: Atoms) -> list[tuple[FloatArray, float]]:
    """All Voronoi vertices within the cell, symmetry ignored, largest first; twins of degenerate
    vertices merged.
    """
    cell = atoms.cell.array
    # Two cells around a small one, so that every vertex within has all its neighbours.
    reach = np.arange(-2, 3) if len(atoms) < 8 else np.arange(-1, 2)
    steps = np.array(np.meshgrid(reach, reach, reach, indexing="ij")).reshape(3, -1).T
    points = (atoms.get_scaled_positions()[None] + steps[:, None]).reshape(-1, 3) @ cell
    inside = Voronoi(points).vertices @ np.linalg.inv(cell)
    inside = inside[((inside > -1e-4) & (inside < 1 - 1e-4)).all(axis=1)]
    distances = np.sqrt((((inside @ cell)[:, None] - points[None]) ** 2).sum(axis=2)).min(axis=1)
    kept: list[tuple[FloatArray, float]] = []
    for index in np.lexsort((*np.round(inside.T, 4), -np.round(distances, 3))):
        place, distance = inside[index], float(distances[index])
        if distance < SMALLEST_OF_LARGEST * distances.max():
            break
        if not any(_near(place[None], other, atoms).any() for other, _ in kept):
            kept.append((place, distance))
    return kept


def _near(places: FloatArray, other: FloatArray, atoms: Atoms, tolerance_a: float = 0.1) -> Any:
    """Which of the fractional ``places`` (m, 3) are ``other`` (3,) within ``tolerance_a``, lattice
    vectors aside.
    """
    gaps = places - other
    return np.linalg.norm((gaps - np.round(gaps)) @ atoms.cell.array, axis=1) < tolerance_a
