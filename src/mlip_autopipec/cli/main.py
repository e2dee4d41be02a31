"""The command line ``mlip-auto``: builds the app, and turns errors into one line and an exit
code. Heavy parts are imported when they are needed.

Exit codes are those of :class:`~mlip_autopipec.base.errors.ExitCode`. With ``--json`` an error is
one JSON object on standard output, ``{"error": {...}}``; else one line on standard error.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from mlip_autopipec.base.errors import ExitCode, InputError, MlipError
from mlip_autopipec.cli import campaign, machine, train
from mlip_autopipec.cli.dft import dft_app
from mlip_autopipec.cli.generate import generate
from mlip_autopipec.cli.options import print_json
from mlip_autopipec.cli.pseudos import pseudos_app
from mlip_autopipec.cli.select import select

__all__ = ["app", "main"]

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

app.command()(campaign.plan)
app.command()(campaign.run)
app.command()(campaign.status)
app.command()(machine.doctor)
app.command()(train.train)
app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)(train.lammps)
app.command()(machine.schema)


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
        print_json(
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


if __name__ == "__main__":
    main()
