"""What a user may choose about labels, and how it is written on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.problems import validate
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.label_plan import LabelBudget
from mlip_autopipec.config.plan import DftPlan, ExecutorPlan
from mlip_autopipec.config.yaml import read_yaml_mapping
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import Converges

__all__ = [
    "Options",
    "asking_for_check",
    "converging",
    "parse_arguments",
    "parse_budget",
    "parse_settings",
    "read_executor",
]


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose. ``elements``: further ones that the method should serve, for files to
    be added later.

    ``settings`` replace derived values of the method; ``cores``: None takes every core this process
    may use.
    ``executor``: where to calculate (a cluster's queue); None: where the folder was begun, else
    this machine.
    ``family``, ``calculator`` and ``arguments`` are wishes of the engines that have them.
    ``converge``: choose cutoff and k-points by a series on one of the structures, in
    ``convergence/`` of the folder.
    """

    family: str | None = None
    elements: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    engine: str | None = None
    calculator: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    converge: bool = False
    cores: int | None = None
    executor: ExecutorPlan | None = None
    budget: LabelBudget = field(default_factory=LabelBudget)

    def wishes(self) -> Json:
        """What has an option of its own among the wishes of an engine."""
        named = {
            "family": self.family,
            "calculator": self.calculator,
            "arguments": dict(self.arguments),
        }
        return {key: value for key, value in named.items() if value}


def converging(name: str) -> Converges:
    """The DFT code of this name. Raises InputError where it has no settings to converge."""
    engine = registry.dft_engine(name)
    if not isinstance(engine, Converges):
        raise InputError(
            f"{engine.title} has no settings to converge", key="--converge", value=name
        )
    return engine


def asking_for_check(dft: DftPlan, settings: Mapping[str, Any]) -> DftPlan:
    """The method with a check to come. Raises InputError where nothing is left to choose."""
    for key in converging(dft.engine).chosen:
        if key in settings:
            raise InputError(
                "is what --converge chooses", key=f"--set {key}", hint="give one of the two"
            )
    return dft.model_copy(update={"convergence": "check"})


def parse_budget(text: str | None) -> LabelBudget:
    """``"200"``: calculations; ``"90min"``, ``"8h"``: wall time; both: ``"200,8h"``.

    Raises InputError.
    """
    calls: int | None = None
    minutes: float | None = None
    for part in (text or "").replace(" ", "").split(",") if text else []:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(min|m|h|d)?", part)
        number = float(found[1]) if found else 0.0
        if found is None or number <= 0 or (not found[2] and not number.is_integer()):
            raise InputError(
                "not a budget",
                key="--budget",
                value=text,
                hint="write 200 (calculations), 90min or 8h",
            )
        if found[2]:
            minutes = number * {"min": 1, "m": 1, "h": 60, "d": 1440}[found[2]]
        else:
            calls = int(number)
    return LabelBudget(dft_calls=calls, wall_minutes=minutes)


def read_executor(path: Path | None) -> ExecutorPlan | None:
    """The section ``executor`` of a YAML file, or a file that holds nothing but its keys.

    Raises InputError.
    """
    if path is None:
        return None
    data = read_yaml_mapping(path)
    section = data.get("executor", data)
    return validate(
        ExecutorPlan, section if isinstance(section, Mapping) else {"executor": section}, path
    )


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """``["cutoff_ry=40", "kmesh_shifted=true"]`` as values. Raises InputError."""
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not value:
            raise InputError(
                "not a setting",
                key="--set",
                value=text,
                hint="write KEY=VALUE, for example cutoff_ry=40",
            )
        found[key.strip()] = {"true": True, "false": False}.get(
            value.strip().lower(), value.strip()
        )
    return found


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """``["method=GFN2-xTB", "accuracy=0.1", "kpts=[2, 2, 2]"]`` as values: JSON where it is, else
    text.

    Raises InputError.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not key:
            hint = "write KEY=VALUE, for example method=GFN2-xTB"
            raise InputError(
                "not an argument of a calculator", key="--argument", value=text, hint=hint
            )
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = {"True": True, "False": False, "None": None}.get(value, value)
    return found
