"""From the plan's ``executor`` section to an executor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.runtime.executors.local import LocalExecutor
from mlip_autopipec.runtime.executors.ports import Executor

__all__ = ["opened"]


@contextmanager
def opened(plan: Plan | LabelPlan, root: Path) -> Iterator[Executor]:
    """The executor of ``plan`` for the run folder ``root``; its blocks are cancelled at the end,
    however it comes.

    Raises MissingProgramError when Parsl is not installed, InputError when a block is too small for
    one calculation.
    """
    if plan.executor.name == "local":
        yield LocalExecutor()
        return
    from mlip_autopipec.runtime.executors.parsl.executor import ParslExecutor

    executor = ParslExecutor(
        root, plan.executor, task_cores=plan.dft.cores, reserve_s=plan.dft.walltime_s
    )
    try:
        yield executor
    finally:
        executor.close()
