"""Cells and lattices: standard cells, sublattices and how far their images are apart, the MD cell.

Every sublattice of index n has one Hermite normal form, so all of them can be looked at (Hart &
Forcade, Phys. Rev. B 77, 224115, 2008): the best are rarely multiples of the unit cell.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.science import symmetry

__all__ = [
    "SYMPREC_A",
    "bare",
    "fully_periodic",
    "heights_a",
    "hermite_forms",
    "md_cell",
    "separation_a",
    "standard_cell",
    "widest_a",
]

# Of spglib: relaxed and rattled cells keep their symmetry within this, or have none.
SYMPREC_A = 0.01
# On each free side of what is not periodic, for MD: beyond the cutoff of the potential.
VACUUM_A = 8.0


def bare(atoms: Atoms, *, moments: bool = True) -> Atoms:
    """A copy with numbers, positions, cell, periodicity and (where wanted) moments alone: no
    calculator, constraint or velocity.
    """
    plain = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if moments and atoms.has("initial_magmoms"):
        plain.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    return plain


def fully_periodic(atoms: Atoms, reach_a: float) -> Atoms:
    """A slab or wire as a fully periodic cell with its vacuum, in which no atom comes within
    ``reach_a`` of an image across a free direction, and a left-handed cell as a right-handed one of
    the same lattice; what is neither is returned as it is.

    Programs that know no mixed periodicity, or no left-handed cell, give the same energies and
    forces for it. The cell grows where its vacuum is thinner than that; positions (Å) stay.
    """
    if not atoms.pbc.any():
        return atoms
    boxed = atoms if atoms.pbc.all() else _with_vacuum(atoms, reach_a)
    if np.linalg.det(boxed.cell.array) >= 0:
        return boxed
    turned = bare(boxed)
    turned.set_cell(boxed.cell.array[[1, 0, 2]])
    return turned


def _with_vacuum(atoms: Atoms, reach_a: float) -> Atoms:
    boxed = bare(atoms)
    boxed.set_cell(atoms.cell.complete())
    for axis in np.flatnonzero(~atoms.pbc):
        vectors = boxed.cell.array
        one, other = (vectors[(axis + step) % 3] for step in (1, 2))
        normal = np.cross(one, other) / np.linalg.norm(np.cross(one, other))
        along = boxed.positions @ normal
        height = abs(float(vectors[axis] @ normal))
        needed = float(np.ptp(along)) + reach_a
        if height < needed:
            vectors[axis] *= needed / height
            boxed.set_cell(vectors)
    boxed.pbc = True
    return boxed


def standard_cell(atoms: Atoms, *, primitive: bool, symprec_a: float = SYMPREC_A) -> Atoms:
    """The idealised standard cell (spglib), conventional or primitive; not fully periodic
    structures are returned.
    """
    if not atoms.pbc.all():
        return bare(atoms)
    found = symmetry.standardized(atoms, primitive=primitive, symprec_a=symprec_a)
    if found is None:
        return bare(atoms)
    cell, positions, numbers = found
    return Atoms(numbers=numbers, scaled_positions=positions, cell=cell, pbc=True)


def heights_a(cell: FloatArray) -> FloatArray:
    """Distances (Å) between opposite faces of a cell."""
    return np.asarray(
        abs(np.linalg.det(cell))
        / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    )


def hermite_forms(index: int) -> NDArray[np.int64]:
    """All lower-triangular Hermite normal forms of a determinant, (k, 3, 3)."""
    found = []
    for a in _divisors(index):
        for c in _divisors(index // a):
            f = index // a // c
            found += [
                [[a, 0, 0], [b, c, 0], [d, e, f]]
                for b, d, e in itertools.product(range(a), range(a), range(c))
            ]
    return np.array(found, dtype=np.int64)


def _divisors(n: int) -> list[int]:
    return [i for i in range(1, n + 1) if n % i == 0]


def widest_a(volume: float) -> float:
    """Largest possible shortest vector (Å) of a lattice of this cell volume (Å³): that of fcc, the
    densest packing.
    """
    return float((np.sqrt(2.0) * volume) ** (1 / 3))


def separation_a(cell: FloatArray) -> float:
    """Shortest lattice vector (Å): the distance of an atom's nearest image."""
    reduced = minkowski_reduce(cell)[0]
    return float(np.linalg.norm(reduced, axis=1).min())


def md_cell(atoms: Atoms, md_atoms: int) -> Atoms:
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
    unit = standard_cell(atoms, primitive=False)
    heights = heights_a(unit.cell.array)

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
