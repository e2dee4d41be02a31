"""A run that was begun keeps its plan: later rules may derive other numbers from the same input.

What a person asked for lies in ``input.json`` of the run folder, beside the plan that was made from
it. Defaults and limits are left out, so that a key that a later version adds, more DFT calls or
other cores ask for the same. Folders that were begun before that file existed are judged by what
the plan says was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Plan

__all__ = [
    "LIMITS",
    "differences",
    "keep_question",
    "question_of",
    "same_choices",
    "stored_question",
]

LIMITS = frozenset({"budget", "executor"})
"""What may be changed before a run is gone on with."""

_FILE = "input.json"
_QUESTION = "input"


def question_of(user: UserInput) -> Json:
    """What is asked for, in plain data; the same for inputs that differ in limits and defaults
    alone.
    """
    asked: Json = user.model_dump(mode="json", exclude_defaults=True, exclude=set(LIMITS))
    return asked


def keep_question(root: Path, question: Json | None) -> None:
    """Write down what the run that is about to begin was asked; None: it begins from a plan."""
    write_json(root / _FILE, {"version": 1, _QUESTION: question})


def stored_question(root: Path) -> tuple[bool, Json | None]:
    """Whether the run folder knows what it was asked, and that; None where it began from a
    plan.
    """
    path = root / _FILE
    return (True, read_json(path)[_QUESTION]) if path.exists() else (False, None)


def same_choices(
    begun: Plan, begun_reasons: Mapping[str, str], plan: Plan, reasons: Mapping[str, str]
) -> bool:
    """Whether two plans agree in all that a person chose, be it derived otherwise in all the rest.

    Reasons (dotted key -> text) tell what was given. For folders that do not know what they were
    asked.
    """
    old, new = _flat(begun.model_dump(mode="json")), _flat(plan.model_dump(mode="json"))
    given = {
        key
        for found in (begun_reasons, reasons)
        for key, reason in found.items()
        if reason.startswith("given") and key.partition(".")[0] not in LIMITS
    }
    asked = ("name", "goal", "seed")
    return (
        begun.material == plan.material
        and _conditions(begun) == _conditions(plan)
        and (begun.dft.convergence == "derived") == (plan.dft.convergence == "derived")
        and all(old.get(key) == new.get(key) for key in (*asked, *given))
    )


def _conditions(plan: Plan) -> set[tuple[float, float]]:
    """Temperatures and pressures that were asked for; margins follow from them, and so do runs at
    fixed volume where there are others.
    """
    asked = [item for item in plan.exploration.conditions if item.role == "asked"]
    moving = [item for item in asked if item.ensemble == "npt"]
    return {(item.temperature_k, item.pressure_gpa) for item in moving or asked}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Dotted keys in which two plans or questions differ, apart from limits."""
    left, right = (
        _flat({key: value for key, value in data.items() if key not in LIMITS})
        for data in (old, new)
    )
    return [key for key in {**left, **right} if left.get(key) != right.get(key)]


def _flat(data: Mapping[str, Any], prefix: str = "") -> Json:
    flat: Json = {}
    for key, value in data.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
