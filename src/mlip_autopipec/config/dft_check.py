"""The convergence check of DFT settings: what it depends on, and what follows from its result. Of
files only its result is read here.

``dft.convergence`` of a plan says ``check`` until the series has been run, ``checked`` once its
choice stands there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.typed import from_json
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.config import cost
from mlip_autopipec.config.dft_plan import DftPlan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.dft_series import Series

__all__ = [
    "FOLDER",
    "RESULT",
    "CheckResult",
    "KnobSeries",
    "Limits",
    "key_of",
    "reasons_of",
    "stored",
    "with_choice",
    "with_result",
]

#: Where the series lies, in the run folder, and its table there.
FOLDER, RESULT = "convergence", "convergence.json"


@dataclass(frozen=True, slots=True)
class KnobSeries(Series):
    """The series of one setting, and how it is told of.

    ``title``: the setting for people ("" in early files); ``in_step``: other settings that follow
    it, each with its factor.
    """

    title: str = ""
    in_step: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """Errors against the tightest setting up to which a setting holds."""

    force_mev_per_a: float
    energy_mev_per_atom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What the series of a method said: the content of ``convergence.json``.

    ``method`` (of a label job) has the settings in ``chosen``; ``derived`` holds those that the
    series began with; ``calculations``: as they were started, repairs included; ``key``: what the
    series belongs to.
    """

    formula: str
    method: Json
    method_hash: str
    chosen: Mapping[str, float]
    limits: Limits
    series: tuple[KnobSeries, ...]
    calculations: int
    wall_s: float
    cpu_s: float
    derived: Mapping[str, float] = field(default_factory=dict)
    key: str | None = None


def stored(root: Path) -> CheckResult | None:
    """The check that was made in a run folder; None without one.

    Raises InputError for a file that is none.
    """
    table = root / FOLDER / RESULT
    if not table.exists():
        return None
    try:
        return from_json(CheckResult, read_json(table))
    except ValueError as error:
        hint = "remove it: the check is made again, from the calculations that are there"
        raise InputError(f"is no convergence check: {error}", file=table, hint=hint) from None


def key_of(plan: Plan) -> str:
    """Everything the series depends on, as a hash: plans with the same one share a series."""
    return content_hash(
        {
            "method": plan.dft.label_method(),
            "material": plan.material.model_dump(mode="json"),
            "seed": plan.seed,
        }
    )


def with_choice(dft: DftPlan, chosen: Mapping[str, float]) -> DftPlan:
    """The settings with those that the series chose."""
    return dft.with_method(**chosen).model_copy(update={"convergence": "checked"})


def reasons_of(derived: DftPlan, result: CheckResult) -> dict[str, str]:
    """Dotted key -> why, for what the series chose in place of ``derived``."""
    method = derived.method.model_dump(mode="json")
    reasons = {
        f"dft.method.{item.setting}": (
            f"checked: {item.reason} (derived: {method[item.setting]:g})"
        )
        for item in result.series
    }
    for item in result.series:
        for key, factor in item.in_step.items():
            reasons[f"dft.method.{key}"] = f"{factor:g} x the checked {item.setting}"
    reasons["dft.convergence"] = (
        f"series on {result.formula}, {result.calculations} calculations: {FOLDER}/"
    )
    return reasons


def with_result(
    plan: Plan, reasons: Mapping[str, str], result: CheckResult
) -> tuple[Plan, dict[str, str]]:
    """A campaign's plan and its reasons with the choice of the series; the wall time follows where
    labels cost more.

    All else stays as it was planned: sizes of cells were chosen by the cost of the derived
    settings.
    """
    dft, found = with_choice(plan.dft, result.chosen), {**reasons, **reasons_of(plan.dft, result)}
    limit = cost.attempt_s(dft, [cost.cell_size(plan.material, plan.embedding.largest_atoms)])
    if limit > dft.walltime_s:
        dft = dft.model_copy(update={"walltime_s": limit})
        found["dft.walltime_s"] = (
            "one attempt: five times what the largest label should take as checked"
        )
    return plan.model_copy(update={"dft": dft}), found
