"""VASP's vasprun.xml and OUTCAR by ASE, with what ASE does not tell: which steps converged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

import ase.io
from ase import Atoms
from ase.io.formats import open_with_compression

__all__ = ["CONVERGED", "converged_outcar", "converged_xml", "read"]

#: Of ``atoms.info``: whether the electrons of this step were self-consistent.
CONVERGED = "scf_converged"
_LIMIT = re.compile(r"NELM\s*=\s*(\d+)")
_ITERATION = re.compile(r"-+ Iteration\s+(\d+)\(\s*(\d+)\)")
_FORMATS = {"vasp-xml": "vasp-xml", "vasp-out": "vasp-out"}


def read(file: Path, kind: str) -> list[Atoms]:
    """Every ionic step; ``info["scf_converged"]`` is False where the last electronic step was the
    last one allowed, or VASP said so.
    """
    found = ase.io.read(str(file), index=":", format=_FORMATS[kind], do_not_split_by_at_sign=True)
    frames: list[Atoms] = found if isinstance(found, list) else [found]
    with open_with_compression(str(file), "rb") as raw:
        converged = list(converged_xml(raw) if kind == "vasp-xml" else converged_outcar(raw))
    for atoms, fine in zip(frames, converged, strict=False):
        if not fine:
            atoms.info[CONVERGED] = False
    return frames


def converged_xml(raw: IO[Any]) -> Iterator[bool]:
    """Of each ionic step of a vasprun.xml: fewer electronic steps than NELM."""
    limit, steps = 0, 0
    for _, element in ElementTree.iterparse(raw):
        if element.tag == "i" and element.get("name") == "NELM" and element.text:
            limit = int(element.text)
        elif element.tag == "scstep":
            steps += 1
            element.clear()
        elif element.tag == "calculation":
            yield not limit or steps < limit
            steps = 0
            element.clear()


def converged_outcar(raw: IO[Any]) -> Iterator[bool]:
    """Of each ionic step of an OUTCAR: the same, and no word that EDIFF was not reached."""
    limit, step, said = 0, 0, True
    for line in raw:
        text = line.decode(errors="replace") if isinstance(line, bytes) else line
        if not limit and (matched := _LIMIT.search(text)):
            limit = int(matched[1])
        elif matched := _ITERATION.search(text):
            step = int(matched[2])
        elif "EDIFF was not reached" in text:
            said = False
        elif "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in text:
            yield said and (not limit or step < limit)
            said = True
