"""What a labelling campaign leaves: labels.extxyz, quarantine.json, summary.json (dataset.db is
kept by the driver).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from ase import Atoms
from ase.io import write

from mlip_autopipec.base.files import atomic_write, read_json, write_json
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.attempts import STOPPED
from mlip_autopipec.campaign.labelled import labelled_structure
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.report import status
from mlip_autopipec.report.failures import healing
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.dataset_db import with_results

__all__ = [
    "EXTXYZ",
    "PARAMETERS",
    "QUARANTINE",
    "SOURCES",
    "SUMMARY",
    "formula",
    "quarantined",
    "write_outputs",
]

EXTXYZ, QUARANTINE, SUMMARY = "labels.extxyz", "quarantine.json", "summary.json"
PARAMETERS, SOURCES = "parameters.yaml", "sources.json"


def formula(numbers: Sequence[int]) -> str:
    return str(Atoms(numbers=numbers).get_chemical_formula())


def write_outputs(
    root: Path,
    plan: LabelPlan,
    state: CampaignState,
    asked: Sequence[str],
    elapsed_s: float,
    word: Callable[[str | None], str | None],
) -> Json:
    """Write the three files and return the summary. ``asked``: ids of the tasks of this call."""
    path = root / SOURCES
    sources: dict[str, list[str]] = read_json(path) if path.exists() else {}
    if not _complete(root, state):
        _write_extxyz(root / EXTXYZ, state, sources)
    lost = quarantined(state, sources)
    write_json(root / QUARANTINE, lost)
    table = healing(state)
    of_call = [state.tasks[name].status for name in asked if name in state.tasks]
    summary: Json = {
        "end_state": word(state.end.end_state) if state.end else None,
        "reason": state.end.reason
        if state.end
        else "stopped by the user; the same command goes on",
        "folder": str(root),
        "structures": len(state.tasks),
        "labelled": state.count("done"),
        "quarantined": state.count("quarantined"),
        "left": state.count("queued") + state.count("running"),
        "of_this_call": {
            "structures": len(asked),
            "labelled": of_call.count("done"),
            "quarantined": of_call.count("quarantined"),
        },
        "calculations": state.dft_calls,
        "core_hours": sum(status.core_hours(state).values()),
        "core_hours_lost": sum(row["core_hours_lost"] for row in table),
        "wall_s": elapsed_s,
        "method_hash": plan.dft.method_hash,
        "method": plan.dft.method(),
        "failures": table,
        "files": {
            "database": str(root / layout.DATASET),
            "extxyz": str(root / EXTXYZ),
            "quarantine": str(root / QUARANTINE),
            "parameters": str(root / PARAMETERS),
        },
    }
    write_json(root / SUMMARY, summary)
    return summary


def _complete(root: Path, state: CampaignState) -> bool:
    """Whether the file holds every label already: the summary, written after it, has counted
    them.
    """
    path = root / SUMMARY
    return (
        path.exists()
        and (root / EXTXYZ).exists()
        and read_json(path).get("labelled") == state.count("done")
    )


def _write_extxyz(path: Path, state: CampaignState, sources: dict[str, list[str]]) -> None:
    """Every label in the order in which the structures were asked for: energy, forces, stress
    (where periodic).
    """
    text = io.StringIO()
    for record in state.of_kind("label"):
        if record.status != "done":
            continue
        item = labelled_structure(record)
        atoms = with_results(item)
        atoms.info.update(
            name=item.name,
            method_hash=item.label.method_hash,
            scf_steps=item.label.scf_steps,
            attempts=len(record.attempts),
            source=" ".join(sources.get(item.name, [])[:1]),
        )
        if item.label.total_magnetization:
            atoms.info["total_magnetization"] = item.label.total_magnetization
        write(text, atoms, format="extxyz")
    atomic_write(path, text.getvalue())


def quarantined(state: CampaignState, sources: dict[str, list[str]]) -> list[Json]:
    """Structures that were given up, each with all its attempts."""
    records = sorted(state.with_status("quarantined"), key=lambda record: record.order)
    return [_history(record, sources.get(record.task.id, [])) for record in records]


def _history(record: TaskRecord, places: list[str]) -> Json:
    atoms = record.task.payload["candidate"]["atoms"]
    attempts = []
    for attempt in record.attempts:
        failure = attempt.outcome.failure if attempt.outcome else None
        if failure is None or attempt.outcome is None or failure.kind == STOPPED:
            continue
        attempts.append(
            {
                "attempt": attempt.number,
                "class": failure.kind,
                "message": failure.message,
                "evidence": [
                    {"file": e.file, "line": e.line, "text": e.text} for e in failure.evidence
                ],
                "next": attempt.cure,
                "cpu_s": attempt.outcome.cpu_s,
                "folder": layout.attempt_folder(record.task.id, attempt.number),
            }
        )
    last = attempts[-1] if attempts else {"class": "unknown", "message": ""}
    return {
        "task": record.task.id,
        "formula": formula(atoms["numbers"]),
        "sources": places,
        "class": last["class"],
        "message": last["message"],
        "attempts": attempts,
        "structure": atoms,
    }
