"""Live status of a run, from the snapshot ``status.json`` that its driver replaces every few
seconds.
"""

from __future__ import annotations

import json as jsonlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.values import Json

__all__ = ["SILENT_AFTER_S", "collect", "epoch_seconds", "render", "show", "watch"]

SILENT_AFTER_S = 60.0
"""A living driver that has not written for this long is called silent."""

STATES = {
    "running": ("running", "green"),
    "silent": ("running, but silent", "yellow"),
    "ended": ("ended", "cyan"),
    "stopped": ("stopped before its end; start it again and it goes on from here", "red"),
}


def collect(root: Path) -> Json:
    """The snapshot of run folder ``root``, and under ``driver`` whether anybody is at work.

    ``driver``: ``{"state": running | silent | ended | stopped, "updated_s_ago": seconds}``.
    Raises InputError when there is no run folder, no snapshot in it, or one that is not a snapshot.
    """
    path = root / "status.json"
    if not root.is_dir():
        raise InputError(
            "there is no such run folder", file=root, hint="give the folder that `mlip-auto` wrote"
        )
    try:
        snapshot = read_json(path)
    except FileNotFoundError:
        raise InputError(
            "this folder holds no run",
            file=root,
            hint="it has no status.json; give the folder that holds plan.yaml",
        ) from None
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not a status snapshot: {error}", file=path) from None
    if not isinstance(snapshot, dict) or "phase" not in snapshot:
        raise InputError("not a status snapshot", file=path)
    age = time.time() - (epoch_seconds(snapshot.get("updated")) or 0.0)
    snapshot["driver"] = {"state": _driver_state(snapshot, age), "updated_s_ago": age}
    return snapshot


def epoch_seconds(moment: object) -> float | None:
    """Seconds since the epoch of a number (as it stands) or an ISO time; None when it is
    neither.
    """
    if isinstance(moment, int | float):
        return float(moment)
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return None


def show(root: Path, json: bool = False, console: Console | None = None) -> None:
    """Print the status once, as a page or as JSON (one object, for programs).

    Errors as :func:`collect`.
    """
    snapshot = collect(root)
    console = console or Console()
    if json:
        console.file.write(jsonlib.dumps(snapshot, indent=1) + "\n")
    else:
        console.print(render(snapshot))


