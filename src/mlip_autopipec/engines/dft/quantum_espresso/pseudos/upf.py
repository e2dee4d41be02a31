"""What the header of a UPF file says (versions 1 and 2): element, functional, kind, valence,
suggested cutoffs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.base.errors import InputError

__all__ = ["Header", "read_header", "z_valence"]

#: Ways to write PBE: its name, or the names of its parts (before the short name in version 1).
_PBE = ("PBE", "SLA PW PBX PBC", "SLA PW PBE PBE")


@dataclass(frozen=True, slots=True)
class Header:
    """``functional``: ``PBE`` or the words of the file. ``cutoff_ry``, ``rho_ry``: suggested, None
    when not given.
    """

    element: str
    functional: str
    norm_conserving: bool
    cutoff_ry: float | None
    rho_ry: float | None


def z_valence(path: Path) -> float:
    """Number of valence electrons from the header of a UPF file (versions 1 and 2).

    Raises InputError without one.
    """
    text = path.read_text(errors="replace")
    found = re.search(r'z_valence\s*=\s*"\s*([0-9.EeDd+-]+)', text) or re.search(
        r"^\s*([0-9.EeDd+-]+)\s+Z valence", text, re.MULTILINE
    )
    if found is None:
        raise InputError("no z_valence in the header of the pseudopotential", file=path)
    return _number(found.group(1))


def read_header(path: Path) -> Header:
    """Raises InputError when the file names no element or no functional."""
    found = re.search(
        r"<PP_HEADER(.*?)(/>|</PP_HEADER>)", path.read_text(errors="replace"), re.DOTALL
    )
    if found is None:
        raise InputError("no header of a UPF pseudopotential", file=path)
    text = found.group(1)
    entries = {
        key.lower(): value.strip() for key, value in re.findall(r'(\w+)\s*=\s*"([^"]*)"', text)
    }
    if not entries:
        entries = _version_1(text)
    if not entries.get("element") or not entries.get("functional"):
        raise InputError("the header names no element or no functional", file=path)
    functional = " ".join(entries["functional"].replace("+", " ").upper().split())
    return Header(
        element=entries["element"].capitalize(),
        functional="PBE" if functional in _PBE else functional,
        norm_conserving=entries.get("pseudo_type", "").upper() in ("NC", "SL"),
        cutoff_ry=_positive(entries.get("wfc_cutoff")),
        rho_ry=_positive(entries.get("rho_cutoff")),
    )


def _version_1(text: str) -> dict[str, str]:
    """Lines of values followed by words, in the order of the format's description."""
    patterns = {
        "element": r"^\s*([A-Z][a-z]?)\s+Element",
        "pseudo_type": r"^\s*(\w+)\s+(?:Norm|Ultrasoft|\w* ?pseudopotential)",
        "functional": r"^\s*(.*?)\s+\S*\s*Exchange-Correlation",
        "wfc_cutoff": r"^\s*([0-9.EeDd+-]+)\s+[0-9.EeDd+-]+\s+Suggested cutoff",
        "rho_cutoff": r"^\s*[0-9.EeDd+-]+\s+([0-9.EeDd+-]+)\s+Suggested cutoff",
    }
    hits = {key: re.search(pattern, text, re.MULTILINE) for key, pattern in patterns.items()}
    return {key: hit.group(1) for key, hit in hits.items() if hit is not None}


def _number(word: str) -> float:
    return float(word.replace("D", "E").replace("d", "e"))


def _positive(word: str | None) -> float | None:
    try:
        value = _number(word or "0")
    except ValueError:
        return None
    return value if value > 0 else None
