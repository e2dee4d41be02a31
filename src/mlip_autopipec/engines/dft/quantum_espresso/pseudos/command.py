"""``python -m ...pseudos``: the families without the command line of the program (used by the
installer).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.base.errors import MissingProgramError, MlipError
from mlip_autopipec.engines.dft.quantum_espresso.pseudos.families import DEFAULT_FAMILY
from mlip_autopipec.engines.dft.quantum_espresso.pseudos.installed import (
    folder_of,
    install,
    list_families,
    verify,
)

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ...pseudos list | install [FAMILY] [--element Si]...

    [--from FOLDER] | verify [FAMILY]``.
    """
    parser = argparse.ArgumentParser(
        prog="pseudos", description="Pseudopotential families of this machine"
    )
    parser.add_argument("action", choices=["list", "install", "verify"])
    parser.add_argument("family", nargs="?", default=DEFAULT_FAMILY)
    parser.add_argument(
        "--element", action="append", dest="elements", help="only this element; may be repeated"
    )
    parser.add_argument(
        "--from", dest="source", type=Path, help="local folder or wheel instead of a download"
    )
    options = parser.parse_args(arguments)
    try:
        return _act(options.action, options.family, options.elements, options.source)
    except MlipError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _act(action: str, family: str, elements: Sequence[str] | None, source: Path | None) -> int:
    if action == "list":
        for status in list_families():
            print(
                f"{status.name}: {status.installed} of {status.elements} installed in"
                f" {status.folder}"
            )
        return 0
    if action == "install":
        written = install(family, elements, source)
        print(
            f"{family}: {len(written)} files written to {folder_of(family)}"
            if written
            else f"{family}: up to date"
        )
        return 0
    states = verify(family, elements)
    wrong = {element: state for element, state in states.items() if state != "ok"}
    for element, state in wrong.items():
        print(f"{element}: {state}")
    print(f"{family}: {len(states) - len(wrong)} of {len(states)} files are intact")
    return MissingProgramError.exit_code if wrong else 0
