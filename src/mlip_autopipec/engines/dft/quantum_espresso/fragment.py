"""``dft.extra``: a fragment of pw.x's own input, for what has no key of its own.

It is part of the method, so labels with and without it are never mixed. It adds; it takes the place
of nothing that this program writes: what has a key of its own is asked for by that key, and
structure, files and the settings that repairs turn belong to each calculation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Fragment", "normalized", "read_fragment"]

_NAMELISTS = ("control", "system", "electrons")
_CARDS = ("HUBBARD", "OCCUPATIONS")
"""Cards that may be added; the others are the structure, its k-points, or of other calculations."""

_OF_EACH_CALCULATION = (
    "each calculation sets it: structure, files and numerical settings that repairs turn"
)
#: Entries of pw.x that have a key of their own, or none for a reason.
_OURS: Mapping[str, str] = {
    "ecutwfc": "write dft.cutoff_ry",
    "ecutrho": "write dft.rho_cutoff_ry",
    "occupations": "write dft.occupations",
    "smearing": "write dft.smearing",
    "degauss": "write dft.degauss_ry",
    "nspin": "write dft.spin_polarized",
    "starting_magnetization": "write dft.starting_moments, or moments into the structure file",
    "tot_magnetization": "write dft.starting_moments, or moments into the structure file",
    "tot_charge": "write dft.charge",
    "vdw_corr": "write dft.dispersion",
    "dftd3_version": "write dft.dispersion",
    "dftd3_threebody": "write dft.dispersion",
    "lda_plus_u": "write dft.hubbard",
    "hubbard_u": "write dft.hubbard",
    "u_projection_type": "write dft.hubbard_projectors",
    "assume_isolated": "write dft.isolated",
    "input_dft": "write dft.functional",
    "conv_thr": "write dft.conv_thr_ry_per_atom",
    "noncolin": "labels are collinear and without spin-orbit",
    "lspinorb": "labels are collinear and without spin-orbit",
    **dict.fromkeys(
        (
            "calculation", "restart_mode", "prefix", "outdir", "wfcdir", "pseudo_dir", "tprnfor",
            "tstress", "disk_io", "max_seconds", "nstep", "lkpoint_dir", "ibrav", "celldm", "a",
            "b", "c", "cosab", "cosac", "cosbc", "nat", "ntyp", "space_group", "nosym", "noinv",
            "electron_maxstep", "mixing_beta", "mixing_ndim", "mixing_mode", "diagonalization",
            "startingpot", "startingwfc",
        ),
        _OF_EACH_CALCULATION,
    ),
}  # fmt: skip

_ENTRY = re.compile(r"([A-Za-z_]\w*)\s*(\(\s*\d+(?:\s*,\s*\d+)*\s*\))?\s*=\s*")
_VALUE = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|\.\w+\.|[-+]?[\d.]+(?:[eEdD][-+]?\d+)?|[TtFf]\b")


@dataclass(frozen=True, slots=True)
class Fragment:
    """``entries``: namelist -> entry -> value as pw.x reads it; ``cards``: text of whole cards."""

    entries: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cards: str = ""

    def keys(self) -> set[str]:
        """Entries without their indices, in lower case."""
        return {key.partition("(")[0] for found in self.entries.values() for key in found}


def normalized(text: str) -> str:
    """The same fragment in one form, so that blanks and comments make no other method.

    Raises ValueError as :func:`read_fragment` does.
    """
    fragment = read_fragment(text)
    lines = []
    for name, found in fragment.entries.items():
        lines += [f"&{name}", *(f"  {key} = {value}" for key, value in found.items()), "/"]
    return "\n".join([*lines, *fragment.cards.splitlines()])


def read_fragment(text: str) -> Fragment:
    """Namelists ``&control``, ``&system`` and ``&electrons``, then cards.

    Raises ValueError, one line, for what is neither, and for entries that this program writes.
    """
    entries: dict[str, dict[str, str]] = {}
    cards: list[str] = []
    inside: str | None = None
    for raw in text.splitlines():
        line = _without_comment(raw).strip()
        if inside is None and line.startswith("&"):
            name, _, line = line[1:].partition(" ")
            inside = name.lower()
            if inside not in _NAMELISTS:
                raise ValueError(f"&{name} is not among {', '.join('&' + n for n in _NAMELISTS)}")
            entries.setdefault(inside, {})
        if inside is None:
            if line:
                cards.append(_card_line(line, first=not cards))
            continue
        ends = line == "/" or (line.endswith("/") and "'" not in line.rpartition("=")[2])
        entries[inside] |= _entries(line.removesuffix("/").strip() if ends else line)
        if ends:
            inside = None
    if inside is not None:
        raise ValueError(f"&{inside} does not end with a line '/'")
    if not any(entries.values()) and not cards:
        raise ValueError("holds neither a namelist such as '&system', nor a card")
    return Fragment({name: found for name, found in entries.items() if found}, "\n".join(cards))


def _without_comment(line: str) -> str:
    """Up to a ``!`` that stands outside of quotes."""
    quoted = ""
    for index, letter in enumerate(line):
        if quoted:
            quoted = "" if letter == quoted else quoted
        elif letter in "'\"":
            quoted = letter
        elif letter == "!":
            return line[:index]
    return line


def _card_line(line: str, *, first: bool) -> str:
    word = line.split(maxsplit=1)[0].upper()
    if word.isalpha() and len(word) > 5 and word not in _CARDS:
        raise ValueError(f"the card {word} is not among {', '.join(_CARDS)}")
    if first and word not in _CARDS:
        raise ValueError(f"'{line[:40]}' stands neither in a namelist nor below a card")
    return line


def _entries(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = line
    while rest:
        entry = _ENTRY.match(rest)
        value = _VALUE.match(rest, entry.end()) if entry else None
        if entry is None or value is None:
            raise ValueError(f"'{rest[:40]}' is not 'entry = value'")
        key = entry[1].lower()
        if key in _OURS:
            raise ValueError(f"{key} cannot stand there: {_OURS[key]}")
        found[key + (entry[2] or "").replace(" ", "")] = value[0]
        rest = rest[value.end() :].lstrip(" ,")
    return found
