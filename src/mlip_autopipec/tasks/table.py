"""Which function does a task of which kind. Each loads its own packages when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlip_autopipec.base.tasks import Outcome, TaskKind, TaskSpec
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.runtime.worker import Handler

__all__ = ["HANDLERS"]


def _generate(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    from mlip_autopipec.tasks.generate import run

    return run(spec, plan, folder)


def _select(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    from mlip_autopipec.tasks.select import run

    return run(spec, plan, folder)


def _label(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    from mlip_autopipec.tasks.label import run

    return run(spec, plan, folder)


def _train(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    from mlip_autopipec.tasks.train import run

    return run(spec, plan, folder)


def _explore(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    from mlip_autopipec.tasks.explore import run

    return run(spec, plan, folder)


def _harvest(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    from mlip_autopipec.tasks.harvest import run

    return run(spec, plan, folder)


def _validate(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    from mlip_autopipec.tasks.validate import run

    return run(spec, plan, folder)


def _hit_rate(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    from mlip_autopipec.tasks.hit_rate import run

    return run(spec, plan, folder)


HANDLERS: Mapping[TaskKind, Handler] = {
    "generate": _generate,
    "select": _select,
    "label": _label,
    "train": _train,
    "explore": _explore,
    "harvest": _harvest,
    "validate": _validate,
    "hit_rate": _hit_rate,
}
