"""What every structure of a file has to be, whoever reads it, and what a user may say of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.values import FloatArray

__all__ = [
    "IN_THE_FILE",
    "NAME_TYPES",
    "Given",
    "complaint",
    "elements_of_types",
    "same_elements",
    "shared_site",
    "uncharged",
    "with_lattice",
]

# Nearer than this, two atoms are one that the file has twice: the shortest bond of nature is 0.74.
COINCIDE_A = 0.1
# A cell with less room for an atom is no cell in Å (nanometres, scaled coordinates): carbon at
# terapascals still has 2, hydrogen at 500 GPa 1.2.
LEAST_VOLUME_A3 = 0.5
# No atomistic cell is longer; far beyond, squares of lengths overflow.
LONGEST_A = 1e5
# Of a cell that is not periodic: with less than this between the outermost atoms of neighbouring
# images in all three directions, the images touch: it is bulk. A molecule has more room around it.
TOUCHING_A = 3.5
# Up to so many atoms all pairs are compared at once, which is faster than a neighbour list.
ALL_PAIRS = 64
# Sites below it are partly occupied (files round 1/3 + 2/3).
FULL_OCCUPANCY = 0.999
# Partial charges of force fields add up to zero within their rounding.
NEUTRAL_E = 0.5

NAME_TYPES = "say which elements they are: --types 'Cu Zr' names type 1, type 2, ..."
PBC = 'write pbc="T T T" (or F F F for a free cluster) into the file, or say --pbc TTT (FFF)'
#: The same where there is no command line to say it on.
IN_THE_FILE = {
    NAME_TYPES: "write their symbols into the file (dump_modify element, line 6 of a POSCAR ...)",
    PBC: 'write pbc="T T T" into the file',
}
CHARGES = ("charge", "total_charge", "net_charge")


@dataclass(frozen=True, slots=True)
class Given:
    """What a user says of a file beside the file itself.

    ``types``: elements of the numbered types 1, 2, ...; ``pbc``: periodic directions, in place of
    the file's.
    """

    types: tuple[str, ...] = ()
    pbc: tuple[bool, bool, bool] | None = None

    @classmethod
    def parse(cls, types: str | None, pbc: str | None) -> Given:
        """Of the options: ``"Cu Zr"`` or ``"Cu,Zr"``; ``TTT``, ``"T T F"``, ``false`` ...

        Raises InputError.
        """
        names = tuple((types or "").replace(",", " ").split())
        for name in names:
            if name not in chemical_symbols[1:]:
                raise InputError("is no element", key="--types", value=name)
        if types is not None and not names:
            raise InputError("names no element", key="--types", value=types, hint=NAME_TYPES)
        if pbc is None:
            return cls(names)
        flags = pbc.upper().replace(",", " ").replace("TRUE", "T").replace("FALSE", "F")
        letters = "".join(flags.split())
        letters = letters * 3 if len(letters) == 1 else letters
        if len(letters) != 3 or set(letters) - {"T", "F"}:
            raise InputError("is no periodicity", key="--pbc", value=pbc, hint="TTT, TTF or FFF")
        return cls(names, (letters[0] == "T", letters[1] == "T", letters[2] == "T"))


def elements_of_types(types: Sequence[int], given: Given) -> list[str]:
    """The elements of numbered types (from 1). Raises ValueError where they were not named."""
    there = sorted({int(number) for number in types})
    if not there:
        raise ValueError("holds no atoms")
    if there[0] < 1 or there[-1] > len(given.types):
        named = f"types {', '.join(map(str, there[:6]))}{' ...' if len(there) > 6 else ''}"
        if given.types:
            raise ValueError(f"has {named}, but {len(given.types)} were named; {NAME_TYPES}")
        raise ValueError(f"{named} are numbers, not elements; {NAME_TYPES}")
    return [given.types[int(number) - 1] for number in types]


def complaint(atoms: Atoms, *, pbc_said: bool = False) -> str | None:
    """Why no calculation can be made of a structure, in one line; None for one that is fine.

    ``pbc_said``: the user said so, hence a cell full of atoms may be a free cluster.
    """
    if not len(atoms):
        return "holds no atoms"
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        return "positions or cell are not finite"
    if (atoms.numbers < 1).any():
        return "an atom has no element"
    if max(np.abs(atoms.cell.array).max(), np.abs(atoms.positions).max()) > LONGEST_A:
        return f"positions or cell go beyond {LONGEST_A:g} Å"
    shared = _shared_site(atoms)
    if shared:
        return shared
    flags = np.array(atoms.pbc, dtype=bool)
    if (flags & (atoms.cell.lengths() < 1e-6)).any():
        return "periodic along a direction without a lattice vector"
    volume = abs(float(atoms.cell.volume))
    if flags.all() and volume < LEAST_VOLUME_A3 * len(atoms):
        if volume < 1e-3:
            return "has a cell without volume: the lattice vectors span none"
        return f"{len(atoms)} atoms in a cell of {volume:.3g} Å³: lengths have to be in Å"
    pair = _coinciding(atoms)
    if pair is not None:
        return f"atoms {pair[0]} and {pair[1]} are at one place (counted from 0)"
    if not flags.any() and not pbc_said and _fills(atoms):
        return f"has a cell that its atoms fill, but is not periodic; {PBC}"
    return None


def _shared_site(atoms: Atoms) -> str | None:
    """The partly occupied site that a reader of ASE told of (``occupancy``)."""
    occupied: Any = atoms.info.get("occupancy")
    if not isinstance(occupied, dict):
        return None
    for kinds in occupied.values():
        if not isinstance(kinds, dict) or not kinds:
            continue
        if len(kinds) > 1 or float(min(kinds.values())) < FULL_OCCUPANCY:
            words = ", ".join(f"{symbol} {float(part):g}" for symbol, part in kinds.items())
            return shared_site(words)
    return None


def shared_site(words: str) -> str:
    """The refusal of a partly occupied site, in every reader the same."""
    return (
        f"has sites that are partly occupied ({words}): no calculation can be made of an average;"
        " give an ordered cell, or 'composition' in an input.yaml for a solid solution"
    )


def _coinciding(atoms: Atoms) -> tuple[int, int] | None:
    """The first two atoms at one place, periodic images included."""
    if len(atoms) > ALL_PAIRS:
        from ase.neighborlist import neighbor_list

        first, second = neighbor_list("ij", atoms, COINCIDE_A)
        return (int(first[0]), int(second[0])) if len(first) else None
    apart: FloatArray = atoms.positions[:, None] - atoms.positions[None, :]
    flags = np.array(atoms.pbc, dtype=bool)
    if flags.any():
        cell = atoms.cell.complete().array
        parts = apart @ np.linalg.inv(cell)
        apart = (parts - np.round(parts) * flags) @ cell
    near = np.argwhere(np.triu((apart**2).sum(axis=-1) < COINCIDE_A**2, k=1))
    return (int(near[0][0]), int(near[0][1])) if len(near) else None


def _fills(atoms: Atoms) -> bool:
    """Whether images of a cell that is not periodic would touch in all three directions without
    coming closer than bonds are.
    """
    if abs(float(atoms.cell.volume)) < LEAST_VOLUME_A3 * len(atoms):
        return False
    heights = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    parts = atoms.cell.scaled_positions(atoms.positions)
    gaps = (1.0 - np.ptp(parts, axis=0)) * heights
    if not ((gaps < TOUCHING_A) & (gaps > -COINCIDE_A)).all():
        return False
    whole = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    return len(atoms) < 2 or _coinciding(whole) is None


def with_lattice(frames: Sequence[Atoms]) -> None:
    """Raises ValueError for the first structure that is not periodic at all."""
    for number, atoms in enumerate(frames):
        if not np.array(atoms.pbc).any():
            where = f"structure {number} " if len(frames) > 1 else ""
            raise ValueError(
                f"{where}has no lattice; write Lattice= into the file, or give the file of a free"
                " molecule as 'molecule'"
            )


def same_elements(frames: Sequence[Atoms]) -> None:
    """Raises ValueError where a later structure has elements that the first lacks."""
    known = set(frames[0].get_chemical_symbols())
    for number, atoms in enumerate(frames):
        more = sorted(set(atoms.get_chemical_symbols()) - known)
        if more:
            raise ValueError(
                f"structure {number} has {', '.join(more)}, which structure 0 lacks: one material"
                " a file"
            )


def uncharged(atoms: Atoms) -> None:
    """Raises ValueError for an ion: only neutral cells can be calculated."""
    total = 0.0
    for key in CHARGES:
        value = atoms.info.get(key)
        if isinstance(value, int | float | np.number) and not isinstance(value, bool):
            total = float(value)
            break
    else:
        total = float(atoms.get_initial_charges().sum())
    if abs(total) >= NEUTRAL_E:
        raise ValueError(
            f"has a charge of {total:+g} e: only neutral molecules and cells can be calculated"
        )
