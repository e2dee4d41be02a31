"""What a person is told of a run, as typed values: the content of ``status.json`` and of
``summary.json``.

The terminal page, the report and the result folder are made of the same values. A string below a
field says what it means, a suffix of its name the unit; ``docs/reference`` is generated from both
(``docs/schema_pages.py``). Names of fields are for outside readers too and stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.typed import from_json, to_json
from mlip_autopipec.report.rows import (
    ConditionReached,
    ConditionRow,
    ExpectedCost,
    FailureRow,
    LabelCounts,
    Limits,
    Pair,
    PotentialRow,
    RunningTask,
    Screen,
    StrategyErrors,
    Target,
    TimedText,
)
from mlip_autopipec.science.calibration import Calibration
from mlip_autopipec.science.hit_rate import HitRate
from mlip_autopipec.science.judgement import JudgedErrors
from mlip_autopipec.science.predictions import Errors
from mlip_autopipec.science.properties.port import PropertyValue
from mlip_autopipec.science.stopping import Verdict

__all__ = [
    "SCHEMA_VERSION",
    "Budget",
    "DriverSign",
    "Status",
    "Summary",
    "TaskCounts",
    "from_json",
    "status_from_json",
    "to_json",
]

SCHEMA_VERSION = 2
"""Of ``status.json`` and ``summary.json``. 1: files that name no version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of the run; null for none."""

    dft_calls: int | None
    """DFT calculations that may be started."""
    wall_minutes: float | None
    """Wall time."""
    dft_calls_used: int = 0
    """DFT calculations started: repairs, convergence checks and validation included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCounts:
    """Tasks by what became of them."""

    all: int | None = None
    """Tasks that were planned; null in files of version 1."""
    queued: int = 0
    """Waiting for a core."""
    running: tuple[RunningTask, ...] = ()
    """At work now."""
    done: dict[str, int] = field(default_factory=dict)
    """Finished, by kind."""
    quarantined: int = 0
    """Given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSign:
    """Whether anybody is at work, judged by who reads the file."""

    state: Literal["running", "silent", "ended", "stopped"]
    """``silent``: alive, but wrote nothing for a minute; ``stopped``: gone before the end."""
    updated_s_ago: float
    """Age of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a run is doing: replaced every few seconds by its driver."""

    version: int = SCHEMA_VERSION
    """Version of this schema."""
    name: str
    """Name of the run."""
    kind: Literal["campaign", "labels"] = "campaign"
    """``labels``: of ``mlip-auto dft``, which only labels."""
    phase: str
    """``generating``, ``labelling``, ``training``, ``exploring`` or ``ended``."""
    end_state: str | None = None
    """How it ended; null while it runs."""
    reason: str | None = None
    """Why it ended."""
    started: float | None = None
    """When the first driver began, seconds since the epoch."""
    updated: float
    """When this file was written, seconds since the epoch."""
    pid: int
    """Process number of the driver."""
    wall_s: float
    """Wall time of all drivers together."""
    budget: Budget
    """Limits, and what was spent."""
    tasks: TaskCounts
    """Tasks by what became of them."""
    labels: LabelCounts
    """Finished labels by purpose."""
    targets: tuple[Target, ...] = ()
    """What the plan promises, and what the newest potential reaches."""
    potentials: tuple[PotentialRow, ...] = ()
    """All potentials, oldest first."""
    conditions: tuple[ConditionRow, ...] = ()
    """MD at each condition of the plan."""
    hit_rate: HitRate | None = None
    """What the surrogate's screen was worth; null before the first labels are there."""
    swaps: int = 0
    """How often running MD took over a newer potential."""
    cutouts: int = 0
    """Periodic cutouts of MD frames that were labelled."""
    failures: tuple[FailureRow, ...] = ()
    """Failures and cures by class, the most frequent first."""
    core_hours: dict[str, float] = field(default_factory=dict)
    """CPU time of ended attempts by kind of task (core hours)."""
    eta_s: float | None = None
    """Wall time left: of a campaign to its convergence, as its plan expects it and with what labels
    really cost, never more than its budget leaves; of a run that only labels, if the rest is like
    what is done. Null where nothing is known yet.
    """
    events: tuple[TimedText, ...] = ()
    """The last happenings, oldest first."""
    driver: DriverSign | None = None
    """Null in the file itself; ``mlip-auto status --json`` fills it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A campaign in numbers: ``result/summary.json``. What is missing is null and named in
    ``notes``.
    """

    version: int = SCHEMA_VERSION
    """Version of this schema."""
    name: str
    """Name of the run."""
    goal: str
    """What the potential is for, as asked."""
    end_state: str | None
    """``converged``, ``budget_exhausted``, ``stalled`` or ``needs_attention``."""
    reason: str
    """Why it ended."""
    wall_s: float
    """Wall time of all drivers together."""
    dft_calls: int
    """DFT calculations started: failed ones, convergence checks and validation included."""
    convergence_calls: int
    """Of these: by the convergence check of the DFT settings."""
    expected: ExpectedCost | None = None
    """What the plan expected; null where that cannot be told any more."""
    labels: LabelCounts
    """Finished labels by purpose."""
    screen: Screen | None
    """The surrogate's screen; null where nothing was generated."""
    potentials: int
    """Potentials that were trained."""
    released: str | None
    """The potential of the result folder."""
    trainer: str | None
    """What fitted it."""
    licence: str | None = None
    """Of the programs that fitted it; null where the trainer does not say."""
    test: Errors
    """Of the released potential, on structures that were held out, or predicted by a fit without
    their group.
    """
    train: Errors
    """The same on structures that it was fitted to."""
    errors_by_strategy: tuple[StrategyErrors, ...]
    """The same by kind of structure."""
    conditions: tuple[ConditionReached, ...] = ()
    """Every condition of MD: whether it is explored, and the errors there."""
    exploration: tuple[ConditionRow, ...] = ()
    """What MD did at every condition, over all visits under all potentials."""
    cross_validation: tuple[JudgedErrors, ...] = ()
    """Errors by kind of structure, each predicted by a fit that had not learned its group."""
    calibration: Calibration | None = None
    """Predicted against true force errors; null where the trainer predicts none."""
    limits: Limits | None = None
    """Whether data or capacity limits the potential; null where the trainer does not say."""
    properties: tuple[PropertyValue, ...]
    """Every number of the validation of the released potential."""
    lattice_constant_a: Pair
    """At rest, of the conventional cell."""
    bulk_modulus_gpa: Pair
    """At rest, from the equation of state."""
    molecule: dict[str, Any] | None = None
    """Of a molecule at rest: bonds, angles and vibrations, by the potential and by DFT."""
    targets: tuple[Target, ...]
    """What the plan promises, and what the released potential reaches."""
    swaps: int
    """How often running MD took over a newer potential."""
    cutouts: int
    """Periodic cutouts of MD frames that were labelled."""
    failed_attempts: int
    """Attempts that failed, of all kinds of tasks."""
    failures: tuple[FailureRow, ...]
    """Failures and cures by class, the most frequent first."""
    overlap_min: float
    """Minutes in which at least two of DFT, training and MD were at work."""
    core_hours: dict[str, float]
    """CPU time of ended attempts by kind of task (core hours)."""
    stop_rules: Verdict | None
    """The conditions of convergence at the end, each with its reason."""
    thresholds: dict[str, Any]
    """Limits of the plan behind targets and stop rules."""
    budget: dict[str, Any]
    """Limits of the run."""
    method_hash: str
    """Identity of the DFT method of all labels."""
    plan_hash: str
    """Identity of the plan."""
    versions: dict[str, str]
    """Versions of the programs and packages that took part."""
    files: tuple[str, ...]
    """Files of the result folder."""
    notes: tuple[str, ...]
    """What is missing, or other than planned."""


# --- JSON


def status_from_json(data: Any, file: Path) -> Status:
    """The content of a ``status.json`` of this version or of an earlier one.

    Version 1 counted failures and kept their table under ``healing``. Raises ValueError for what is
    no status, CampaignStateError for one of a later version.
    """
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    version = data.get("version", 1)
    if not isinstance(version, int):
        raise ValueError(f"its version is no number but {version!r}")
    if version > SCHEMA_VERSION:
        raise CampaignStateError(
            f"{file}: a status of version {version}, and this mlip-auto knows versions up to"
            f" {SCHEMA_VERSION}; look at it with the mlip-auto that wrote it, or a newer one"
        )
    if version == 1:
        data = {**data, "failures": data.get("healing", [])}
    return from_json(Status, data)
