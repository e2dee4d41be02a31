"""Where tasks run, and on how many cores."""

from __future__ import annotations

from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.executors import CLUSTERS, ExecutorPlan
from mlip_autopipec.config.input import UserInput

__all__ = ["derive_executor"]


def derive_executor(user: UserInput, cores: int, why: Reasons) -> ExecutorPlan:
    """``cores``: of this machine that may work at once."""
    asked = user.executor
    reason = "cores that may work at once here"
    if asked.cores is not None:
        reason = "given"
    elif asked.name in CLUSTERS:
        reason = "of all blocks together"
    for key in asked.model_fields_set - {"cores"}:
        why.because(f"executor.{key}", None, "given")
    plan = asked.planned(cores)
    why.because("executor.cores", plan.cores, reason)
    return plan
