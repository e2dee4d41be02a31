"""``mlip-auto doctor`` and ``schema``: what is here, and what may be written. Parses, calls,
prints; no logic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlip_autopipec.cli.options import AsJson, RunsDir, print_json

__all__ = ["doctor", "schema"]


def doctor(
    plan_file: Annotated[
        Path | None,
        typer.Option(
            "--plan", metavar="FILE", help="input.yaml or plan.yaml: try its surrogate and executor"
        ),
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Check what is installed, and say how to get what is not."""
    from mlip_autopipec.commands.doctor import checks

    raise typer.Exit(checks.run(as_json, plan_file, runs_dir))


def schema() -> None:
    """Print the JSON schema of input.yaml, for editors."""
    from mlip_autopipec.config import input

    print_json(input.schema())
