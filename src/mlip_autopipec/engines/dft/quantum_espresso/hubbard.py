"""DFT+U in the syntax of the pw.x that will read it.

Up to version 7.0 U stands in the namelist ``system`` per species, and the manifold follows from the
element; from 7.1 on a card HUBBARD names it. Both are given the same projectors. U is that of
Dudarev et al. (Phys. Rev. B 57, 1505, 1998), in eV.
"""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ase.data import atomic_numbers

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.engines.dft.quantum_espresso.config import INPUT, command
from mlip_autopipec.engines.dft.quantum_espresso.species import Species

__all__ = ["CARD_SINCE", "Projectors", "hubbard_cards", "manifolds", "program_version"]

Projectors = Literal["atomic", "ortho-atomic"]
CARD_SINCE = (7, 1)
"""The first version of pw.x with the card HUBBARD, and without the entries that it replaced."""

# Shells that U is meant for: first and last atomic number, the shell.
_SHELLS = (
    (5, 9, "2p"), (13, 17, "3p"), (21, 30, "3d"), (31, 35, "4p"), (39, 48, "4d"), (49, 53, "5p"),
    (57, 71, "4f"), (72, 80, "5d"), (89, 103, "5f"),
)  # fmt: skip
# Seconds. pw.x prints its version at once and ends, for it is given nothing to do.
_PATIENCE_S = 60.0


def manifolds(given: Mapping[str, float]) -> dict[str, float]:
    """``{"Ni": 6.0}`` or ``{"Ni-3d": 6.0}`` (eV) as ``{"Ni-3d": 6.0}``, sorted.

    Raises ValueError for what is no element, has no shell for U, or names another shell than pw.x
    up to 7.0 takes for the element.
    """
    found = {}
    for key, value in given.items():
        symbol, _, shell = key.partition("-")
        usual = _shell(symbol)
        if usual is None or shell not in ("", usual):
            shown = f"; write {symbol}-{usual}" if usual else ""
            raise ValueError(f"{key} has no shell that U is meant for{shown}")
        if not 0.0 <= value <= 20.0:
            raise ValueError(f"U of {key} is {value:g} eV; 0 to 20 are usual")
        found[f"{symbol}-{usual}"] = float(value)
    return dict(sorted(found.items()))


def _shell(symbol: str) -> str | None:
    number = atomic_numbers.get(symbol, 0)
    return next((shell for first, last, shell in _SHELLS if first <= number <= last), None)


def hubbard_cards(
    hubbard: Mapping[str, float],
    projectors: str,
    species: Sequence[Species],
    version: tuple[int, int] | None,
) -> tuple[dict[str, Any], str]:
    """Entries of ``system``, and the card (empty for old versions), for the ``species`` of a cell
    that have a U.

    Raises InputError where there are some and nobody knows the ``version`` of pw.x.
    """
    by_symbol = {key.partition("-")[0]: (key.partition("-")[2], u) for key, u in hubbard.items()}
    concerned = [(index, one) for index, one in enumerate(species, 1) if one.symbol in by_symbol]
    if not concerned:
        return {}, ""
    if version is None:
        raise InputError(
            "pw.x does not say its version, on which the syntax of U depends",
            key="dft.hubbard",
            hint="name pw.x itself with MLIP_PW",
        )
    if version >= CARD_SINCE:
        rows = [
            f"  U {one.name}-{by_symbol[one.symbol][0]} {by_symbol[one.symbol][1]:.6f}"
            for _, one in concerned
        ]
        return {}, "\n".join([f"HUBBARD ({projectors})", *rows, ""])
    entries: dict[str, Any] = {"lda_plus_u": True, "U_projection_type": projectors}
    for index, one in concerned:
        entries[f"Hubbard_U({index})"] = float(by_symbol[one.symbol][1])
    return entries, ""


def program_version() -> tuple[int, int] | None:
    """Of the pw.x that will run, from its own first line; None where it says none.

    Raises MissingProgramError.
    """
    program = command(1, {})[0]
    return _asked(program, Path(program).stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _asked(program: str, _changed: int) -> tuple[int, int] | None:
    with tempfile.TemporaryDirectory(prefix="mlip-pw-") as folder:
        try:
            said = subprocess.run(
                [program, "-in", INPUT],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    found = re.search(r"PWSCF v\.(\d+)\.(\d+)", said.stdout.decode(errors="replace"))
    return None if found is None else (int(found[1]), int(found[2]))
