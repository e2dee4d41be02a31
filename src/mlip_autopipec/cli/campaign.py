"""``mlip-auto plan``, ``run`` and ``status``: a campaign on the command line. Parses, calls,
prints; no logic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlip_autopipec.base.errors import ExitCode, InputError
from mlip_autopipec.cli.options import AsJson, Cores, InputFile, RunsDir, print_json

__all__ = ["plan", "run", "status"]

GOOD_ENDS = ("converged", "budget_exhausted")


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
    from mlip_autopipec.base.typed import to_json
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
        print_json(
            {
                "file": str(path),
                "plan": content,
                "reasons": prepared.reasons,
                "estimate": to_json(estimate),
            }
        )
    else:
        show.print_plan(prepared.plan, prepared.reasons, estimate)
        print(
            f"{'written to' if written else 'left as it is:'} {path}; start it with: mlip-auto run"
            f" {path}"
        )


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
        print_json(summary)
    else:
        print(f"{prepared.plan.name}: {end or 'not finished'}" + (f" ({reason})" if reason else ""))
        print(f"everything lies in {prepared.root}")
    if end is None:
        raise typer.Exit(ExitCode.INTERRUPTED)
    raise typer.Exit(ExitCode.DONE if end in GOOD_ENDS else ExitCode.SHORT_OF_GOAL)


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
