"""What several commands have in common: their options, and how a result is printed for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["AsJson", "Cores", "InputFile", "RunsDir", "print_json"]

InputFile = Annotated[
    Path, typer.Argument(metavar="INPUT", help="input.yaml, or a plan.yaml made from one")
]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="folder of the run folders")]
Cores = Annotated[
    int | None, typer.Option("--cores", min=1, help="cores to use at once", show_default="all")
]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=1, default=str))
