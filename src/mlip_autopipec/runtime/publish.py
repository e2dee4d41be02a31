"""Potentials on disk: immutable folders, and the pointer file that running MD polls."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.campaign.results import TrainResult
from mlip_autopipec.campaign.state import TaskRecord
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.runtime import layout

__all__ = ["place", "point_at"]


def place(root: Path, plan: Plan, record: TaskRecord, number: int) -> PotentialRef:
    """Copy the potential of a finished training task to ``potentials/<number>-<hash>/``; safe to
    repeat.
    """
    name = f"{number:03d}-{record.task.id.removeprefix('train-')}"
    target = layout.potentials_folder(root) / name
    if not target.exists():
        source = (
            root / layout.attempt_folder(record.task.id, record.attempts[-1].number) / "potential"
        )
        aside = target.with_name(f".{name}.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(source, aside)
        for file in aside.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        aside.rename(target)
    result = TrainResult.from_json(record.result)
    return PotentialRef(
        name=name,
        folder=str(target.relative_to(root)),
        trainer=result.trainer,
        elements=plan.material.elements,
        labels=result.labels,
        metrics=result.metrics,
    )


def point_at(root: Path, potential: PotentialRef) -> None:
    """Make ``potential`` the one in force: running MD swaps to it at its next look."""
    folder = str(root / potential.folder)
    write_json(
        layout.pointer_file(root),
        {"name": potential.name, "folder": folder, "trainer": potential.trainer},
    )
