"""The user's structure file: whatever ASE reads, else whatever pymatgen reads."""

from __future__ import annotations

from pathlib import Path

import ase.io
from ase import Atoms

__all__ = ["read_frames"]

HINT = "any format of ASE or pymatgen will do, for instance CIF, POSCAR or extended XYZ"


def read_frames(path: str | Path) -> list[Atoms]:
    """Every structure of a file, in its order. Raises ValueError, one line, for what no reader
    understands.

    A cell whose sites are shared by several elements is refused: it is a solid solution, not a
    structure.
    """
    try:
        read = ase.io.read(str(path), index=":", do_not_split_by_at_sign=True)
        frames = read if isinstance(read, list) else [read]
    except Exception as error:  # ASE's readers raise anything, from KeyError to UnicodeDecodeError
        frames = _by_pymatgen(path, error)
    if not frames or any(len(frame) == 0 for frame in frames):
        raise ValueError("holds no atoms")
    for frame in frames:
        _refuse_unusable(frame)
    return frames


def _by_pymatgen(path: str | Path, first: Exception) -> list[Atoms]:
    """For the few formats that ASE lacks (pymatgen's own JSON and YAML, CHGCAR-like files of odd
    names ...).
    """
    told = " ".join(str(first).split()) or type(first).__name__
    try:
        from pymatgen.core.structure import Structure
        from pymatgen.io.ase import AseAtomsAdaptor

        found = AseAtomsAdaptor.get_atoms(Structure.from_file(str(path)), msonable=False)
    except Exception:  # what ASE said of it is the more useful answer
        raise ValueError(f"cannot be read as a structure: {told}") from first
    return [Atoms(numbers=found.numbers, positions=found.positions, cell=found.cell, pbc=True)]


def _refuse_unusable(atoms: Atoms) -> None:
    if atoms.pbc.any() and abs(atoms.cell.volume) < 1e-3:
        raise ValueError("has a cell without volume")
    occupied = atoms.info.get("occupancy") or {}
    if any(len(kinds) > 1 or min(kinds.values()) < 0.999 for kinds in occupied.values()):
        raise ValueError(
            "has sites that are partly occupied; give 'composition' for a solid solution"
        )
