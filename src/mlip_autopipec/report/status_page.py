"""Live status of a run, from the snapshot ``status.json`` that its driver replaces every few
seconds.
"""

from __future__ import annotations

import json as jsonlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.report import failures
from mlip_autopipec.report.values import DriverSign, Status, status_from_json, to_json
from mlip_autopipec.report.words import clock, count, duration, number
from mlip_autopipec.runtime import layout
from mlip_autopipec.science.hit_rate import HitRate

__all__ = ["SILENT_AFTER_S", "collect", "render", "show", "watch"]

SILENT_AFTER_S = 60.0
"""A living driver that has not written for this long is called silent."""

DriverState = Literal["running", "silent", "ended", "stopped"]

STATES: dict[DriverState, tuple[str, str]] = {
    "running": ("running", "green"),
    "silent": ("running, but silent", "yellow"),
    "ended": ("ended", "cyan"),
    "stopped": ("stopped before its end; start it again and it goes on from here", "red"),
}
MET = {True: "met", False: "not met", None: "not known"}


def collect(root: Path) -> Status:
    """The status of run folder ``root``, and under ``driver`` whether anybody is at work.

    Raises InputError when there is no run folder, no status in it, or one that cannot be read;
    CampaignStateError for a status of a later version.
    """
    path = root / layout.STATUS
    if not root.is_dir():
        raise InputError(
            "there is no such run folder", file=root, hint="give the folder that `mlip-auto` wrote"
        )
    try:
        status = status_from_json(read_json(path), path)
    except FileNotFoundError:
        raise InputError(
            "this folder holds no run",
            file=root,
            hint="it has no status.json; give the folder that holds plan.yaml",
        ) from None
    except ValueError as error:  # no JSON, no text, or other content
        raise InputError(f"not a status of a run: {error}", file=path) from None
    age_s = time.time() - status.updated
    sign = DriverSign(state=_driver_state(status, age_s), updated_s_ago=age_s)
    return replace(status, driver=sign)


def show(root: Path, json: bool = False, console: Console | None = None) -> None:
    """Print the status once, as a page or as JSON (one object, for programs).

    Errors as :func:`collect`.
    """
    status = collect(root)
    console = console or Console()
    if json:
        console.file.write(jsonlib.dumps(to_json(status), indent=1) + "\n")
    else:
        console.print(render(status))


