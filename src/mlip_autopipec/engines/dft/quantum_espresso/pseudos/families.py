"""The tables of facts: which file a family has for an element, what cutoffs it needs and where it
comes from.

``tables/*.json`` hold one family each: a checksum per file, the cutoff hints (Ry) and what the
hints were made for. A family of the user's own (``own/NAME``) has the same table beside its files,
written when it is installed. Files are identified by their checksum alone, so a campaign can never
mix two versions of a family.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import InputError, nearest
from mlip_autopipec.base.files import data_folder, read_json

__all__ = [
    "DEFAULT_FAMILY",
    "OWN",
    "Facts",
    "Family",
    "checksums",
    "cutoffs",
    "density_cutoffs_ry",
    "facts_of",
    "families",
    "families_with",
    "family_facts",
    "own_table",
]

DEFAULT_FAMILY = "PseudoDojo/0.5/PBE/SR/standard"
OWN = "own/"
"""Families of the user's own begin with this."""

_MD5 = "md5:"


@dataclass(frozen=True, slots=True)
class Facts:
    """One file: its sha256 (``md5:...`` where only that is published), the low, normal and high
    cutoff hints in Ry.

    ``hints``: what the hints were made for. ``rho_ry``: density cutoff (Ry) of an ultrasoft or PAW
    file; None for a norm-conserving one, for which four times the wave-function cutoff is exact.
    """

    sha256: str
    cutoffs_ry: tuple[float, float, float]
    hints: str
    rho_ry: float | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """A family of pseudopotentials.

    ``dual``: usual density cutoff over wave-function cutoff. ``package``: what carries the files, a
    requirement of the Python package index or ``debian:SUITE/PACKAGE``; ``folder``: where they lie
    in it; ``also``: further pairs of the two. ``home``: where the family is published.
    """

    name: str
    functional: str
    dual: float
    licence: str
    cite: str
    package: str
    folder: str
    elements: dict[str, Facts]
    home: str = ""
    also: tuple[tuple[str, str], ...] = ()

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Pairs of package and folder, in the order in which they are asked."""
        return ((self.package, self.folder), *self.also) if self.package else ()


def _family(raw: dict[str, Any]) -> Family:
    elements = {
        symbol: Facts(
            facts["sha256"], tuple(facts["cutoffs_ry"]), facts["hints"], facts.get("rho_ry")
        )
        for symbol, facts in raw["elements"].items()
    }
    also = tuple((package, folder) for package, folder in raw.get("also", ()))
    return Family(**{**raw, "elements": elements, "also": also})


@functools.cache
def _table() -> dict[str, Family]:
    """The built-in families by name."""
    read = (
        _family(read_json(path))
        for path in sorted((Path(__file__).parent / "tables").glob("*.json"))
    )
    return {family.name: family for family in read}


def own_table(name: str) -> Path:
    """Where the table of the family ``own/NAME`` lies."""
    return data_folder() / "pseudos" / name / "family.json"


def families() -> dict[str, Family]:
    """Every known family: the built-in ones, then those of the user's own that are installed
    here.
    """
    own = sorted((data_folder() / "pseudos" / OWN.rstrip("/")).glob("*/family.json"))
    return {**_table(), **{f"{OWN}{path.parent.name}": _family(read_json(path)) for path in own}}


def family_facts(family: str = DEFAULT_FAMILY) -> Family:
    """The table's entry. Raises InputError for an unknown name."""
    known = families() if family.startswith(OWN) else _table()
    if family in known:
        return known[family]
    hint = nearest(family, families())
    if family.startswith(OWN):
        hint = (
            f"make it from a folder of UPF files: mlip-auto pseudos install {family} --from FOLDER"
        )
    raise InputError("unknown pseudopotential family", value=family, hint=hint)


def families_with(elements: Iterable[str], functional: str) -> list[str]:
    """Families that were made for a functional and have all these elements."""
    wanted = set(elements)
    return [
        name
        for name, family in families().items()
        if family.functional.upper() == functional.upper() and wanted <= set(family.elements)
    ]


def facts_of(family: str, element: str) -> Facts:
    """What the table says of one element.

    Raises InputError when the family or the element is not in it.
    """
    entry = family_facts(family)
    if element not in entry.elements:
        others = families_with([element], entry.functional)
        hint = (
            f"{', '.join(others)} {'has' if len(others) == 1 else 'have'} one: mlip-auto pseudos"
            f" install {others[0]}"
            if others
            else f"make a family from UPF files: mlip-auto pseudos install {OWN}NAME --from FOLDER"
        )
        raise InputError(f"{family} has no pseudopotential for {element}", hint=hint)
    return entry.elements[element]


def cutoffs(family: str, element: str) -> tuple[float, float, float]:
    """Wave-function cutoff hints (low, normal, high) in Ry; for the density see
    :func:`density_cutoffs_ry`.

    Raises InputError when the family or the element is not in the table.
    """
    return facts_of(family, element).cutoffs_ry


def density_cutoffs_ry(family: str, elements: Iterable[str]) -> dict[str, float]:
    """Density cutoff (Ry) that each ultrasoft or PAW element asks for; norm-conserving ones are
    left out.

    A campaign takes the largest of these and four times its wave-function cutoff.
    """
    found = {element: facts_of(family, element).rho_ry for element in elements}
    return {element: value for element, value in found.items() if value is not None}


def checksums(content: bytes) -> tuple[str, str]:
    """The two names that a table may give to ``content``: its sha256, and ``md5:`` with its md5."""
    return hashlib.sha256(content).hexdigest(), _MD5 + hashlib.md5(
        content, usedforsecurity=False
    ).hexdigest()
