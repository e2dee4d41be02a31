"""``mlip-auto train`` and ``lammps``: a potential without a campaign. Parses, calls, prints; no
logic.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.cli.options import AsJson, Pbc, Types, given_of, print_json

__all__ = ["lammps", "train"]


Key = Annotated[
    str | None, typer.Option(metavar="NAME", help="its name in the file", show_default="found")
]


def train(
    data: Annotated[
        Path, typer.Argument(help="labelled structures: extended XYZ, ASE, VASP, MTP, DeePMD ...")
    ],
    test: Annotated[
        Path | None,
        typer.Option(help="held-out structures, same format", show_default="a tenth of DATA"),
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the potential")] = Path("potential"),
    fast: Annotated[
        bool, typer.Option("--fast", help="linear ACE: seconds in place of minutes")
    ] = False,
    trainer: Annotated[
        str | None,
        typer.Option(help="another trainer, or module:Class", show_default="pacemaker"),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="a setting of the trainer; repeatable"),
    ] = None,
    functions: Annotated[int | None, typer.Option(min=1, help="functions per element")] = None,
    cutoff: Annotated[float | None, typer.Option(min=1.0, help="cutoff in Å")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="optimiser steps")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    energy_key: Key = None,
    forces_key: Key = None,
    stress_key: Key = None,
    virial_key: Key = None,
    types: Types = None,
    pbc: Pbc = None,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="learn also labels that contradict the others")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit a potential to a file of labelled structures and print its errors."""
    from mlip_autopipec.commands.train import Keys, train_file
    from mlip_autopipec.engines.registry import DEFAULT_TRAINER, FAST_TRAINER

    given = {
        "functions_per_element": functions,
        "cutoff_a": cutoff,
        "max_iterations": None if fast else iterations,
    }
    settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if fast and trainer is not None:
        raise InputError(f"--fast is the trainer {FAST_TRAINER}", key="--trainer", value=trainer)
    name = FAST_TRAINER if fast else trainer or DEFAULT_TRAINER
    result = train_file(
        data,
        test,
        out,
        trainer=name,
        settings={**settings, **_pairs(more or [])},
        seed=seed,
        keys=Keys(energy_key, forces_key, stress_key, virial_key),
        given=given_of(types, pbc),
        keep_all=keep_all,
    )
    if as_json:
        print_json(result)
    else:
        for name, value in result.items():
            print(f"{name}: {json.dumps(value, default=str)}")


def _pairs(words: list[str]) -> dict[str, str]:
    """``KEY=VALUE`` words as a mapping."""
    pairs = [word.partition("=") for word in words]
    for key, sign, _ in pairs:
        if not (key and sign):
            raise InputError("is not KEY=VALUE", key="--set", value=key + sign)
    return {key: value for key, _, value in pairs}


def lammps(context: typer.Context) -> None:
    """Start LAMMPS with pair style pace loaded; every argument is handed on: mlip-auto lammps -in
    in.lmp
    """
    from mlip_autopipec.engines.md.lammps.plugin.launch import run_lammps

    raise typer.Exit(run_lammps(context.args))
