"""``mlip-auto dft report``: what failed in a folder, what was tried, what worked, what it cost."""

from __future__ import annotations

from pathlib import Path

from mlip_autopipec.base.errors import CampaignLockedError, InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.state import fold
from mlip_autopipec.report.failures import healing
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.driver import hold
from mlip_autopipec.runtime.store import EventStore

__all__ = ["report", "table"]


def report(folder: Path) -> Json:
    """The table of :func:`mlip_autopipec.report.failures.healing` and the totals, of labels or a
    whole campaign.

    From the event log, or from ``status.json`` (a few seconds old) while a driver works there.
    Raises InputError for a folder without a run.
    """
    root = folder.resolve()
    if not (root / layout.DATABASE).exists():
        raise InputError(
            "no run in this folder", file=folder, hint="give the --out folder, or runs/NAME"
        )
    try:
        with hold(root):
            store = EventStore(root / layout.DATABASE)
            try:
                state = fold(event for _, event in store.load())
            finally:
                store.close()
    except CampaignLockedError:
        return _of_status(root)
    rows = healing(state)
    labels = state.of_kind("label")
    return _totals(
        root,
        rows,
        structures=len(labels),
        labelled=sum(record.status == "done" for record in labels),
        quarantined=sum(record.status == "quarantined" for record in labels),
        calculations=state.dft_calls,
    )


def _of_status(root: Path) -> Json:
    path = root / layout.STATUS
    if not path.exists():
        raise CampaignLockedError(
            f"{root}: a driver has just begun here; ask again in a few seconds"
        )
    status = read_json(path)
    tasks, labels = status["tasks"], status["labels"]
    return _totals(
        root,
        status["healing"],
        structures=tasks.get("all"),
        labelled=labels["train"] + labels["validate"],
        quarantined=tasks["quarantined"],
        calculations=status["budget"]["dft_calls_used"],
    )


def _totals(root: Path, rows: list[Json], **counts: int | None) -> Json:
    lost = sum(row["core_hours_lost"] for row in rows)
    return {"folder": str(root), **counts, "core_hours_lost": lost, "classes": rows}


def table(found: Json) -> str:
    """The report as text."""
    head = (
        f"{found['labelled']} labelled, {found['quarantined']} quarantined, {found['calculations']}"
        f" calculations, {found['core_hours_lost']:.2f} core-hours lost"
    )
    if not found["classes"]:
        return f"{head}\nno failure was met"
    rows: list[tuple[str, ...]] = [
        (
            "class",
            "met",
            "structures",
            "healed",
            "given up",
            "core-h lost",
            "cure",
            "tried",
            "worked",
        )
    ]
    for row in found["classes"]:
        cures = row["cures"] or [{"cure": "none", "tried": "", "worked": ""}]
        for number, cure in enumerate(cures):
            first = (row["class"], row["met"], row["tasks"], row["healed"], row["quarantined"],
                     f"{row['core_hours_lost']:.3f}") if number == 0 else ("",) * 6  # fmt: skip
            rows.append(
                tuple(str(part) for part in (*first, cure["cure"], cure["tried"], cure["worked"]))
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([head, *lines])
