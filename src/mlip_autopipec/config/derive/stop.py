"""Limits of the stop, and the budget."""

from __future__ import annotations

import math

from mlip_autopipec.config import cost
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Budget, Plan
from mlip_autopipec.science.stopping import EARLIER, Limits

__all__ = ["UNLIMITED", "derive_budget", "derive_limits", "fitting_budget"]

#: Stands in a plan until its cost is known.
UNLIMITED = Budget(dft_calls=1_000_000, wall_minutes=1e6)

# Times what is expected: half as many calls again; minutes are known to a factor of two.
CALLS_MARGIN, MINUTES_MARGIN = 1.5, 2.0
# Budgets are multiples of this many calls or minutes.
STEP = 10


def derive_limits(why: Reasons) -> Limits:
    """Those of every criterion; no material changes them."""
    limits = Limits()
    for name, field in Limits.model_fields.items():
        if name in EARLIER:
            continue
        why.because(f"convergence.{name}", getattr(limits, name), field.description or "")
    return limits


def fitting_budget(expected: cost.Estimate) -> Budget:
    """What should do for a campaign of that cost."""
    return Budget(
        dft_calls=STEP * math.ceil(CALLS_MARGIN * expected.dft_calls / STEP),
        wall_minutes=float(STEP * math.ceil(MINUTES_MARGIN * expected.wall_minutes / STEP)),
    )


def derive_budget(user: UserInput, plan: Plan, why: Reasons) -> Budget:
    """``plan``: without a limit yet. Each limit is the user's, or follows from what is expected."""
    expected = cost.estimate(plan)
    fitting = fitting_budget(expected)
    calls, minutes = user.budget.dft_calls, user.budget.wall_minutes
    margins = {
        "dft_calls": f"auto: {CALLS_MARGIN:g} times the {expected.dft_calls} expected",
        "wall_minutes": (
            f"auto: {MINUTES_MARGIN:g} times the {expected.wall_minutes:.0f} minutes expected on"
            f" {plan.executor.cores} cores"
        ),
    }
    for name, value in (("dft_calls", calls), ("wall_minutes", minutes)):
        told = margins[name] if value == "auto" else "given"
        why.because(f"budget.{name}", value, f"{told}; may be raised later")
    return Budget(
        dft_calls=fitting.dft_calls if calls == "auto" else calls,
        wall_minutes=fitting.wall_minutes if minutes == "auto" else minutes,
    )