def watch(
    root: Path,
    interval_s: float = 2.0,
    console: Console | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Refresh the page until the run is over (or its driver gone); Ctrl-C leaves the run alone."""
    status = collect(root)
    with Live(render(status), console=console or Console(), auto_refresh=False) as live:
        try:
            while status.driver is not None and status.driver.state in ("running", "silent"):
                sleep(interval_s)
                status = collect(root)
                live.update(render(status), refresh=True)
        except KeyboardInterrupt:
            pass


def _driver_state(status: Status, age_s: float) -> DriverState:
    if status.end_state:
        return "ended"
    started = _process_started(status.pid)
    # A process that began after the last status is another one that was given the same number.
    if started is None or started > status.updated + 2:
        return "stopped"
    return "silent" if age_s > SILENT_AFTER_S else "running"


def _process_started(pid: int) -> float | None:
    """When a living process of this machine began (epoch seconds, proc(5)); None when it is gone or
    a zombie.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(
            line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime")
        )
    except (OSError, StopIteration):
        return None
    if fields[0] in "ZX":
        return None
    return float(boot.split()[1]) + float(fields[19]) / float(os.sysconf("SC_CLK_TCK"))


def render(status: Status) -> RenderableType:
    """The status page: who is at work, what it cost, what runs now, how good the potential is."""
    blocks: list[RenderableType] = [_head(status), _numbers(status)]
    tables = (
        _running(status),
        _targets(status),
        _potentials(status),
        _conditions(status),
        _failures(status),
    )
    for block in tables:
        if block is not None:
            blocks += [Text(""), block]
    if status.events:
        lines = [
            f"[dim]{clock(item.time)}[/dim]  {escape(item.text)}" for item in status.events[-8:]
        ]
        blocks += [
            Text(""),
            Text("Last events", style="bold"),
            *(Text.from_markup(line) for line in lines),
        ]
    return Group(*blocks)


def _head(status: Status) -> Text:
    word, colour = STATES[status.driver.state if status.driver else "ended"]
    if status.end_state:
        word = f"ended: {status.end_state}"
    text = Text.assemble((status.name, "bold"), "  ", (word, f"bold {colour}"))
    if not status.end_state:
        text.append(f"  phase {status.phase}")
    if status.driver:
        text.append(f"  (written {duration(status.driver.updated_s_ago)} ago)", style="dim")
    if status.reason:
        text.append(f"\n{status.reason}")
    return text


def _numbers(status: Status) -> Table:
    budget, labels, tasks = status.budget, status.labels, status.tasks
    hours = ", ".join(f"{kind} {value:.2f}" for kind, value in status.core_hours.items())
    rows = [
        ("DFT calls", _of_limit(count(budget.dft_calls_used), budget.dft_calls)),
        ("Wall time", _of_limit(duration(status.wall_s), budget.wall_minutes, " min")),
        (
            "Labels",
            (
                f"{labels.train} for training ({labels.masked} of them masked),"
                f" {labels.validate} for validation"
            ),
        ),
        (
            "Tasks",
            (
                f"{sum(tasks.done.values())} done, {len(tasks.running)} running,"
                f" {tasks.queued} queued, {tasks.quarantined} quarantined"
            ),
        ),
    ]
    if status.kind == "campaign":
        rows.append(("MD", f"{status.swaps} potential swaps in place, {status.cutouts} cutouts"))
    if status.hit_rate:
        rows.append(("Screen", _screen(status.hit_rate)))
    if hours:
        rows.append(("Core hours", hours))
    if status.eta_s is not None and not status.end_state:
        rows.append(("Time left", duration(status.eta_s)))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table


def _of_limit(used: str, limit: float | None, unit: str = "") -> str:
    return f"{used}, no limit" if limit is None else f"{used} of {count(limit)}{unit}"


def _screen(found: HitRate) -> str:
    words = (
        f"{found.n_hits} of {found.n_accepted} first labels as the surrogate promised,"
        f" {found.n_false_rejections} of {found.n_audited} rejected ones wrongly; forces"
        f" correlated by {number(found.force_correlation)}"
    )
    return words + (": it does not rank this material" if found.geometry_only else "")


def _running(status: Status) -> Table | None:
    rows = [
        (item.kind, item.detail, item.state, duration(item.elapsed_s), duration(item.eta_s))
        for item in status.tasks.running
    ]
    return _table("Running now", ("task", "what", "state", "since", "about to go"), rows)


def _targets(status: Status) -> Table | None:
    rows = [
        (
            item.name,
            f"{number(item.value)} {item.unit}",
            f"at most {item.limit:g} {item.unit}",
            MET[item.met],
        )
        for item in status.targets
    ]
    return _table("Targets (newest potential)", ("target", "reached", "asked for", ""), rows)


def _potentials(status: Status) -> Table | None:
    rows = [
        (
            item.name,
            item.trainer,
            str(item.labels),
            number(item.test.energy_rmse_mev_per_atom),
            number(item.test.force_rmse_mev_per_a),
            number(item.train.energy_rmse_mev_per_atom),
            number(item.train.force_rmse_mev_per_a),
        )
        for item in status.potentials[-6:]
    ]
    heads = (
        "name",
        "trainer",
        "labels",
        "held-out meV/atom",
        "meV/Å",
        "training meV/atom",
        "meV/Å",
    )
    return _table("Potentials (RMSE)", heads, rows)


def _conditions(status: Status) -> Table | None:
    rows = [
        (
            item.name,
            item.state,
            str(item.visits),
            number(item.clean_ps),
            number(item.ps),
            number(item.gamma_max),
            str(item.unknown),
            item.potential or "-",
        )
        for item in status.conditions
    ]
    return _table(
        "Exploration",
        (
            "condition",
            "state",
            "visits",
            "clean ps",
            "ps in all",
            "gamma max",
            "unknown",
            "potential",
        ),
        rows,
    )


def _failures(status: Status) -> Table | None:
    return _table("Failed attempts", failures.HEADS, failures.cells(status.failures))


def _table(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table | None:
    if not rows:
        return None
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0)
    )
    for head in heads:
        table.add_column(head, header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table
