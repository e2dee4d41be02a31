"""Files of structures -> cells that a plane-wave calculation can take, each with the places it was
found in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.science.reading import Frames, Given, uncharged

__all__ = ["Structure", "as_calculated", "read_structures", "vacuum_axes"]

#: A gap between atoms (centre to centre) along a lattice direction from which on there is vacuum,
#: not bonding.
VACUUM_A = 6.0
#: Between large atoms it has to be wider, in sums of their covalent radii: simple cubic strontium
#: of 6.3 Å (1.6) is a crystal.
VACUUM_RADII = 2.2
#: Least distance of a molecule from the faces of its box.
MARGIN_A = 6.0


@dataclass(frozen=True, slots=True)
class Structure:
    """A cell to be labelled; ``source``: file and frame (from 0), for people; ``notes``: what was
    made of what the file says.
    """

    atoms: Atoms
    source: str
    notes: tuple[str, ...] = field(default=())


def read_structures(files: Sequence[Path], given: Given | None = None) -> list[Structure]:
    """Every frame of every file, made ready by :func:`as_calculated`; ``given``: what the user says
    of the files.

    Raises InputError with file and frame for what cannot be read or labelled.
    """
    found: list[Structure] = []
    for file in files:
        for number, atoms in enumerate(Frames(file, given)):
            source = f"{file}#{number}"
            try:
                uncharged(atoms)
                found.append(as_calculated(atoms, source))
            except ValueError as error:
                raise InputError(str(error), file=file, key=f"frame {number}") from None
    return found


def as_calculated(atoms: Atoms, source: str = "given") -> Structure:
    """``atoms`` as they will be calculated: periodic where matter goes on, boxed where it does not.

    Along a direction with a gap of 6 Å or more (2.2 sums of covalent radii where that is more)
    there is no periodicity, hence one k-point: molecules get the Gamma point, slabs a mesh in their
    plane. A molecule gets a rectangular box with 6 Å beyond its outermost atoms on every side
    (edges in whole Å, so that most frames of one molecule share a box); a slab given as periodic
    keeps its cell. What is changed is said in the notes. Moments are kept, those to start from
    before those that came out. Velocities, constraints, charges and other results of the file are
    left out. Raises ValueError for no atoms, positions that are not finite, a periodic direction
    without a lattice vector, or moments that are no numbers along one axis.
    """
    if not len(atoms):
        raise ValueError("no atoms")
    clean = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    moments = _moments(atoms)
    if moments is not None:
        clean.set_initial_magnetic_moments(moments)
    if not np.isfinite(clean.positions).all() or not np.isfinite(clean.cell.array).all():
        raise ValueError("positions or cell are not finite")
    if (clean.numbers == 0).any():
        raise ValueError("an atom has no element")
    flags = np.array(clean.pbc, dtype=bool)
    lengths = clean.cell.lengths()
    if (flags & (lengths < 1e-6)).any():
        raise ValueError("periodic along a direction without a lattice vector")
    if flags.all() and abs(clean.cell.volume) < 1e-3:
        raise ValueError("the lattice vectors span no volume")
    vacuum = vacuum_axes(clean)
    bounded = [axis for axis in range(3) if not flags[axis]]
    for axis in vacuum:
        _close_the_gap_at_the_faces(clean, axis)
    clean.pbc = [bool(flags[axis]) and axis not in vacuum for axis in range(3)]
    if not any(clean.pbc):
        note = "vacuum on all sides: taken for isolated, in a box of our own" if vacuum else ""
        return Structure(_boxed(clean), source, (note,) if note else ())
    if bounded:
        clean.center(vacuum=MARGIN_A, axis=tuple(bounded))
    axes = " and ".join("abc"[axis] for axis in vacuum)
    return Structure(clean, source, (f"vacuum: not periodic along {axes}",) if vacuum else ())


def _moments(atoms: Atoms) -> FloatArray | None:
    """Of a structure (n,) in Bohr magnetons: to start from, else what an earlier calculation left.

    Raises ValueError where they are no numbers, or vectors.
    """
    found = atoms.arrays.get("initial_magmoms")
    if found is None and atoms.calc is not None:
        found = getattr(atoms.calc, "results", {}).get("magmoms")
    if found is None:
        return None
    moments = np.asarray(found, dtype=float)
    if moments.shape != (len(atoms),):
        raise ValueError("moments are vectors: only those along one axis can be calculated")
    if not np.isfinite(moments).all():
        raise ValueError("a magnetic moment is not finite")
    return moments if np.any(moments) else None


def vacuum_axes(atoms: Atoms) -> list[int]:
    """Periodic lattice directions along which the cell has a gap of at least 6 Å between one atom
    and the next, and of 2.2 sums of their covalent radii.
    """
    if abs(atoms.cell.volume) < 1e-3:
        return []
    heights = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    return [
        axis
        for axis in range(3)
        if atoms.pbc[axis] and _gap(atoms, axis)[0] * heights[axis] >= _least_vacuum_a(atoms, axis)
    ]


def _least_vacuum_a(atoms: Atoms, axis: int) -> float:
    """From which gap on the atoms on its two sides do not bond (Å)."""
    places = atoms.cell.scaled_positions(atoms.positions)[:, axis] % 1.0
    order = np.argsort(places)
    widest = int(np.argmax(np.diff(np.append(places[order], places[order[0]] + 1.0))))
    sides = atoms.numbers[[order[widest], order[(widest + 1) % len(order)]]]
    return max(VACUUM_A, VACUUM_RADII * float(covalent_radii[sides].sum()))


def _gap(atoms: Atoms, axis: int) -> tuple[float, float]:
    """The largest empty interval along an axis and where it ends, in scaled coordinates."""
    places = np.sort(atoms.cell.scaled_positions(atoms.positions)[:, axis] % 1.0)
    gaps = np.diff(np.append(places, places[0] + 1.0))
    widest = int(np.argmax(gaps))
    return float(gaps[widest]), float(places[(widest + 1) % len(places)])


def _close_the_gap_at_the_faces(atoms: Atoms, axis: int) -> None:
    """Move atoms by lattice vectors so that no molecule is cut by the face of the cell."""
    scaled = atoms.cell.scaled_positions(atoms.positions)
    start = _gap(atoms, axis)[1] - 1e-9
    scaled[:, axis] = (scaled[:, axis] - start) % 1.0 + start
    atoms.positions = scaled @ atoms.cell.array


def _boxed(atoms: Atoms) -> Atoms:
    size = np.ceil(np.ptp(atoms.positions, axis=0) + 2 * MARGIN_A - 1e-6)
    boxed: Atoms = atoms.copy()
    boxed.set_cell(np.diag(size))
    boxed.pbc = False
    boxed.center()
    return boxed
