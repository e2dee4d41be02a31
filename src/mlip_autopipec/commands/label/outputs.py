"""What a labelling campaign leaves: labels.extxyz, quarantine.json, summary.json (dataset.db is
kept by the driver).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ase import Atoms
from ase.io import write
from pydantic import Field

from mlip_autopipec.base.files import atomic_write, read_json, write_json
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.tasks import Evidence
from mlip_autopipec.campaign.labelled import labelled_structure
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.report import status
from mlip_autopipec.report.failures import core_hours_lost, failure_rows, failures_of
from mlip_autopipec.report.rows import FailureRow
from mlip_autopipec.report.values import SCHEMA_VERSION, to_json
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.dataset_db import with_results

__all__ = [
    "EXTXYZ",
    "PARAMETERS",
    "QUARANTINE",
    "SOURCES",
    "SUMMARY",
    "LabelSummary",
    "NotBegun",
    "Quarantined",
    "formula",
    "quarantined",
    "write_outputs",
]

EXTXYZ, QUARANTINE, SUMMARY = "labels.extxyz", "quarantine.json", "summary.json"
PARAMETERS, SOURCES = "parameters.yaml", "sources.json"


def formula(numbers: Sequence[int]) -> str:
    return str(Atoms(numbers=numbers).get_chemical_formula())


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCounts:
    """Structures of one call."""

    structures: int
    """That were asked for."""
    labelled: int
    """Labelled, in this call or before."""
    quarantined: int
    """Given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFiles:
    """Where the results lie."""

    database: str
    """The ASE database."""
    extxyz: str
    """The same labels as extended XYZ."""
    quarantine: str
    """What was given up, with all attempts."""
    parameters: str
    """The method, with the reason of every number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """A folder of labels in numbers: its ``summary.json``."""

    version: int = SCHEMA_VERSION
    """Version of this schema."""
    end_state: str | None
    """``complete``, ``budget_exhausted`` or ``needs_attention``; null when the user stopped it."""
    reason: str
    """Why it ended."""
    folder: str
    """The folder."""
    structures: int
    """Different structures that were asked for, in all calls."""
    labelled: int
    """Of these: labelled."""
    quarantined: int
    """Of these: given up."""
    left: int
    """Of these: not ended yet."""
    of_this_call: CallCounts
    """The same of the last call."""
    calculations: int
    """DFT calculations started, repairs included."""
    core_hours: float
    """CPU time of ended attempts."""
    core_hours_lost: float
    """Of this: by attempts that failed."""
    wall_s: float
    """Wall time of all calls together."""
    method_hash: str
    """Identity of the DFT method."""
    method: dict[str, Any]
    """The DFT method."""
    failures: tuple[FailureRow, ...]
    """Failures and cures by class, the most frequent first."""
    files: LabelFiles
    """Where the results lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBegun:
    """A call that got no further than its convergence check; nothing was labelled by it."""

    end_state: str = "needs_attention"
    reason: str
    folder: str
    structures: int
    labelled: int = 0
    quarantined: int = 0
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """An attempt of a structure that was given up."""

    attempt: int
    """Its number, from 1."""
    kind: Annotated[str, Field(alias="class")]
    """Class of the failure."""
    message: str
    """What was said of it."""
    evidence: tuple[Evidence, ...]
    """Lines of the output that show it."""
    next: str | None
    """What the next attempt did differently."""
    cpu_s: float
    """CPU time."""
    folder: str
    """Its folder, relative to the folder of labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A structure that was given up: an entry of ``quarantine.json``."""

    task: str
    """Id of its task."""
    formula: str
    """Chemical formula."""
    sources: tuple[str, ...]
    """Where the structure was found."""
    kind: Annotated[str, Field(alias="class")]
    """Class of the last failure."""
    message: str
    """What was said of it."""
    attempts: tuple[FailedAttempt, ...]
    """All attempts that failed."""
    structure: dict[str, Any]
    """The structure, as :func:`mlip_autopipec.base.structures.atoms_from_json` reads it."""


def write_outputs(
    root: Path,
    plan: LabelPlan,
    state: CampaignState,
    asked: Sequence[str],
    elapsed_s: float,
    word: Callable[[str | None], str | None],
) -> LabelSummary:
    """Write the three files and return the summary. ``asked``: ids of the tasks of this call."""
    path = root / SOURCES
    sources: dict[str, list[str]] = read_json(path) if path.exists() else {}
    if not _complete(root, state):
        _write_extxyz(root / EXTXYZ, state, sources)
    write_json(root / QUARANTINE, [to_json(item) for item in quarantined(state, sources)])
    table = failure_rows(state)
    of_call = [state.tasks[name].status for name in asked if name in state.tasks]
    summary = LabelSummary(
        end_state=word(state.end.end_state) if state.end else None,
        reason=state.end.reason if state.end else "stopped by the user; the same command goes on",
        folder=str(root),
        structures=len(state.tasks),
        labelled=state.count("done"),
        quarantined=state.count("quarantined"),
        left=state.count("queued") + state.count("running"),
        of_this_call=CallCounts(
            structures=len(asked),
            labelled=of_call.count("done"),
            quarantined=of_call.count("quarantined"),
        ),
        calculations=state.dft_calls,
        core_hours=sum(status.core_hours(state).values()),
        core_hours_lost=core_hours_lost(table),
        wall_s=elapsed_s,
        method_hash=plan.dft.method_hash,
        method=plan.dft.label_method(),
        failures=table,
        files=LabelFiles(
            database=str(root / layout.DATASET),
            extxyz=str(root / EXTXYZ),
            quarantine=str(root / QUARANTINE),
            parameters=str(root / PARAMETERS),
        ),
    )
    write_json(root / SUMMARY, to_json(summary))
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


def quarantined(state: CampaignState, sources: dict[str, list[str]]) -> list[Quarantined]:
    """Structures that were given up, each with all its attempts."""
    records = sorted(state.with_status("quarantined"), key=lambda record: record.order)
    return [_quarantined(record, sources.get(record.task.id, [])) for record in records]


def _quarantined(record: TaskRecord, places: list[str]) -> Quarantined:
    label = record.asked(LabelPayload)
    attempts = tuple(
        FailedAttempt(
            attempt=attempt.number,
            kind=failure.kind,
            message=failure.message,
            evidence=failure.evidence,
            next=attempt.cure,
            cpu_s=attempt.outcome.cpu_s if attempt.outcome else 0.0,
            folder=layout.attempt_folder(record.task.id, attempt.number),
        )
        for attempt, failure in failures_of(record)
    )
    return Quarantined(
        task=record.task.id,
        formula=formula(label.numbers),
        sources=tuple(places),
        kind=attempts[-1].kind if attempts else "unknown",
        message=attempts[-1].message if attempts else "",
        attempts=attempts,
        structure=atoms_to_json(label.candidate.atoms),
    )
