"""CIF by ASE's parser, with the symmetry operations of spglib's table where the file names only a
space group, and with what ASE lets pass refused: partly occupied sites, alternatives, a formula
that its sites do not make.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from ase import Atoms
from ase.formula import Formula
from ase.io.cif import CIFBlock, parse_cif

from mlip_autopipec.science.contacts import LABEL_LIMIT, closest_contact
from mlip_autopipec.science.reading.checks import FULL_OCCUPANCY, shared_site

__all__ = ["read"]

_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_NUMBERS = ("_space_group_it_number", "_space_group.it_number", "_symmetry_int_tables_number")
_NAMES = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group.name_h-m_alt",
    "_space_group_name_h-m_full",
)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall", "_space_group.name_hall")
_CHOICE = ("_space_group_it_coordinate_system_code", "_space_group.it_coordinate_system_code")
_GROUPS = ("_atom_site_disorder_group",)
# Letters that ICSD writes after a symbol, as choices of origin and axes.
_SUFFIXES = {"S": "1", "Z": "2", "H": "H", "R": "R", "HR": "H", "RS": "R"}
#: Settings of space groups in spglib's table.
SETTINGS = 530
# A site of the list is there again after symmetry, within this (Å), as its own element.
SITE_A = 0.05


def read(text: str) -> list[Atoms]:
    """Every structure of a file. Raises ValueError in one line for what is no ordered crystal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ASE: of duplicates, which are checked here
        try:
            blocks = [block for block in parse_cif(io.StringIO(text)) if block.has_structure()]
        except Exception as error:  # ASE's parser asserts, indexes and converts
            raise ValueError(f"cannot be read as CIF: {error or 'no data_ block'}") from None
        return [_structure(block) for block in blocks]


def _structure(block: CIFBlock) -> Atoms:
    _refuse_shared(block)
    candidates = [_built(block, setting) for setting in _settings(block)]
    if len(candidates) > 1:
        candidates = [atoms for atoms in candidates if _formula_complaint(block, atoms) is None]
        if len(candidates) > 1:
            apart = [atoms for atoms in candidates if closest_contact(atoms) > 0.6]
            candidates = apart if len(apart) == 1 else candidates
        if len(candidates) != 1:
            raise ValueError(
                "its space group has two origin choices and the file does not say which; write the"
                " symmetry operations, or ':1' or ':2' after the symbol"
            )
    (atoms,) = candidates
    wrong = _formula_complaint(block, atoms)
    if wrong is not None:
        raise ValueError(wrong)
    _refuse_split(block, atoms)
    return atoms


def _built(block: CIFBlock, setting: int | None) -> Atoms:
    """``setting``: of spglib's table; None: by what the file itself says."""
    tags: dict[str, Any] = dict(block)
    if setting is not None:
        for key in (*_NUMBERS, *_NAMES, *_CHOICE, "_symmetry_cell_setting"):
            tags.pop(key, None)
        tags.pop("_space_group_crystal_system", None)
        tags["_symmetry_equiv_pos_as_xyz"] = _written(setting)
        tags["_space_group_it_number"] = _table()[setting].number
    atoms = CIFBlock(block.name, tags).get_atoms(fractional_occupancies=False)
    return Atoms(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell,
        pbc=bool(atoms.cell.rank == 3),
    )


def _settings(block: CIFBlock) -> Sequence[int | None]:
    """Each setting of spglib's table that the file may mean; None: it has its own operations, or
    no symmetry.
    """
    if _first(block, _OPERATIONS) is not None or block.get_cell().rank < 3:
        return [None]
    number, name = _first(block, _NUMBERS), _first(block, _NAMES)
    hall = _plain(_first(block, _HALL))
    if number is None and name is None and not hall:
        return [None]
    kinds = _table()
    found = [index for index, kind in kinds.items() if hall and _plain(kind.hall_symbol) == hall]
    if not found:
        found = _named(name, number, _first(block, _CHOICE), block.get_cell().angles())
    return found or [None]  # ASE knows more spellings, or says what is wrong


def _named(name: Any, number: Any, choice: Any, angles: Any) -> list[int]:
    """Indices in spglib's table that a symbol or number (and a choice beside it) may mean."""
    text, wanted = str(name or "").strip(" '\""), str(choice or "").strip(" '\"")
    if ":" in text:
        text, wanted = (part.strip() for part in text.split(":", 1))
    else:
        words = text.split()
        if len(words) > 1 and words[-1] in _SUFFIXES:
            text, wanted = " ".join(words[:-1]), _SUFFIXES[words[-1]]
    kinds, key = _table(), _plain(text)
    exact = [index for index, kind in kinds.items() if key and key in _specific(kind)]
    general = [index for index, kind in kinds.items() if key and key in _general(kind)]
    digits = str(number or "").strip(" '\"")
    numbered = [i for i, kind in kinds.items() if digits.isdigit() and kind.number == int(digits)]
    found = exact or general or numbered
    if numbered and set(found) & set(numbered):
        found = [index for index in found if index in numbered]
    if wanted:
        chosen = [index for index in found if kinds[index].choice.upper() == wanted.upper()]
        found = chosen or found
    choices = {kinds[index].choice for index in found}
    if choices == {"H", "R"}:
        hexagonal = abs(angles[2] - 120) < 0.5 and abs(angles[0] - 90) < 0.5
        return [index for index in found if kinds[index].choice == ("H" if hexagonal else "R")]
    if choices == {"1", "2"}:
        return found
    return found[:1]  # of axes, the standard setting stands first


