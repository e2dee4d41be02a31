"""``mlip-auto pseudos``: the pseudopotentials of Quantum ESPRESSO. The one place outside of its
folder that knows the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlip_autopipec.base.errors import ExitCode
from mlip_autopipec.cli.options import AsJson, print_json

__all__ = ["pseudos_app"]

pseudos_app = typer.Typer(
    help="Pseudopotential families of this machine.", no_args_is_help=True, rich_markup_mode=None
)

Family = Annotated[
    str | None, typer.Argument(help="family name", show_default="the default family")
]
Elements = Annotated[
    list[str] | None, typer.Option("--element", help="only this element; may be repeated")
]


@pseudos_app.command("list")
def pseudos_list(as_json: AsJson = False) -> None:
    """Families that are known, and what of them is installed."""
    from mlip_autopipec.engines.dft.quantum_espresso import pseudos

    rows = pseudos.list_families()
    if as_json:
        keys = ("name", "functional", "licence", "installed", "elements", "folder")
        print_json([{key: getattr(row, key) for key in keys} for row in rows])
        return
    for row in rows:
        print(
            f"{row.name}: {row.installed} of {row.elements} installed in {row.folder}"
            f" ({row.licence})"
        )


@pseudos_app.command("install")
def pseudos_install(
    family: Family = None,
    element: Elements = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="local folder or wheel, not a download")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download a family (or take it from a folder), checked file by file against its sha256."""
    from mlip_autopipec.engines.dft.quantum_espresso import pseudos

    name = family or pseudos.DEFAULT_FAMILY
    written = pseudos.install(name, element, source)
    if as_json:
        print_json({"family": name, "written": [str(path) for path in written]})
    else:
        print(
            f"{name}: {len(written)} files written to {pseudos.folder_of(name)}"
            if written
            else f"{name}: up to date"
        )


@pseudos_app.command("verify")
def pseudos_verify(
    family: Family = None, element: Elements = None, as_json: AsJson = False
) -> None:
    """Compare the installed files with the sha256 of the table; exit code 3 when one is missing or
    damaged.
    """
    from mlip_autopipec.engines.dft.quantum_espresso import pseudos

    name = family or pseudos.DEFAULT_FAMILY
    states = pseudos.verify(name, element)
    wrong = {symbol: state for symbol, state in states.items() if state != "ok"}
    if as_json:
        print_json({"family": name, "states": states})
    else:
        for symbol, state in wrong.items():
            print(f"{symbol}: {state}")
        print(f"{name}: {len(states) - len(wrong)} of {len(states)} files are intact")
    raise typer.Exit(ExitCode.NOT_INSTALLED if wrong else ExitCode.DONE)
