"""Charges that formats of molecules write and ASE drops."""

from __future__ import annotations

import re

__all__ = ["TEXT_FORMATS", "charge"]

#: ASE's names of the formats that :func:`charge` understands.
TEXT_FORMATS = ("mol", "sdf", "proteindatabank", "gaussian-in")
# The column of the atom block of old molfiles -> charge.
_OLD_CODES = {1: 3, 2: 2, 3: 1, 5: -1, 6: -2, 7: -3}


def charge(kind: str, text: str) -> int:
    """The total charge (e) of the first molecule of a file, 0 where it says none."""
    if kind == "gaussian-in":
        found = re.search(r"^\s*(-?\d+)[ ,]+[1-9]\d*\s*$", text, re.MULTILINE)
        return int(found[1]) if found else 0
    if kind == "proteindatabank":
        found_all = re.findall(r"^(?:ATOM  |HETATM).{72}(\d)([+-])", text, re.MULTILINE)
        return sum(int(digit) * (1 if sign == "+" else -1) for digit, sign in found_all)
    first = re.split(r"^M  END|^\$\$\$\$", text, maxsplit=1, flags=re.MULTILINE)[0]
    said = re.findall(r"^M  CHG\s+\d+((?:\s+\d+\s+-?\d+)+)", first, re.MULTILINE)
    if said:
        return sum(int(value) for row in said for value in row.split()[1::2])
    extended = re.findall(r"^M  V30 .*\bCHG=(-?\d+)", first, re.MULTILINE)
    if extended:
        return sum(map(int, extended))
    lines = first.splitlines()
    try:
        rows = lines[4 : 4 + int(lines[3][:3])]
        return sum(_OLD_CODES.get(int(row[36:39] or 0), 0) for row in rows)
    except (IndexError, ValueError):
        return 0
