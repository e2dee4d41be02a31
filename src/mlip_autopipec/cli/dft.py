"""``mlip-auto dft``: the DFT factory on the command line. Parses, calls, prints; no logic.

``mlip-auto dft FILE...`` is short for ``mlip-auto dft label FILE...``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mlip_autopipec.base.errors import ExitCode
from mlip_autopipec.cli.options import AsJson, Cores, Pbc, Types, given_of, print_json

if TYPE_CHECKING:
    from mlip_autopipec.commands.label.outputs import LabelSummary, NotBegun

__all__ = ["dft_app"]


Engine = Annotated[
    str | None,
    typer.Option(metavar="NAME|MODULE:CLASS", help="DFT engine", show_default="the usual one"),
]


class _LabelByDefault(TyperGroup):
    """Takes the first word for a file when it is no command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["label", *args]
        return super().parse_args(ctx, args)


dft_app = typer.Typer(
    cls=_LabelByDefault,
    help="Label structures with DFT: mlip-auto dft FILE... (short for: dft label FILE...).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dft_app.command()
def label(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="structures in any format that ASE or pymatgen reads"
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="folder of the labels; a second call goes on there")
    ] = Path("dft"),
    cores: Cores = None,
    executor: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML with an 'executor' section: label on Slurm or PBS",
            show_default="here",
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="what the engine takes its files of (see: its documentation)"),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="N|TIME", help="stop after 200 (calculations), 90min or 8h"),
    ] = None,
    element: Annotated[
        list[str] | None,
        typer.Option(help="the method shall serve this element too; may be repeated"),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="replace a derived value, e.g. cutoff_ry=40"
        ),
    ] = None,
    engine: Engine = None,
    calculator: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CLASS", help="label with this ASE calculator, e.g. tblite.ase:TBLite"
        ),
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="argument of the calculator, e.g. method=GFN2-xTB"),
    ] = None,
    converge_first: Annotated[
        bool,
        typer.Option(
            "--converge", help="choose cutoff and k-points by calculations on one structure first"
        ),
    ] = False,
    types: Types = None,
    pbc: Pbc = None,
    as_json: AsJson = False,
) -> None:
    """Label every structure of the files: energy, forces and stress into an ASE database and an
    extended XYZ file.
    """
    from mlip_autopipec.base.typed import to_json
    from mlip_autopipec.commands.dft import label_files
    from mlip_autopipec.commands.label.options import (
        Options,
        parse_arguments,
        parse_budget,
        parse_settings,
        read_executor,
    )

    options = Options(
        family=family,
        elements=tuple(element or ()),
        settings=parse_settings(setting or []),
        engine=engine,
        calculator=calculator,
        arguments=parse_arguments(argument or []),
        converge=converge_first,
        cores=cores,
        executor=read_executor(executor),
        budget=parse_budget(budget),
    )
    summary = label_files(files, out, options, given=given_of(types, pbc))
    if as_json:
        print_json(to_json(summary))
    else:
        _print_summary(summary)
    end = summary.end_state
    if end is None:
        raise typer.Exit(ExitCode.INTERRUPTED)
    complete = end == "complete" and not summary.quarantined
    raise typer.Exit(ExitCode.DONE if complete else ExitCode.SHORT_OF_GOAL)


def _print_summary(summary: LabelSummary | NotBegun) -> None:
    from mlip_autopipec.commands.label.outputs import NotBegun

    print(f"{summary.end_state or 'not finished'}: {summary.reason}")
    if isinstance(summary, NotBegun):
        return
    for row in summary.failures:
        print(f"  {row.kind}: met {row.met} times, {row.healed} healed, {row.quarantined} given up")
    print(f"labels: {summary.files.extxyz} and {summary.files.database}")
    if summary.quarantined:
        print(f"given up: {summary.files.quarantine}")


@dft_app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="folder of labels, or of a campaign (runs/NAME)")
    ] = Path("dft"),
    as_json: AsJson = False,
) -> None:
    """Show which failures were met, which cures were tried and worked, and the core-hours lost."""
    from mlip_autopipec.base.typed import to_json
    from mlip_autopipec.commands.label import healing_table as page

    found = page.report(folder)
    if as_json:
        print_json(to_json(found))
    else:
        print(page.table(found))


@dft_app.command()
def diagnose(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="outputs, or folders with output; anybody's"),
    ],
    engine: Engine = None,
    as_json: AsJson = False,
) -> None:
    """Say why a calculation failed, where its output shows it and what would cure it."""
    from mlip_autopipec.commands.diagnose import run

    raise typer.Exit(run(paths, as_json, engine))


@dft_app.command()
def converge(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a small cell of the material")],
    out: Annotated[Path, typer.Option(help="folder of the series")] = Path("convergence"),
    family: Annotated[str | None, typer.Option(help="as for dft label")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    engine: Engine = None,
    cores: Cores = None,
    types: Types = None,
    pbc: Pbc = None,
    as_json: AsJson = False,
) -> None:
    """Run cutoff and k-point series on one cell and pick the cheapest settings that hold."""
    from mlip_autopipec.base.tasks import Failure
    from mlip_autopipec.base.typed import to_json
    from mlip_autopipec.commands.dft_check.series import converge_file
    from mlip_autopipec.commands.label.options import parse_settings

    result = converge_file(
        file,
        out,
        family=family,
        settings=parse_settings(setting or []),
        engine=engine,
        cores=cores,
        given=given_of(types, pbc),
    )
    if isinstance(result, Failure):
        if as_json:
            print_json({"failure": result.to_json()})
        else:
            print(f"{result.kind}: {result.message}")
        raise typer.Exit(ExitCode.SHORT_OF_GOAL)
    if as_json:
        print_json(to_json(result))
        return
    for item in result.series:
        print(f"{item.setting}: {item.chosen:g} ({item.reason})")
    print(f"table and plots: {out}")
