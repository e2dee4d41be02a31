"""Where things lie in a run folder: one function a place, so that no path is spelled twice."""

from __future__ import annotations

from pathlib import Path

__all__ = ["attempt_folder", "pointer_file", "potentials_folder"]

PLAN_YAML = "plan.yaml"
PLAN_JSON = "plan.json"
DATABASE = "campaign.db"
DATASET = "dataset.db"
STATUS = "status.json"
LOCK = "driver.lock"
SPEC = "spec.json"
OUTCOME = "outcome.json"
CLAIM = "claim"
STREAM = "stream.jsonl"
RESULT = "result"


def attempt_folder(task_id: str, attempt: int) -> str:
    """Folder of an attempt, relative to the run folder."""
    return f"tasks/{task_id}/attempt-{attempt}"


def potentials_folder(root: Path) -> Path:
    return root / "potentials"


def pointer_file(root: Path) -> Path:
    """The file that names the potential in force."""
    return potentials_folder(root) / "current.json"
