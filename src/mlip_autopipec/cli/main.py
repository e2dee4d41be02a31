"""The command line ``mlip-auto``: parses, calls, prints; no logic. Heavy parts are imported when
they are needed.

Exit codes are those of :class:`~mlip_autopipec.base.errors.ExitCode`. With ``--json`` an error is
one JSON object on standard output, ``{"error": {...}}``; else one line on standard error.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mlip_autopipec.base.errors import ExitCode, InputError, MlipError
from mlip_autopipec.cli.dft import dft_app
from mlip_autopipec.cli.generate import generate
from mlip_autopipec.cli.pseudos import pseudos_app
from mlip_autopipec.cli.select import select

__all__ = ["app", "main"]

GOOD_ENDS = ("converged", "budget_exhausted")

app = typer.Typer(
    name="mlip-auto",
    help="From a few lines of input to a validated machine-learned interatomic potential.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(pseudos_app, name="pseudos")
app.add_typer(dft_app, name="dft")
app.command()(generate)
app.command()(select)

InputFile = Annotated[
    Path, typer.Argument(metavar="INPUT", help="input.yaml, or a plan.yaml made from one")
]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="folder of the run folders")]
Cores = Annotated[
    int | None, typer.Option("--cores", min=1, help="cores to use at once", show_default="all")
]


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("mlip-autopipec"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """From a few lines of input to a validated machine-learned interatomic potential."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the app and turns every error into one line and an exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_guarded(words))


def _guarded(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        code = app(args=words, prog_name="mlip-auto", standalone_mode=False)
        if code == ExitCode.INTERRUPTED:
            _say_interrupted()
        return code if isinstance(code, int) else ExitCode.DONE
    except MlipError as error:
        return _report(error, error.exit_code, as_json)
    except (KeyboardInterrupt, typer.Abort):
        _say_interrupted()
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:
        # The parser's own complaints: an unknown option, a missing argument.
        if hasattr(error, "format_message"):
            complaint = error.format_message()
            return (
                _report(InputError(complaint), InputError.exit_code, as_json)
                if complaint
                else InputError.exit_code
            )
        if os.environ.get("MLIP_DEBUG"):
            traceback.print_exc()
        hint = "set MLIP_DEBUG=1 to see where"
        return _report(
            MlipError(f"unexpected {type(error).__name__}: {error}; {hint}"),
            ExitCode.FAILED,
            as_json,
        )


def _say_interrupted() -> None:
    print("interrupted; the same command goes on from here", file=sys.stderr)


def _report(error: MlipError, code: int, as_json: bool) -> int:
    """Print an error as one line, or as JSON with the parts it is made of."""
    message = " ".join(str(error).split())
    if as_json:
        parts = {
            key: getattr(error, key, None)
            for key in ("file", "key", "value", "hint", "what", "install")
        }
        found = {key: value for key, value in parts.items() if value is not None}
        _print_json(
            {
                "error": {
                    "type": type(error).__name__,
                    "message": message,
                    "exit_code": code,
                    **found,
                }
            }
        )
    else:
        print(f"error: {message}", file=sys.stderr)
    return code


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=str))


@app.command()
def plan(
    file: InputFile,
    out: Annotated[
        Path | None, typer.Option(help="file to write", show_default="RUNS_DIR/NAME/plan.yaml")
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    cores: Cores = None,
    as_json: AsJson = False,
) -> None:
    """Derive every number of a campaign, print it with its reason and the expected cost, and write
    plan.yaml.
    """
    from mlip_autopipec.config import cost, load, show, yaml

    prepared = load.load(file, runs_dir=runs_dir, cores=cores)
    path = out or prepared.root / "plan.yaml"
    if out is None:
        load.check_same_plan(prepared)
    written = out is not None or load.may_write(path)
    if written:
        yaml.write_plan(prepared.plan, prepared.reasons, path)
    estimate = cost.estimate(prepared.plan)
    if as_json:
        content = prepared.plan.model_dump(mode="json")
        _print_json(
            {"file": str(path), "plan": content, "reasons": prepared.reasons, "estimate": estimate}
        )
    else:
        show.print_plan(prepared.plan, prepared.reasons, estimate)
        print(
            f"{'written to' if written else 'left as it is:'} {path}; start it with: mlip-auto run"
            f" {path}"
        )


@app.command()
def run(
    file: InputFile, runs_dir: RunsDir = Path("runs"), cores: Cores = None, as_json: AsJson = False
) -> None:
    """Run a campaign, or go on with it after an interruption. Everything lies in RUNS_DIR/NAME."""
    from mlip_autopipec.config import load

    prepared = load.load(file, runs_dir=runs_dir, cores=cores)
    load.check_same_plan(prepared)
    from mlip_autopipec.commands import run as convergence_campaign

    summary = convergence_campaign.run(prepared)
    end, reason = summary.get("end_state"), summary.get("reason")
    if as_json:
        _print_json(summary)
    else:
        print(f"{prepared.plan.name}: {end or 'not finished'}" + (f" ({reason})" if reason else ""))
        print(f"everything lies in {prepared.root}")
    if end is None:
        raise typer.Exit(ExitCode.INTERRUPTED)
    raise typer.Exit(ExitCode.DONE if end in GOOD_ENDS else ExitCode.SHORT_OF_GOAL)


@app.command()
def status(
    folder: Annotated[
        Path | None, typer.Argument(help="run folder", show_default="the newest in runs")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="refresh until the run ends")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a run is doing."""
    from mlip_autopipec.report import status_page as page

    root = folder or _newest_run(Path("runs"))
    if watch and not as_json:
        page.watch(root)
    else:
        page.show(root, json=as_json)


def _newest_run(runs: Path) -> Path:
    found = sorted(runs.glob("*/status.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise InputError(
            "no run was started here", file=runs, hint="start one with: mlip-auto run input.yaml"
        )
    return found[-1].parent


@app.command()
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


@app.command()
def train(
    data: Annotated[
        Path, typer.Argument(help="labelled structures (extended XYZ with energies and forces)")
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
    as_json: AsJson = False,
) -> None:
    """Fit a potential to a file of labelled structures and print its errors."""
    from mlip_autopipec.commands.train import DEFAULT_TRAINER, FAST_TRAINER, train_file

    given = {
        "functions_per_element": functions,
        "cutoff_a": cutoff,
        "max_iterations": None if fast else iterations,
    }
    settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if fast and trainer is not None:
        raise InputError("--fast is the trainer linear", key="--trainer", value=trainer)
    name = FAST_TRAINER if fast else trainer or DEFAULT_TRAINER
    result = train_file(
        data, test, out, trainer=name, settings={**settings, **_pairs(more or [])}, seed=seed
    )
    if as_json:
        _print_json(result)
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


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def lammps(context: typer.Context) -> None:
    """Start LAMMPS with pair style pace loaded; every argument is handed on: mlip-auto lammps -in
    in.lmp
    """
    from mlip_autopipec.engines.md.lammps.plugin.launch import run_lammps

    raise typer.Exit(run_lammps(context.args))


@app.command()
def schema() -> None:
    """Print the JSON schema of input.yaml, for editors."""
    from mlip_autopipec.config import input

    _print_json(input.schema())


if __name__ == "__main__":
    main()