def watch(
    root: Path,
    interval_s: float = 2.0,
    console: Console | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Refresh the page until the run is over (or its driver gone); Ctrl-C leaves the run alone."""
    snapshot = collect(root)
    with Live(render(snapshot), console=console or Console(), auto_refresh=False) as live:
        try:
            while snapshot["driver"]["state"] in ("running", "silent"):
                sleep(interval_s)
                snapshot = collect(root)
                live.update(render(snapshot), refresh=True)
        except KeyboardInterrupt:
            pass


def _driver_state(snapshot: Mapping[str, Any], age_s: float) -> str:
    if snapshot.get("end_state"):
        return "ended"
    started = _process_started(snapshot.get("pid"))
    updated = epoch_seconds(snapshot.get("updated"))
    # A process that began after the last snapshot is another one that was given the same number.
    if started is None or updated is None or started > updated + 2:
        return "stopped"
    return "silent" if age_s > SILENT_AFTER_S else "running"


def _process_started(pid: object) -> float | None:
    """When a living process of this machine began (epoch seconds, proc(5)); None when it is gone or
    a zombie.
    """
    if not isinstance(pid, int):
        return None
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


def render(snapshot: Mapping[str, Any]) -> RenderableType:
    """The status page: who is at work, what it cost, what runs now, how good the potential is."""
    blocks: list[RenderableType] = [_head(snapshot), _numbers(snapshot)]
    for block in (
        _running(snapshot),
        _potentials(snapshot),
        _conditions(snapshot),
        _failures(snapshot),
    ):
        if block is not None:
            blocks += [Text(""), block]
    events = snapshot.get("events") or []
    if events:
        lines = [
            f"[dim]{_clock(item.get('time'))}[/dim]  {escape(str(item.get('text', '')))}"
            for item in events[-8:]
        ]
        blocks += [
            Text(""),
            Text("Last events", style="bold"),
            *(Text.from_markup(line) for line in lines),
        ]
    return Group(*blocks)


def _head(snapshot: Mapping[str, Any]) -> Text:
    driver = snapshot.get("driver", {})
    word, colour = STATES[driver.get("state", "ended")]
    if snapshot.get("end_state"):
        word = f"ended: {snapshot['end_state']}"
    text = Text.assemble((str(snapshot.get("name", "")), "bold"), "  ", (word, f"bold {colour}"))
    if not snapshot.get("end_state"):
        text.append(f"  phase {snapshot['phase']}")
    text.append(f"  (written {_duration(driver.get('updated_s_ago'))} ago)", style="dim")
    if snapshot.get("reason"):
        text.append(f"\n{snapshot['reason']}")
    return text


def _numbers(snapshot: Mapping[str, Any]) -> Table:
    budget, labels, tasks = (snapshot.get(key) or {} for key in ("budget", "labels", "tasks"))
    done = sum((tasks.get("done") or {}).values())
    core_hours = snapshot.get("core_hours") or {}
    hours = ", ".join(
        f"{kind} {value:.2f}" for kind, value in core_hours.items() if value is not None
    )
    rows = [
        (
            "DFT calls",
            f"{_count(budget.get('dft_calls_used'))} of {_count(budget.get('dft_calls'))}",
        ),
        (
            "Wall time",
            f"{_duration(snapshot.get('wall_s'))} of {_count(budget.get('wall_minutes'))} min",
        ),
        (
            "Labels",
            (
                f"{_count(labels.get('train'))} for training ({_count(labels.get('masked'))} of"
                f" them masked), {_count(labels.get('validate'))} for validation"
            ),
        ),
        (
            "Tasks",
            (
                f"{done} done, {len(tasks.get('running') or [])} running,"
                f" {_count(tasks.get('queued'))} queued, {_count(tasks.get('quarantined'))}"
                " quarantined"
            ),
        ),
        (
            "MD",
            (
                f"{_count(snapshot.get('swaps'))} potential swaps in place,"
                f" {_count(snapshot.get('cutouts'))} cutouts"
            ),
        ),
    ]
    if snapshot.get("hit_rate"):
        rows.append(("Screen", _screen(snapshot["hit_rate"])))
    if hours:
        rows.append(("Core hours", hours))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table


def _screen(found: Mapping[str, Any]) -> str:
    words = (
        f"{_count(found.get('n_hits'))} of {_count(found.get('n_accepted'))} first labels as the"
        f" surrogate promised, {_count(found.get('n_false_rejections'))} of"
        f" {_count(found.get('n_audited'))} rejected ones wrongly; forces correlated by"
        f" {_number(found.get('force_correlation'))}"
    )
    return words + (": it does not rank this material" if found.get("geometry_only") else "")


def _running(snapshot: Mapping[str, Any]) -> Table | None:
    running = (snapshot.get("tasks") or {}).get("running") or []
    rows = [
        (
            item.get("kind", ""),
            str(item.get("detail") or item.get("id", "")),
            str(item.get("state") or ""),
            _duration(item.get("elapsed_s")),
            _duration(item.get("eta_s")),
        )
        for item in running
    ]
    return _table("Running now", ("task", "what", "state", "since", "about to go"), rows)


def _potentials(snapshot: Mapping[str, Any]) -> Table | None:
    rows = []
    for item in (snapshot.get("potentials") or [])[-6:]:
        test, train = item.get("test") or {}, item.get("train") or {}
        rows.append(
            (
                str(item.get("name", "")),
                str(item.get("trainer", "")),
                _count(item.get("labels")),
                *(
                    _number(test.get(key))
                    for key in ("energy_rmse_mev_per_atom", "force_rmse_mev_per_a")
                ),
                *(
                    _number(train.get(key))
                    for key in ("energy_rmse_mev_per_atom", "force_rmse_mev_per_a")
                ),
            )
        )
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


def _conditions(snapshot: Mapping[str, Any]) -> Table | None:
    rows = [
        (
            str(item.get("name", "")),
            str(item.get("state", "")),
            _number(item.get("clean_ps")),
            _number(item.get("ps")),
            _number(item.get("gamma_max")),
            str(item.get("potential") or "-"),
        )
        for item in snapshot.get("conditions") or []
    ]
    return _table(
        "Exploration",
        ("condition", "state", "clean ps", "ps in all", "gamma max", "potential"),
        rows,
    )


def _failures(snapshot: Mapping[str, Any]) -> Table | None:
    cures = snapshot.get("cures") or {}
    rows = [
        (str(kind), _count(count), str(cures.get(kind, "-")))
        for kind, count in (snapshot.get("failures") or {}).items()
    ]
    return _table("Failed attempts", ("kind", "how many", "cured"), rows)


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


def _count(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "-"


def _duration(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return "-"
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 6000 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _clock(moment: object) -> str:
    seconds = epoch_seconds(moment)
    return (
        str(moment or "")
        if seconds is None
        else datetime.fromtimestamp(seconds).strftime("%H:%M:%S")
    )
