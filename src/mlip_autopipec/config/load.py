"""From a file that the user names (input.yaml or plan.yaml) to the plan to be executed and its run
folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.values import Json
from mlip_autopipec.config import begun, dft_check
from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.input import parse_user_input
from mlip_autopipec.config.label_plan import read_plan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.sections import BudgetInput
from mlip_autopipec.config.yaml import (
    is_plan,
    is_untouched,
    load_plan,
    load_reasons,
    read_yaml_mapping,
)

__all__ = [
    "PreparedPlan",
    "check_same_plan",
    "load",
    "may_write",
    "with_stored_check",
]


@dataclass(frozen=True, slots=True)
class PreparedPlan:
    """A plan, the reasons for its numbers, the run folder it belongs to and the file it was made
    from.

    ``question``: what a person asked for (see :mod:`mlip_autopipec.config.begun`); None where the
    file was a plan.
    """

    plan: Plan
    reasons: dict[str, str]
    root: Path
    source: Path
    question: Json | None = None


def load(path: Path, *, runs_dir: Path, cores: int | None) -> PreparedPlan:
    """Read ``path``. The run folder is ``runs_dir/<name>``, or the folder of a plan.yaml that lies
    in its own one.

    ``cores``: None takes the plan's, or every core this process may use. Settings that a
    convergence check chose in the run folder are in the plan already. Raises InputError.
    """
    data = read_yaml_mapping(path)
    if is_plan(data):
        plan, reasons = load_plan(path), load_reasons(path)
        folder = path.resolve().parent
        own = path.name == "plan.yaml" and folder.name == plan.name
        root = folder if own else (runs_dir / plan.name).resolve()
        plan = _with_cores(plan, cores)
        return with_stored_check(PreparedPlan(plan, reasons, root, path))
    try:
        user = parse_user_input(data, path)
        plan, reasons = derive(user, cores=cores or len(os.sched_getaffinity(0)))
        plan = _with_cores(plan, cores)
    except InputError as error:
        raise (
            error
            if error.file
            else InputError(
                error.message, file=path, key=error.key, value=error.value, hint=error.hint
            )
        ) from None
    root = (runs_dir / plan.name).resolve()
    prepared = PreparedPlan(plan, reasons, root, path, begun.question_of(user))
    return _as_begun(prepared, user.budget) or with_stored_check(prepared)


def _with_cores(plan: Plan, cores: int | None) -> Plan:
    """The plan with other cores than its own, where they are given."""
    if cores is None:
        return plan
    executor = plan.executor.model_copy(update={"cores": cores})
    return plan.model_copy(update={"executor": executor})


def _as_begun(prepared: PreparedPlan, asked: BudgetInput) -> PreparedPlan | None:
    """The plan that the run folder was begun with, under today's limits; None where nothing was
    begun there, or something else was asked for.

    A limit that is left to the plan stays what it was.
    """
    path = prepared.root / "plan.json"
    stored = read_plan(path) if path.exists() else None
    if not isinstance(stored, Plan):
        return None
    yaml_file = prepared.root / "plan.yaml"
    reasons = load_reasons(yaml_file) if yaml_file.exists() else {}
    known, question = begun.stored_question(prepared.root)
    same = (
        question == prepared.question
        if known
        else begun.same_choices(stored, reasons, prepared.plan, prepared.reasons)
    )
    if not same:
        return None
    kept = {key: value for key, value in stored.budget if getattr(asked, key) == "auto"}
    limits = {name: getattr(prepared.plan, name) for name in begun.LIMITS}
    limits["budget"] = limits["budget"].model_copy(update=kept)
    limits_reasons = {
        key: reason
        for key, reason in prepared.reasons.items()
        if key.partition(".")[0] in begun.LIMITS and key.removeprefix("budget.") not in kept
    }
    return replace(
        prepared,
        plan=stored.model_copy(update=limits),
        reasons={**(reasons or prepared.reasons), **limits_reasons},
    )


def with_stored_check(prepared: PreparedPlan) -> PreparedPlan:
    """The plan with the settings that its convergence check chose, if that was made in its run
    folder already.
    """
    if prepared.plan.dft.convergence != "check":
        return prepared
    result = dft_check.stored(prepared.root)
    if result is None or result.key != dft_check.key_of(prepared.plan):
        return prepared
    plan, reasons = dft_check.with_result(prepared.plan, prepared.reasons, result)
    return replace(prepared, plan=plan, reasons=reasons)


def check_same_plan(prepared: PreparedPlan) -> None:
    """Raises InputError when the run folder holds another plan already (budget and cores may
    differ).

    A plan.yaml that was derived, but neither edited nor begun, may be replaced.
    """
    path, is_begun = prepared.root / "plan.yaml", (prepared.root / "plan.json").exists()
    if (
        not path.exists()
        or path.resolve() == prepared.source.resolve()
        or (not is_begun and is_untouched(path))
    ):
        return
    old = load_plan(path)
    if old.hash != prepared.plan.hash:
        changed = _changed(old, prepared)
        shown = ", ".join(changed[:3]) + (
            f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        )
        raise InputError(
            f"{prepared.root} belongs to another plan: {shown} differ",
            file=prepared.source,
            hint=f"choose another 'name', or go on with that plan: mlip-auto run {path}",
        )


def _changed(old: Plan, prepared: PreparedPlan) -> list[str]:
    """Dotted keys that a person changed, where that is known; else those in which the plans
    differ.
    """
    _, asked = begun.stored_question(prepared.root)
    if asked is not None and prepared.question is not None and asked != prepared.question:
        return begun.differences(asked, prepared.question)
    return begun.differences(*(plan.model_dump(mode="json") for plan in (old, prepared.plan)))


def may_write(path: Path) -> bool:
    """True where no plan.yaml lies yet, or one that nobody edited."""
    return not path.exists() or is_untouched(path)
