"""Formats that may number their elements: LAMMPS dumps and data files, POSCAR of VASP 4."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from ase.io.lammpsdata import read_lammps_data
from ase.io.lammpsrun import read_lammps_dump_text
from ase.io.vasp import read_vasp

from mlip_autopipec.science.reading.checks import NAME_TYPES, Given, elements_of_types
from mlip_autopipec.science.reading.extxyz import ISOTOPES

__all__ = ["is_lammps_data", "is_poscar", "lammps_data", "lammps_dump", "poscar"]

# A mass names an element when it is that near (amu), and no other is: 28 is silicon, 1 is nothing.
MASS_NEAR_AMU, LIGHT_MASS_NEAR_AMU, LIGHT_AMU = 0.15, 0.005, 4.5
_SYMBOL = re.compile(r"[A-Z][a-z]?")


def lammps_dump(text: str, given: Given) -> list[Atoms]:
    """Raises ValueError where types are numbers that nobody named."""
    columns = re.search(r"^ITEM: ATOMS(.*)$", text, re.MULTILINE)
    words = columns[1].split() if columns else []
    if "element" not in words and "mass" not in words and "type" in words:
        place = words.index("type")
        rows = re.split(r"^ITEM: ATOMS.*$", text, maxsplit=1, flags=re.MULTILINE)[1]
        first = rows.split("ITEM:", 1)[0].splitlines()
        elements_of_types([int(row.split()[place]) for row in first if row.strip()], given)
    elif "element" in words:
        _known({row.split()[words.index("element")] for row in _first_rows(text)})
    order = list(given.types) or None
    found = read_lammps_dump_text(io.StringIO(text), index=slice(None), specorder=order)
    frames: list[Atoms] = found if isinstance(found, list) else [found]
    return frames


def _first_rows(text: str) -> list[str]:
    rows = re.split(r"^ITEM: ATOMS.*$", text, maxsplit=1, flags=re.MULTILINE)[1]
    return [row for row in rows.split("ITEM:", 1)[0].splitlines() if row.strip()]


def _known(symbols: set[str]) -> None:
    strange = sorted(symbol for symbol in symbols if symbol not in chemical_symbols[1:])
    if strange:
        raise ValueError(f"{', '.join(strange[:5])}: no element; write its symbol")


def is_lammps_data(text: str) -> bool:
    """By its head: a number of ``atoms`` and the edges of the box."""
    head = text[:4000]
    return bool(re.search(r"^\s*\d+\s+atoms\s*$", head, re.M)) and bool(
        re.search(r"\bxlo\s+xhi\b|\bavec\b", head)
    )


def lammps_data(text: str, given: Given) -> list[Atoms]:
    """Elements by ``--types``, by labels or comments of the file, or by masses that name one."""
    body = _section(text, "Atoms")
    if not body:
        raise ValueError("a LAMMPS data file without atoms")
    style = _style(text, body)
    column = {"atomic": 1, "charge": 1, "full": 2, "molecular": 2, "bond": 2, "angle": 2}[style]
    names = list(given.types) or _named_types(text)
    words = {row.split()[column] for row in body}
    if not names and not all(word.isdigit() for word in words):
        _known(words)  # type labels that are elements: ASE reads them
        numbers = None
    else:
        elements_of_types([int(word) for word in words], Given(tuple(names)))
        numbers = {index: atomic_numbers[name] for index, name in enumerate(names, 1)}
    return [read_lammps_data(io.StringIO(text), Z_of_type=numbers, atom_style=style)]


def _section(text: str, name: str) -> list[str]:
    found = re.search(rf"^\s*{name}\b[^\n]*\n\s*\n(.*?)(?=\n\s*\n|\Z)", text, re.M | re.S)
    return [] if found is None else [row for row in found[1].splitlines() if row.strip()]


def _style(text: str, body: list[str]) -> str:
    """The atom style: as commented, else by the number of columns (0 or 3 are image flags)."""
    commented = re.search(r"^\s*Atoms\s*#\s*(\w+)", text, re.M)
    if commented and commented[1] in ("atomic", "charge", "full", "molecular", "bond", "angle"):
        return commented[1]
    words = body[0].split("#")[0].split()
    number = len(words)
    if number in (5, 8):
        return "atomic"
    if number in (7, 10):
        return "full"
    if number in (6, 9):
        return "charge" if "." in words[2] else "molecular"
    raise ValueError("a LAMMPS data file of unknown style; write it after 'Atoms #'")


def _named_types(text: str) -> list[str]:
    """Elements of the types by comments (``1 63.5 # Cu``) or masses; empty without either."""
    rows = [row.partition("#") for row in _section(text, "Masses")]
    names = []
    for values, _, comment in rows:
        words = comment.split()
        if words and words[0] in chemical_symbols[1:]:
            names.append(words[0])
            continue
        mass = float(values.split()[1])
        near = LIGHT_MASS_NEAR_AMU if mass < LIGHT_AMU else MASS_NEAR_AMU
        fits = [
            symbol
            for symbol, known in zip(chemical_symbols[1:], atomic_masses[1:], strict=True)
            if abs(known - mass) < near
        ]
        if len(fits) != 1:
            raise ValueError(f"a mass of {mass:g} names no element; {NAME_TYPES}")
        names.append(fits[0])
    return names


def is_poscar(file: Path, text: str) -> bool:
    """By name as VASP and its tools write it, or by lines 2 to 7 of the text."""
    name = file.name.upper()
    if name.startswith(("POSCAR", "CONTCAR")) or name.endswith((".VASP", ".POSCAR", ".CONTCAR")):
        return True
    lines = text.splitlines()
    if len(lines) < 8 or file.suffix:
        return False
    try:
        rows = [[float(word) for word in line.split()[:3]] for line in lines[1:5]]
    except ValueError:
        return False
    return len(rows[0]) in (1, 3) and all(len(row) == 3 for row in rows[1:])


def poscar(file: Path, text: str, given: Given) -> list[Atoms]:
    """POSCAR of VASP 5, or of VASP 4 whose first line (or the user) names each of its types.

    Raises ValueError.
    """
    lines = text.splitlines()
    if len(lines) < 8:
        raise ValueError("a POSCAR has at least eight lines")
    counts = lines[5].split("!")[0].split()
    if counts and counts[0].isdigit():
        lines.insert(5, " ".join(_old_names(lines[0], counts, given)))
    else:
        symbols = [re.split(r"[_/]", word)[0] for word in lines[5].split("!")[0].split()]
        symbols = [ISOTOPES.get(symbol, symbol) for symbol in symbols]
        _known(set(symbols))
        lines[5] = " ".join(symbols)
    atoms = read_vasp(io.StringIO("\n".join(lines) + "\n"))
    atoms.set_constraint()
    return [atoms]


def _old_names(comment: str, counts: list[str], given: Given) -> list[str]:
    if given.types:
        elements_of_types(range(1, len(counts) + 1), given)
        return list(given.types[: len(counts)])
    words = comment.split()
    pairs = [re.fullmatch(r"([A-Z][a-z]?)(\d*)", word) for word in words]
    names = [pair[1] for pair in pairs if pair is not None]
    if len(names) == len(words) == len(counts) and set(names) <= set(chemical_symbols[1:]):
        said = [pair[2] for pair in pairs if pair is not None]
        if all(word in ("", count) for word, count in zip(said, counts, strict=True)):
            return names
    raise ValueError(
        "does not name its elements (VASP 4); write their symbols as line 6, above the numbers of"
        f" atoms, or {NAME_TYPES}"
    )


def types_of(numbers: np.ndarray, given: Given) -> list[str]:
    """Elements of types that a format numbers from 0."""
    return elements_of_types([int(number) + 1 for number in numbers], given)
