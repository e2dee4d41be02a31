"""``mlip-auto select``: pick structures of a file on the command line. Parses, calls, prints; no
logic.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from mlip_autopipec.cli.options import AsJson, Pbc, Types, given_of, print_json

__all__ = ["select"]


def select(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="structures in any format that ASE reads")
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="how many to pick")],
    method: Annotated[
        str,
        typer.Option(
            help=(
                "fps, environments, clusters, d_optimal or random; auto: clusters, or fps with"
                " --existing"
            )
        ),
    ] = "auto",
    existing: Annotated[
        Path | None, typer.Option(help="structures that are labelled already")
    ] = None,
    out: Annotated[Path, typer.Option(help="file to write (extended XYZ)")] = Path(
        "selected.extxyz"
    ),
    random_fraction: Annotated[
        float | None,
        typer.Option(
            "--random", min=0.0, max=1.0, help="share drawn at random", show_default="0; auto: 1/3"
        ),
    ] = None,
    potential: Annotated[
        Path | None,
        typer.Option(help="potential whose ACE basis d_optimal uses", show_default="a fresh basis"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="folder of fingerprints", show_default="beside the installed data"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    types: Types = None,
    pbc: Pbc = None,
    as_json: AsJson = False,
) -> None:
    """Pick the structures of a file that are most worth a DFT calculation."""
    from mlip_autopipec.base.typed import to_json
    from mlip_autopipec.selecting import select_file

    result = select_file(
        file,
        count,
        method=method,
        seed=seed,
        existing=existing,
        out=out,
        random_fraction=random_fraction,
        potential=potential,
        cache=cache,
        given=given_of(types, pbc),
    )
    if as_json:
        print_json(to_json(result))
        return
    counted: Counter[str] = Counter(result.reasons)
    reasons = ", ".join(f"{number} {reason}" for reason, number in counted.items())
    print(
        f"{len(result.indices)} of {result.of} structures picked ({result.method}:"
        f" {reasons}): {result.out}"
    )
