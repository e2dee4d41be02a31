"""From a file that the user names (input.yaml or plan.yaml) to the plan to be executed and its run
folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.config import dft_check
from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.derive.surrogate import AUTO
from mlip_autopipec.config.input import parse_user_input
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.yaml import (
    is_plan,
    is_untouched,
    load_plan,
    load_reasons,
    read_yaml_mapping,
    validate,
)

__all__ = [
    "PreparedPlan",
    "check_same_plan",
    "differences",
    "load",
    "may_write",
    "with_stored_check",
]


@dataclass(frozen=True, slots=True)
class PreparedPlan:
    """A plan, the reasons for its numbers, the run folder it belongs to and the file it was made
    from.
    """

    plan: Plan
    reasons: dict[str, str]
    root: Path
    source: Path


def load(path: Path, *, runs_dir: Path, cores: int | None) -> PreparedPlan:
    """Read ``path``. The run folder is ``runs_dir/<name>``, or the folder of a plan.yaml that lies
    in its own one.

    ``cores``: None takes the plan's, or every core this process may use. Settings that a
    convergence check chose in the run folder are in the plan already. Raises InputError.
    """
    data = read_yaml_mapping(path)
    if is_plan(data):
        plan, reasons = validate(Plan, data, path), load_reasons(path)
        folder = path.resolve().parent
        own = path.name == "plan.yaml" and folder.name == plan.name
        root = folder if own else (runs_dir / plan.name).resolve()
        if cores is not None:
            executor = plan.executor.model_copy(update={"cores": cores})
            plan = plan.model_copy(update={"executor": executor})
        return with_stored_check(PreparedPlan(plan, reasons, root, path))
    try:
        user = parse_user_input(data, path)
        plan, reasons = derive(user, cores=cores or len(os.sched_getaffinity(0)))
    except InputError as error:
        raise (
            error
            if error.file
            else InputError(
                error.message, file=path, key=error.key, value=error.value, hint=error.hint
            )
        ) from None
    prepared = PreparedPlan(plan, reasons, (runs_dir / plan.name).resolve(), path)
    return with_stored_check(
        prepared if user.surrogate.engine != AUTO else _with_begun_surrogate(prepared)
    )


def _with_begun_surrogate(prepared: PreparedPlan) -> PreparedPlan:
    """The plan with the surrogate that its run began with: what is installed here may have changed
    since.
    """
    path = prepared.root / "plan.yaml"
    if not (path.exists() and (prepared.root / "plan.json").exists()):
        return prepared
    surrogate = load_plan(path).surrogate
    if surrogate == prepared.plan.surrogate:
        return prepared
    reasons = {**prepared.reasons, "surrogate.engine": "chosen when the run began"}
    return replace(
        prepared, plan=prepared.plan.model_copy(update={"surrogate": surrogate}), reasons=reasons
    )


def with_stored_check(prepared: PreparedPlan) -> PreparedPlan:
    """The plan with the settings that its convergence check chose, if that was made in its run
    folder already.
    """
    table = prepared.root / dft_check.FOLDER / dft_check.RESULT
    if prepared.plan.dft.convergence != "check" or not table.exists():
        return prepared
    result = read_json(table)
    if result.get("key") != dft_check.key_of(prepared.plan):
        return prepared
    plan, reasons = dft_check.with_result(prepared.plan, prepared.reasons, result)
    return replace(prepared, plan=plan, reasons=reasons)


def check_same_plan(prepared: PreparedPlan) -> None:
    """Raises InputError when the run folder holds another plan already (budget and cores may
    differ).

    A plan.yaml that was derived, but neither edited nor begun, may be replaced.
    """
    path, begun = prepared.root / "plan.yaml", (prepared.root / "plan.json").exists()
    if (
        not path.exists()
        or path.resolve() == prepared.source.resolve()
        or (not begun and is_untouched(path))
    ):
        return
    old = load_plan(path)
    if old.hash != prepared.plan.hash:
        changed = differences(old, prepared.plan)
        shown = ", ".join(changed[:3]) + (
            f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        )
        raise InputError(
            f"{prepared.root} belongs to another plan: {shown} differ",
            file=prepared.source,
            hint=f"choose another 'name', or go on with that plan: mlip-auto run {path}",
        )


def may_write(path: Path) -> bool:
    """True where no plan.yaml lies yet, or one that nobody edited."""
    return not path.exists() or is_untouched(path)


def differences(old: Plan, new: Plan) -> list[str]:
    """Dotted keys in which two plans differ, apart from budget and executor."""
    left, right = (
        _flat(plan.model_dump(mode="json", exclude={"budget", "executor"})) for plan in (old, new)
    )
    return [key for key in {**left, **right} if left.get(key) != right.get(key)]


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
