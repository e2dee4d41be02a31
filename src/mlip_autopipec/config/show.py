"""A plan as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mlip_autopipec.config.cost import Estimate
from mlip_autopipec.config.outlook import outlook
from mlip_autopipec.config.plan import Plan

__all__ = ["print_plan", "value_at"]

_LONGEST_VALUE = 46


def value_at(data: Mapping[str, Any], dotted: str) -> Any:
    """The value at a dotted key of nested mappings; items of a list go by their ``name``.

    Raises KeyError.
    """
    value: Any = data
    rest = dotted
    while rest:
        part = _first_key(value, rest)
        value = _named(value, part) if isinstance(value, list) else value[part]
        rest = rest[len(part) + 1 :]
    return value


def _first_key(value: Any, dotted: str) -> str:
    """The part of ``dotted`` that is a key of ``value``: a name such as ``package.module:Class``
    has dots of its own.
    """
    if isinstance(value, dict):
        whole = [key for key in value if dotted == key or dotted.startswith(f"{key}.")]
        if whole:
            return str(max(whole, key=len))
    return dotted.partition(".")[0]


def _named(items: list[Any], name: str) -> Any:
    flat = [item for part in items for item in (part if isinstance(part, list) else [part])]
    found = [item for item in flat if item["name"] == name]
    if not found:
        raise KeyError(name)
    return found[0] if len(found) == 1 else found


def _short(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(
            f"{key}: {_short(part)}" for key, part in value.items() if part is not None
        )
    elif isinstance(value, list):
        text = ", ".join(
            str(part["name"]) if isinstance(part, dict) and "name" in part else _short(part)
            for part in value
        )
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def print_plan(
    plan: Plan, reasons: Mapping[str, str], estimate: Estimate, console: Console | None = None
) -> None:
    """Print every derived number with its reason, section by section, then the expected cost."""
    console = console or Console()
    data = plan.model_dump(mode="json")
    table = Table(title=f"Plan {escape(plan.name)}", title_justify="left", box=None, pad_edge=False)
    for heading in ("key", "value", "why"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "key")
    section = ""
    for key in _in_order(data, reasons):
        head = key.partition(".")[0] if "." in key else ""
        if head != section:
            table.add_row("", "", "")
        section = head
        table.add_row(
            key, escape(_short(value_at(data, key))), f"[dim]{escape(reasons[key])}[/dim]"
        )
    console.print(table)
    console.print(f"\n[bold]Expected cost[/bold] (rough): {estimate.dft_calls} DFT calls")
    if check := estimate.convergence_check:
        console.print(
            f"convergence check, before the first label: {check.calculations} of them, in a cell"
            f" of about {check.atoms} atoms, {check.core_hours:g} core-hours"
        )
    hours = estimate.core_hours
    console.print(
        "core-hours: " + ", ".join(f"{stage} {value:g}" for stage, value in hours.items())
    )
    console.print(
        "one label: " + ", ".join(f"{size} {cpu:g} s" for size, cpu in estimate.label_cpu_s.items())
    )
    console.print(
        f"wall time on {plan.executor.cores} cores: about {estimate.wall_minutes:.0f} minutes"
    )
    found = outlook(plan)
    poor = found.rounds is None or not estimate.within_budget
    said = f"[bold red]{found.text}[/bold red]" if poor else found.text
    limits = f"{plan.budget.dft_calls} calls and {plan.budget.wall_minutes:g} minutes"
    console.print(f"the budget of {limits}: {said}")


def _in_order(data: Mapping[str, Any], reasons: Mapping[str, str]) -> list[str]:
    """Keys with a reason, in the order of the plan."""
    sections = list(data)

    def rank(key: str) -> tuple[int, int]:
        head, _, rest = key.partition(".")
        inside = list(data[head]) if isinstance(data[head], dict) else []
        first = rest.split(".")[0]
        return sections.index(head), inside.index(first) if first in inside else 0

    return sorted((key for key in reasons if _has(data, key)), key=rank)


def _has(data: Mapping[str, Any], key: str) -> bool:
    """Whether a key with a reason is in the plan; one of an earlier version may not be."""
    try:
        value_at(data, key)
    except (KeyError, TypeError):
        return False
    return True
