"""Crystal prototypes of the AFLOW encyclopedia, as pymatgen carries them: 288 structures by
anonymised formula.

Mehl et al., Comput. Mater. Sci. 136, S1 (2017); Hicks et al., ibid. 161, S1 (2019). Only pymatgen's
data file is read: its matching class takes a minute to import.
"""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, reduce
from math import gcd
from pathlib import Path

from ase import Atoms

from mlip_autopipec.base.errors import MissingProgramError

__all__ = ["COMMON", "Prototype", "decorations", "library", "prototypes_of"]

INSTALL = "pip install 'mlip-autopipec[structures]'"
FILE = "aflow_prototypes.json.gz"

#: Labels that most real compounds of their formula have: what is tried where no surrogate can rank
#: them.
COMMON = (
    "B1",
    "B2",
    "B3",
    "B4",
    "B8_1",
    "L1_0",
    "C1",
    "C4",
    "C5",
    "C14",
    "C15",
    "C16",
    "C32",
    "C6",
    "L1_2",
    "D0_3",
    "D0_11",
    "D0_22",
    "A15",
    "D5_1",
    "E2_1",
    "C1_b",
    "L2_1",
    "H1_1",
)
_NAMES = {
    "C5": "Anatase",
    "C4": "Rutile",
    "C1": "Fluorite",
    "B1": "Rock salt",
    "B3": "Zincblende",
    "B4": "Wurtzite",
}


@dataclass(frozen=True)
class Prototype:
    """``name``: for people, mineral and Strukturbericht where there are any; ``label``: AFLOW's."""

    name: str
    label: str
    strukturbericht: str
    atoms: Atoms

    @property
    def counts(self) -> dict[str, int]:
        """Element of the original compound -> atoms per formula unit."""
        found = Counter(self.atoms.get_chemical_symbols())
        unit = reduce(gcd, found.values())
        return {symbol: number // unit for symbol, number in found.items()}


@cache
def library() -> tuple[Prototype, ...]:
    """Every prototype. Raises MissingProgramError without pymatgen."""
    entries = json.loads(gzip.decompress(_data_file().read_bytes()))
    right = _corrected()
    found = [_prototype(entry) for entry in entries]
    return tuple(replace(item, atoms=right.get(item.strukturbericht, item.atoms)) for item in found)


def _data_file() -> Path:
    found = importlib.util.find_spec("pymatgen")
    folders = (
        []
        if found is None
        else [Path(name) / "analysis" for name in found.submodule_search_locations or []]
    )
    for folder in folders:
        for file in (folder / "prototypes" / FILE, folder / FILE):
            if file.is_file():
                return file
    raise MissingProgramError("the Python package 'pymatgen' (crystal prototypes)", INSTALL)


def _corrected() -> dict[str, Atoms]:
    """Three entries whose positions belong to another origin or axis than pymatgen's file says (by
    Strukturbericht).

    Anatase: Howard, Sabine & Dickson, Acta Cryst. B 47, 462 (1991). Brookite: Meagher & Lager, Can.
    Mineral. 17, 77 (1979). C36: Komura & Tokunaga, Acta Cryst. B 36, 1548 (1980).
    """
    from ase.spacegroup import crystal

    anatase = crystal(
        ["Ti", "O"], [(0, 0, 0), (0, 0, 0.2081)],
        spacegroup=141, cellpar=[3.785, 3.785, 9.514, 90, 90, 90], primitive_cell=True,
    )  # fmt: skip
    brookite = crystal(
        ["Ti", "O", "O"],
        [(0.1289, 0.0972, 0.8628), (0.0095, 0.1491, 0.1835), (0.2314, 0.1110, 0.5366)],
        spacegroup=61,
        cellpar=[9.174, 5.449, 5.138, 90, 90, 90],
    )
    laves = crystal(
        ["Mg", "Mg", "Ni", "Ni", "Ni"],
        [
            (0, 0, 0.094),
            (1 / 3, 2 / 3, 0.8442),
            (1 / 3, 2 / 3, 0.1251),
            (0.5, 0, 0),
            (0.1643, 0.3286, 0.25),
        ],
        spacegroup=194,
        cellpar=[4.824, 4.824, 15.826, 90, 90, 120],
    )
    return {"C5": anatase, "C21": brookite, "C36": laves}


def _prototype(entry: dict[str, dict[str, object]]) -> Prototype:
    data, tags = (
        json.loads(json.dumps(entry["snl"])),
        {key: str(text) for key, text in entry["tags"].items()},
    )
    symbols = [site["species"][0]["element"] for site in data["sites"]]
    scaled = [site["abc"] for site in data["sites"]]
    atoms = Atoms(symbols, cell=data["lattice"]["matrix"], scaled_positions=scaled, pbc=True)
    short = tags["strukturbericht"] if tags["strukturbericht"] != "None" else ""
    mineral = tags["mineral"].split(",")[0].strip()
    # "alpha", "I4/mcm" and the like say nothing without their element.
    telling = (
        mineral
        if len(mineral) > 5 and "/" not in mineral and not mineral.startswith("High")
        else ""
    )
    word = _NAMES.get(short) or telling
    name = f"{word} ({short})" if word and short else word or short or tags["aflow"]
    return Prototype(name, tags["aflow"], short, atoms)


def prototypes_of(counts: Mapping[str, int], max_atoms: int) -> list[Prototype]:
    """Prototypes of the anonymised formula with at most ``max_atoms`` atoms in their cell, smallest
    cells first.
    """
    wanted = sorted(counts.values())
    found = [
        item
        for item in library()
        if sorted(item.counts.values()) == wanted and len(item.atoms) <= max_atoms
    ]
    return sorted(found, key=lambda item: len(item.atoms))


def decorations(prototype: Prototype, counts: Mapping[str, int]) -> Iterator[tuple[str, Atoms]]:
    """(name of the assignment, structure) for every way to give the prototype's sites to the
    elements of ``counts``.

    Elements change places where their numbers are equal. The cell is the original compound's: scale
    it.
    """
    own = prototype.counts
    for elements in itertools.permutations(sorted(counts)):
        assigned = dict(zip(own, elements, strict=True))
        if any(own[site] != counts[element] for site, element in assigned.items()):
            continue
        atoms = prototype.atoms.copy()
        atoms.symbols[:] = [assigned[symbol] for symbol in prototype.atoms.symbols]
        yield "-".join(elements), atoms
