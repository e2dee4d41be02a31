r"""k-points from a spacing, such that cells of one campaign see the same sampling of the Brillouin
zone.

A k-point lattice is the dual of a superlattice of the crystal: a property averaged over it is wrong
by terms that decay exponentially with the length of the superlattice vectors (Moreno & Soler, Phys.
Rev. B 45, 13891, 1992). What matters is therefore the shortest of them, and a face-centred
superlattice reaches the same length with fewer points than a simple one (Wisesa, McGill & Mueller,
Phys. Rev. B 93, 155109, 2016). Two kinds are tried:

simple         all points of a Monkhorst-Pack mesh (Phys. Rev. B 13, 5188, 1976); face-centred
even divisions, and only the points (m1, m2, m3) whose integers are all even or all odd.

Of all meshes of both kinds whose superlattice vectors are at least 2π/dk long the one with the
fewest points is taken. For a rectangular cell and the simple kind this is the usual n_i =
ceil(|b_i| / dk); a skewed cell is not made to pay for its long reciprocal vectors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["KPointGrid", "choose_grid", "is_hexagonal", "listed", "shortest_vector_a"]

_ROUNDING = 1e-6
# Angles this far from 60 or 120 degrees are still a strained hexagonal cell, for which meshes
# must not be shifted.
_STRAINED_DEG = 13.0


@dataclass(frozen=True, slots=True)
class KPointGrid:
    """A mesh ``divisions`` with a half-step shift along the axes of ``shift``; ``thinned``:
    face-centred quarter.
    """

    divisions: tuple[int, int, int]
    shift: tuple[int, int, int]
    thinned: bool = False

    @property
    def size(self) -> int:
        """Number of points before any symmetry."""
        return math.prod(self.divisions) // (4 if self.thinned else 1)

    @property
    def gamma_only(self) -> bool:
        return self.divisions == (1, 1, 1) and not any(self.shift)

    def points(self) -> list[tuple[tuple[float, float, float], int]]:
        """Points (in reciprocal lattice vectors) and weights, one of each pair k, -k (time
        reversal).
        """
        kept: dict[tuple[int, ...], tuple[tuple[float, float, float], int]] = {}
        for steps in itertools.product(*(range(n) for n in self.divisions)):
            if self.thinned and len({step % 2 for step in steps}) > 1:
                continue
            # In units of half a mesh step, so that equality is exact.
            halves = tuple(2 * m + s for m, s in zip(steps, self.shift, strict=True))
            mirror = tuple(-h % (2 * n) for h, n in zip(halves, self.divisions, strict=True))
            if mirror in kept and mirror != halves:
                kept[mirror] = (kept[mirror][0], 2)
                continue
            x, y, z = (h / (2 * n) for h, n in zip(halves, self.divisions, strict=True))
            kept[halves] = ((x, y, z), 1)
        return list(kept.values())

    def irreducible(
        self, lattice: NDArray[np.integer], crystal: NDArray[np.integer] | None = None
    ) -> list[tuple[tuple[float, float, float], int]]:
        """Points and weights that stand for the stars of the mesh under the ``lattice``'s rotations
        (n, 3, 3; direct lattice coordinates), time reversal included.

        A star is split into those of ``crystal`` where its rotations are fewer: then the points are
        those that a program treats which reduces by the lattice and adds what the crystal lacks,
        and their weights are equal shares that count for nothing.
        """
        step = 2 * math.lcm(*self.divisions)
        points = self.points()
        whole = np.round(np.array([point for point, _ in points]) * step).astype(int)
        weights = np.array([weight for _, weight in points])
        names, where = np.unique(_stars(whole, lattice, step).min(axis=1), return_inverse=True)
        sums = np.bincount(where.reshape(-1), weights).tolist()
        if crystal is not None:
            stars = np.unique(_stars(_coordinates(names, step), lattice, step))
            names = np.unique(_stars(_coordinates(stars, step), crystal, step).min(axis=1))
            sums = [1] * len(names)
        rows = _coordinates(names, step) / step
        return [
            ((float(x), float(y), float(z)), int(weight))
            for (x, y, z), weight in zip(rows, sums, strict=True)
        ]

    def closed_under(self, rotations: NDArray[np.integer]) -> bool:
        """True when every rotation (n, 3, 3), in direct lattice coordinates, maps the set of points
        onto itself.

        A rotation W of positions takes the row of coordinates k to k W^-1; over a group k W will
        do. A mesh is an offset and the lattice of its steps: both have to land on the mesh. Points
        are equal modulo reciprocal lattice vectors. A shifted mesh of the primitive fcc cell is not
        closed; one without a shift is, when its divisions along equivalent axes are equal.
        """
        divisions = np.array(self.divisions)
        steps = (
            np.array([[1, 1, 1], [2, 0, 0], [0, 2, 0], [0, 0, 2]])
            if self.thinned
            else np.eye(3, dtype=int)
        )
        offset = np.array(self.shift) / 2
        for rotation in np.asarray(rotations, dtype=float):
            turned = np.vstack([steps, offset]) / divisions @ rotation * divisions
            turned[-1] -= offset
            whole = np.round(turned)
            if np.abs(turned - whole).max() > _ROUNDING:
                return False
            if self.thinned and (whole % 2 != whole[:, :1] % 2).any():
                return False
        return True

    def card(self) -> str:
        """The K_POINTS card."""
        if self.gamma_only:
            return "K_POINTS gamma\n"
        if not self.thinned:
            return (
                "K_POINTS automatic\n"
                + " ".join(str(n) for n in (*self.divisions, *self.shift))
                + "\n"
            )
        return listed(self.points())


def listed(points: Sequence[tuple[tuple[float, float, float], int]]) -> str:
    """The K_POINTS card of points (in reciprocal lattice vectors) and their weights."""
    lines = [f"{x:.12f} {y:.12f} {z:.12f} {weight}" for (x, y, z), weight in points]
    return f"K_POINTS crystal\n{len(points)}\n" + "\n".join(lines) + "\n"


def choose_grid(
    cell: NDArray[np.float64],
    pbc: Sequence[bool],
    spacing_per_a: float,
    shifted: bool,
    kmesh: tuple[int, int, int] | None = None,
) -> KPointGrid:
    """The grid for a cell (3, 3) in Å; ``spacing_per_a`` in 1/Å with 2π included; ``kmesh`` fixes a
    simple mesh.

    Directions without periodicity get one unshifted point. Hexagonal cells stay Gamma-centred
    whatever ``shifted`` says: a shift along their plane tells directions apart that the crystal
    does not.
    """
    shifted = shifted and not is_hexagonal(cell)
    shift = _triple([int(shifted and flag) for flag in pbc])
    if kmesh is not None:
        return KPointGrid(kmesh, shift)
    most = _divisions(cell, pbc, spacing_per_a)
    simple = KPointGrid(most, shift)
    if not all(pbc) or simple.gamma_only:
        return simple
    candidates = [
        KPointGrid(_triple(n), shift)
        for n in itertools.product(*(range(1, top + 1) for top in most))
    ]
    even = [range(2, 2 * top + 1, 2) for top in _divisions(cell, pbc, math.sqrt(2) * spacing_per_a)]
    candidates += [KPointGrid(_triple(n), shift, thinned=True) for n in itertools.product(*even)]
    lengths = np.linalg.norm(np.linalg.inv(np.asarray(cell, dtype=float)), axis=0)
    candidates = [grid for grid in candidates if _even(grid.divisions, lengths)]
    # Fewest points first; of equally many the evenest and simplest.
    candidates.sort(
        key=lambda grid: (grid.size, max(grid.divisions) - min(grid.divisions), grid.thinned)
    )
    wanted = 2 * math.pi / spacing_per_a * (1 - _ROUNDING)
    return next((grid for grid in candidates if shortest_vector_a(cell, grid) >= wanted), simple)


def is_hexagonal(cell: NDArray[np.float64]) -> bool:
    """True for two vectors at 60 or 120 degrees and a third upright on both, strained or not.

    ``cell``: (3, 3), rows are vectors. Lengths do not matter, because a supercell may repeat the
    axes differently, and angles may be off by 13 degrees, which shears of 8 % reach: crystal and
    strained copies are treated alike. The primitive cells of fcc (60 degrees everywhere) and of bcc
    are none.
    """
    vectors = np.asarray(cell, dtype=float)
    lengths = np.linalg.norm(vectors, axis=1)
    angles = np.degrees(
        np.arccos(np.clip(vectors @ vectors.T / np.outer(lengths, lengths), -1.0, 1.0))
    )
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        off = (
            angles[i, k] - 90,
            angles[j, k] - 90,
            min(angles[i, j] - 60, 120 - angles[i, j], key=abs),
        )
        if max(map(abs, off)) <= _STRAINED_DEG:
            return True
    return False


def shortest_vector_a(cell: NDArray[np.float64], grid: KPointGrid) -> float:
    """Length (Å) of the shortest vector of the superlattice whose dual is ``grid``."""
    vectors = np.asarray(cell, dtype=float) * np.asarray(grid.divisions)[:, None]
    if grid.thinned:
        a, b, c = vectors / 2
        vectors = np.array([b + c, a + c, a + b])
    combinations = np.array([c for c in itertools.product((-2, -1, 0, 1, 2), repeat=3) if any(c)])
    return float(np.linalg.norm(combinations @ vectors, axis=1).min())


def _stars(points: NDArray[np.int_], rotations: NDArray[np.integer], step: int) -> NDArray[np.int_]:
    """One number for each rotated copy (and its opposite) of each point: (points, copies).

    ``points``: (n, 3), in units of 1 / ``step`` of the reciprocal vectors.
    """
    turned = np.einsum("ni,rij->nrj", points, np.asarray(rotations, dtype=int))
    both = np.concatenate([turned, -turned], axis=1) % step
    return np.asarray(both @ [step**2, step, 1])


def _coordinates(numbers: NDArray[np.int_], step: int) -> NDArray[np.int_]:
    """The points (n, 3) that :func:`_stars` numbered."""
    return np.stack([numbers // step**2, numbers // step % step, numbers % step], axis=1)


def _even(divisions: tuple[int, int, int], lengths: NDArray[np.float64]) -> bool:
    """Directions that the crystal may not tell apart (reciprocal vectors within 1 %) have the same
    divisions.
    """
    pairs = itertools.combinations(range(3), 2)
    return all(
        divisions[i] == divisions[j] or abs(lengths[i] / lengths[j] - 1) > 0.01 for i, j in pairs
    )


def _divisions(
    cell: NDArray[np.float64], pbc: Sequence[bool], spacing_per_a: float
) -> tuple[int, int, int]:
    lengths = 2 * math.pi * np.linalg.norm(np.linalg.inv(np.asarray(cell, dtype=float)), axis=0)
    return _triple(
        [
            max(1, math.ceil(length / spacing_per_a - _ROUNDING)) if flag else 1
            for length, flag in zip(lengths, pbc, strict=True)
        ]
    )


def _triple(values: Sequence[int]) -> tuple[int, int, int]:
    a, b, c = values
    return a, b, c
