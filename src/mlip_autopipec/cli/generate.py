"""``mlip-auto generate``: the structures of an input, without a campaign. Parses, calls, prints; no
logic.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlip_autopipec.cli.options import AsJson, Cores, InputFile, print_json

if TYPE_CHECKING:
    from mlip_autopipec.commands.generate.outputs import GenerateSummary

__all__ = ["generate"]


def generate(
    file: InputFile,
    out: Annotated[
        Path | None, typer.Option(help="folder to write", show_default="generated/NAME")
    ] = None,
    starts_only: Annotated[
        bool, typer.Option("--starts-only", help="the start structures alone: quick")
    ] = False,
    candidates: Annotated[
        int | None,
        typer.Option(min=1, help="propose at least so many", show_default="as a campaign would"),
    ] = None,
    cores: Cores = None,
    as_json: AsJson = False,
) -> None:
    """Find start structures for an input, propose and screen candidates, and write them with a
    picture sheet.
    """
    from mlip_autopipec.base.typed import to_json
    from mlip_autopipec.commands.generate.input import generate as run
    from mlip_autopipec.config import load
    from mlip_autopipec.config.derive.generation import scaled

    plan = load.load(file, runs_dir=Path("runs"), cores=cores).plan
    if candidates is not None:
        plan = plan.model_copy(update={"generation": scaled(plan.generation, candidates)})
    # Models greet on standard output, which is for the result.
    with contextlib.redirect_stdout(sys.stderr):
        summary = run(
            plan, out or Path("generated") / plan.name, starts_only=starts_only, cores=cores
        )
    if as_json:
        print_json(to_json(summary))
    else:
        _print_tables(summary)


def _print_tables(summary: GenerateSummary) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    height = "above hull" if summary.kind == "solid_solution" else "above lowest"
    table = Table(
        title=f"Start structures of {escape(summary.formula)}, {summary.surrogate}", box=None
    )
    for heading in ("formula", "atoms", "space group", "prototype", f"{height} (meV/atom)", ""):
        table.add_column(
            heading, justify="right" if heading in ("atoms", f"{height} (meV/atom)") else "left"
        )
    for row in summary.starts:
        above = row.above_ev_per_atom
        shown = "" if above is None else f"{1000 * above:.0f}"
        prototype = escape(str(row.prototype or row.name))
        group = row.spacegroup or "not periodic"
        table.add_row(
            row.formula,
            str(row.n_atoms),
            group,
            prototype,
            shown,
            "" if row.near else "high",
        )
    console.print(table)
    if summary.strategies:
        table = Table(title="Candidates", box=None)
        for heading in ("strategy", "proposed", "accepted", "rejected"):
            table.add_column(
                heading, justify="right" if heading in ("proposed", "accepted") else "left"
            )
        for name, counts in summary.strategies.items():
            reasons = ", ".join(f"{kind} {number}" for kind, number in counts.rejected.items())
            table.add_row(name, str(counts.proposed), str(counts.accepted), reasons)
        console.print(table)
    print("written: " + ", ".join(summary.files.values()))
