"""Extended XYZ as people write it: keys in any case, six numbers for a tensor, deuterium."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz

from mlip_autopipec.base.values import FloatArray

__all__ = ["frame", "looks_like", "offsets"]

# Written in any case by GPUMD, LAMMPS users and people: name in lower case -> as ASE wants it.
_KEYS = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
_COLUMNS = {"species": "species", "pos": "pos", "forces": "forces", "force": "force"}
_KEY = re.compile(r"(?:(?<=\s)|^)(lattice|properties|pbc)\s*=\s*", re.IGNORECASE)
# ASE knows these two only as nine numbers.
_SIX = re.compile(
    r"(?:(?<=\s)|^)(stress|virial)\s*=\s*(?:\"([^\"]*)\"|\{([^}]*)\}|\[([^\]]*)\])", re.IGNORECASE
)
#: Isotopes have the electrons of hydrogen.
ISOTOPES = {"D": "H", "T": "H"}
# ASE's order of six numbers, in the 3 x 3 tensor.
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def looks_like(text: str) -> bool:
    """Whether a file of unknown name begins as (extended) XYZ does."""
    lines = text.splitlines()[:3]
    if len(lines) < 3 or not re.fullmatch(r"\s*\d+\s*", lines[0]):
        return False
    words = lines[2].split()
    return len(words) >= 4 and re.fullmatch(r"[A-Za-z]{1,2}\d*|\d{1,3}", words[0]) is not None


def offsets(file: Path) -> list[int]:
    """Where each frame begins, and the end of the last one, in bytes. Raises ValueError."""
    found = [0]
    with file.open("rb") as lines:
        for line in lines:
            if line[:3] == b"VEC" or not line.strip():
                found[-1] += len(line)
                continue
            try:
                count = int(line)
            except ValueError:
                text = line.decode(errors="replace").strip()[:60]
                raise ValueError(
                    f"frame {len(found) - 1}: a number of atoms should stand for {text!r}"
                ) from None
            length = len(line)
            for _ in range(count + 1):
                following = next(lines, b"")
                if not following:
                    raise ValueError(
                        f"frame {len(found) - 1} is cut off: {count} atoms should follow"
                    )
                length += len(following)
            found.append(found[-1] + length)
    return found


def frame(text: str) -> Atoms:
    """One structure. Raises whatever ASE's reader stumbles over."""
    lines = text.splitlines()
    lines[1:2] = [_spelled(lines[1])] if len(lines) > 1 else []
    try:
        return _read(lines)
    except KeyError as error:
        if str(error).strip("'") not in ISOTOPES:
            raise ValueError(f"{error} is no element") from None
    return _read(_without_isotopes(lines))


def _read(lines: list[str]) -> Atoms:
    atoms: Atoms
    (atoms,) = read_xyz(
        io.StringIO("\n".join(lines) + "\n"), index=slice(None), properties_parser=_header
    )
    if not atoms.cell.array.any() and atoms.pbc.all():
        atoms.pbc = False  # Lattice="0 0 0 ...": how some programs write a molecule
    return atoms


def _spelled(line: str) -> str:
    """The second line with ``Lattice``, ``Properties``, ``pbc`` and the columns as ASE wants."""

    def key(match: re.Match[str]) -> str:
        return f"{_KEYS[match[1].lower()]}="

    line = _KEY.sub(key, line)
    found = re.search(r"Properties=(\"?)([^\s\"]+)", line)
    if found is None:
        return line
    parts = found[2].split(":")
    for start in range(0, len(parts) - 2, 3):
        parts[start] = _COLUMNS.get(parts[start].lower(), parts[start])
        parts[start + 1] = parts[start + 1].upper()
    return line[: found.start(2)] + ":".join(parts) + line[found.end(2) :]


def _header(line: str) -> dict[str, Any]:
    """ASE's reading of the second line, and tensors of six numbers (xx yy zz yz xz xy) as well."""
    tensors: dict[str, FloatArray] = {}

    def six(match: re.Match[str]) -> str:
        words = next(part for part in match.groups()[1:] if part is not None)
        values = words.replace(",", " ").split()
        if len(values) != 6:
            return match[0]
        tensor = np.zeros((3, 3))
        for (row, column), value in zip(_VOIGT, values, strict=True):
            tensor[row, column] = tensor[column, row] = float(value)
        tensors[match[1].lower()] = tensor
        return ""

    rest = _SIX.sub(six, line)
    try:
        found: dict[str, Any] = key_val_str_to_dict(rest)
    except Exception:
        if re.search(r"lattice|properties", rest, re.IGNORECASE):
            raise
        found = {}  # a comment of plain XYZ in anybody's words
    return {**found, **tensors}


def _without_isotopes(lines: list[str]) -> list[str]:
    found = re.search(r"Properties=\"?([^\s\"]+)", lines[1])
    column = 0
    if found is not None:
        parts = found[1].split(":")
        for start in range(0, len(parts) - 2, 3):
            if parts[start] == "species":
                break
            column += int(parts[start + 2])
    changed = lines[:2]
    for line in lines[2:]:
        words = line.split()
        if len(words) > column:
            words[column] = ISOTOPES.get(words[column], words[column])
        changed.append(" ".join(words))
    return changed
