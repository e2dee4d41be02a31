"""From the plan's ``executor`` section to an executor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlip_autopipec.config.executors import EXECUTORS
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.runtime.executors.ports import Executor, ExecutorSetup

__all__ = ["opened"]


@contextmanager
def opened(plan: Plan | LabelPlan, root: Path) -> Iterator[Executor]:
    """The executor of ``plan`` for the run folder ``root``; it is closed at the end, however that
    comes (blocks of a cluster are cancelled).

    Raises InputError for an executor that nobody knows, or when a block is too small for one
    calculation; MissingProgramError when Parsl is not installed.
    """
    setup = ExecutorSetup(root, plan.executor, plan.dft.cores, plan.dft.walltime_s)
    executor: Executor = EXECUTORS.find(plan.executor.name)(setup)
    try:
        yield executor
    finally:
        close = getattr(executor, "close", None)
        if close is not None:
            close()
