"""A family made from a folder of the user's own UPF files, copied and written down with checksums
like any other.

Cutoffs come from ``cutoffs.json`` in that folder (keys ``cutoff_wfc`` and ``cutoff_rho`` per
element, Ry, as in the published SSSP tables), else from the suggestions in the files' headers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.engines.dft.quantum_espresso.pseudos.families import OWN, Facts, Family
from mlip_autopipec.engines.dft.quantum_espresso.pseudos.upf import Header, read_header

__all__ = ["CUTOFFS", "OwnFamily", "make_family", "write_table"]

CUTOFFS = "cutoffs.json"


@dataclass(frozen=True, slots=True)
class OwnFamily:
    """The family and, for each element, the file it was made from."""

    family: Family
    files: dict[str, Path]


def make_family(name: str, folder: Path) -> OwnFamily:
    """Read every UPF file of ``folder`` (not of folders below it).

    Raises InputError for a name without a word after ``own/``, a folder without UPF files, two
    files of one element, several functionals, or an element without cutoffs.
    """
    word = name.removeprefix(OWN)
    if not word or not word.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise InputError(
            "not a name for a family", value=name, hint=f"letters, digits, . - _: {OWN}lab"
        )
    if not folder.is_dir():
        raise InputError("no such folder", key="--from", value=str(folder))
    files: dict[str, Path] = {}
    headers: dict[str, Header] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() == ".upf"):
        header = read_header(path)
        if header.element in files:
            raise InputError(
                f"two files of {header.element}",
                file=folder,
                hint=f"{files[header.element].name} is one",
            )
        files[header.element], headers[header.element] = path, header
    if not files:
        raise InputError("no UPF files in this folder", key="--from", value=str(folder))
    functionals = {header.functional for header in headers.values()}
    if len(functionals) > 1:
        raise InputError("files of several functionals", file=folder, value=sorted(functionals))
    table = _cutoff_table(folder)
    elements = {
        symbol: _facts(symbol, files[symbol], headers[symbol], table.get(symbol, {}))
        for symbol in files
    }
    conserving = all(header.norm_conserving for header in headers.values())
    family = Family(
        name=name,
        functional=functionals.pop(),
        dual=4.0 if conserving else 8.0,
        licence="the user's own files",
        cite="",
        package="",
        folder="",
        elements=elements,
    )
    return OwnFamily(family, files)


def _cutoff_table(folder: Path) -> Mapping[str, Any]:
    path = folder / CUTOFFS
    if not path.is_file():
        return {}
    try:
        table = read_json(path)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error}", file=path) from None
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise InputError(
            "not a table of elements",
            file=path,
            hint='{"Si": {"cutoff_wfc": 30, "cutoff_rho": 240}}',
        )
    return table


def _facts(symbol: str, path: Path, header: Header, given: Mapping[str, Any]) -> Facts:
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    source = CUTOFFS if "cutoff_wfc" in given else "the header of the file"
    cutoff = given.get("cutoff_wfc", header.cutoff_ry)
    rho = given.get("cutoff_rho", header.rho_ry)
    wanted = (
        {"cutoff_wfc": cutoff}
        if header.norm_conserving
        else {"cutoff_wfc": cutoff, "cutoff_rho": rho}
    )
    for key, value in wanted.items():
        if not isinstance(value, int | float) or not value > 0:
            example = json.dumps({symbol: {"cutoff_wfc": 40, "cutoff_rho": 320}})
            raise InputError(
                f"no cutoff for {symbol} in its header",
                file=path.parent / CUTOFFS,
                key=f"{symbol}.{key}",
                value=value,
                hint=f"write {CUTOFFS} into the folder, in Ry: {example}",
            )
    assert cutoff is not None
    cutoff_ry = float(cutoff)
    if header.norm_conserving or rho is None:
        return Facts(checksum, (cutoff_ry,) * 3, source)
    return Facts(checksum, (cutoff_ry,) * 3, source, float(rho))


def write_table(family: Family, path: Path) -> None:
    """The family's table of facts as JSON."""
    write_json(path, asdict(family))
