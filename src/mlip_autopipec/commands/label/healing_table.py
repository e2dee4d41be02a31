"""``mlip-auto dft report``: what failed in a folder, what was tried, what worked, what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.base.errors import CampaignLockedError, InputError
from mlip_autopipec.campaign.state import fold
from mlip_autopipec.report.failures import HEADS, cells, core_hours_lost, failure_rows
from mlip_autopipec.report.rows import FailureRow
from mlip_autopipec.report.status_page import collect
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.driver import hold
from mlip_autopipec.runtime.store import EventStore

__all__ = ["Healing", "report", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healing:
    """Failures of a folder of labels or of a whole campaign, and the totals."""

    folder: str
    structures: int | None
    labelled: int
    quarantined: int
    calculations: int
    core_hours_lost: float
    classes: tuple[FailureRow, ...]


def report(folder: Path) -> Healing:
    """The table of failures and cures and the totals, of labels or a whole campaign.

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
    labels = state.of_kind("label")
    rows = failure_rows(state)
    return Healing(
        folder=str(root),
        structures=len(labels),
        labelled=sum(record.status == "done" for record in labels),
        quarantined=sum(record.status == "quarantined" for record in labels),
        calculations=state.dft_calls,
        core_hours_lost=core_hours_lost(rows),
        classes=rows,
    )


def _of_status(root: Path) -> Healing:
    if not (root / layout.STATUS).exists():
        raise CampaignLockedError(
            f"{root}: a driver has just begun here; ask again in a few seconds"
        )
    status = collect(root)
    return Healing(
        folder=str(root),
        structures=status.tasks.all if status.kind == "labels" else None,
        labelled=status.labels.train + status.labels.validate + status.labels.audit,
        quarantined=status.tasks.quarantined,
        calculations=status.budget.dft_calls_used,
        core_hours_lost=core_hours_lost(status.failures),
        classes=status.failures,
    )


def table(found: Healing) -> str:
    """The report as text."""
    head = (
        f"{found.labelled} labelled, {found.quarantined} quarantined, {found.calculations}"
        f" calculations, {found.core_hours_lost:.2f} core-hours lost"
    )
    if not found.classes:
        return f"{head}\nno failure was met"
    rows = [HEADS, *cells(found.classes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([head, *lines])
