"""What several commands have in common: their options, and how a result is printed for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mlip_autopipec.science.reading import Given

__all__ = ["AsJson", "Cores", "InputFile", "Pbc", "RunsDir", "Types", "given_of", "print_json"]

InputFile = Annotated[
    Path, typer.Argument(metavar="INPUT", help="input.yaml, or a plan.yaml made from one")
]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="folder of the run folders")]
Cores = Annotated[
    int | None, typer.Option("--cores", min=1, help="cores to use at once", show_default="all")
]
Types = Annotated[
    str | None,
    typer.Option(
        "--types", metavar="'A B ...'", help="elements of types that a file numbers, in order"
    ),
]
Pbc = Annotated[
    str | None,
    typer.Option("--pbc", metavar="TTT|FFF", help="periodic directions, in place of the file's"),
]


def given_of(types: str | None, pbc: str | None) -> Given:
    """What the user says of a file. Raises InputError."""
    from mlip_autopipec.science.reading import Given

    return Given.parse(types, pbc)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=1, default=str))