@functools.cache
def _table() -> dict[int, Any]:
    import spglib

    found = {index: spglib.get_spacegroup_type(index) for index in range(1, SETTINGS + 1)}
    return {index: kind for index, kind in found.items() if kind is not None}


def _plain(text: Any) -> str:
    return re.sub(r"[\s_'\"]", "", str(text or "")).lower()


def _specific(kind: Any) -> set[str]:
    last = kind.international.split("=")[-1]
    words = last.split()
    without = [word for word in words[1:] if word != "1"]
    short = "".join([words[0], *without])
    return {_plain(last), _plain(kind.international_full), _plain(short)}


def _general(kind: Any) -> set[str]:
    return {_plain(kind.international.split("=")[0]), _plain(kind.international_short)}


def _written(index: int) -> list[str]:
    """The operations of a setting as ``x,y,z+1/2``."""
    import spglib

    found: Any = spglib.get_symmetry_from_database(index)
    words = []
    for rotation, translation in zip(found["rotations"], found["translations"], strict=True):
        parts = []
        for row, shift in zip(rotation, translation, strict=True):
            signs = {1: "+", -1: "-"}
            text = "".join(
                signs[int(value)] + letter
                for value, letter in zip(row, "xyz", strict=True)
                if int(value)
            )
            moved = Fraction(float(shift)).limit_denominator(24)
            parts.append(text.lstrip("+") + (f"+{moved}" if moved else ""))
        words.append(",".join(parts))
    return words


def _first(block: CIFBlock, keys: tuple[str, ...]) -> Any:
    return next((block.get(key) for key in keys if block.get(key) not in (None, "?", ".")), None)


def _refuse_shared(block: CIFBlock) -> None:
    """Raises ValueError for sites that are partly occupied or alternatives of each other."""
    symbols = block.get_symbols()
    given = block.get("_atom_site_occupancy")
    given = given if isinstance(given, list) else [given] * len(symbols)
    labels = block.get("_atom_site_label") or symbols
    partial = []
    for label, symbol, value in zip(labels, symbols, given, strict=False):
        try:
            part = float(re.sub(r"\(.*", "", str(value)))
        except ValueError:
            continue  # '.', '?' or not said: full
        if part < FULL_OCCUPANCY:
            partial.append(f"{label}: {symbol} {part:g}")
    if partial:
        more = " ..." if len(partial) > 4 else ""
        raise ValueError(shared_site(", ".join(partial[:4]) + more))
    for key in _GROUPS:
        value = block.get(key)
        groups = (
            {str(group) for group in value if str(group) not in (".", "?", "0")}
            if isinstance(value, list)
            else set()
        )
        if len(groups) > 1:
            raise ValueError(
                f"has alternative positions (disorder groups {', '.join(sorted(groups))});"
                " keep one of them in the file"
            )


def _refuse_split(block: CIFBlock, atoms: Atoms) -> None:
    """Raises ValueError for two elements at one site, and for atoms nearer than any bond."""
    sites = block.get_unsymmetrized_structure()
    if atoms.cell.rank == 3:
        for symbol, position in zip(sites.get_chemical_symbols(), sites.positions, strict=True):
            parts = (atoms.positions - position) @ np.linalg.inv(atoms.cell.array)
            apart = np.linalg.norm((parts - np.round(parts)) @ atoms.cell.array, axis=1)
            here = {str(atoms.symbols[index]) for index in np.flatnonzero(apart < SITE_A)}
            if here and here != {symbol}:
                raise ValueError(shared_site(f"{symbol} and {', '.join(sorted(here))} at one site"))
    contact = closest_contact(atoms)
    if contact < LABEL_LIMIT:
        raise ValueError(
            f"has atoms at {contact:.2f} of a bond: split sites, or symmetry that does not fit;"
            " keep one position of each"
        )


def _formula_complaint(block: CIFBlock, atoms: Atoms) -> str | None:
    """Where the formula of the file (with Z, else its ratios) is not that of the built cell."""
    said = str(block.get("_chemical_formula_sum") or "").strip(" '\"")
    try:
        wanted = Formula(re.sub(r"\s+", "", said)).count() if said not in ("", "?") else {}
    except ValueError:
        return None  # fractions, charges, brackets: nothing to hold it against
    wanted = _hydrogen(wanted)
    if not wanted or atoms.cell.rank < 3:
        return None
    there = dict(Counter(atoms.get_chemical_symbols()))
    units = block.get("_cell_formula_units_z")
    if isinstance(units, int) and units > 0:
        right: dict[str, float] = {symbol: number * units for symbol, number in wanted.items()}
    else:
        total = sum(there.values()) / sum(wanted.values())
        right = {symbol: number * total for symbol, number in wanted.items()}
    if set(right) == set(there) and all(abs(right[s] - there[s]) < 0.01 for s in right):
        return None
    made = Formula.from_dict(there).format("hill")
    return (
        f"its sites make {made}, but the file says {said}"
        + (f" with Z = {units}" if isinstance(units, int) else "")
        + "; atoms lack, or the symmetry is not the one of the sites"
    )


def _hydrogen(counts: dict[str, int]) -> dict[str, int]:
    found = dict(counts)
    deuterium = found.pop("D", 0)
    return {**found, "H": found.get("H", 0) + deuterium} if deuterium else found
