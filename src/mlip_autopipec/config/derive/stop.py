"""Limits of the stop, and the budget."""

from __future__ import annotations

from collections.abc import Mapping

from mlip_autopipec.config.derive.reasons import Reasons, given
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Budget
from mlip_autopipec.science.stopping import Limits

__all__ = ["derive_budget", "derive_limits"]


def derive_limits(why: Reasons) -> Limits:
    """Those of every criterion; no material changes them."""
    limits = Limits()
    for name, field in Limits.model_fields.items():
        why.because(f"convergence.{name}", getattr(limits, name), field.description or "")
    return limits


def derive_budget(user: UserInput, why: Reasons) -> Budget:
    told: Mapping[str, str] = {
        key: given(user.budget, key) for key in ("dft_calls", "wall_minutes")
    }
    return Budget(
        dft_calls=why.because(
            "budget.dft_calls", user.budget.dft_calls, f"{told['dft_calls']}; may be raised later"
        ),
        wall_minutes=why.because(
            "budget.wall_minutes",
            user.budget.wall_minutes,
            f"{told['wall_minutes']}; may be raised later",
        ),
    )
