"""How many candidates are picked, and when."""

from __future__ import annotations

from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Selection

__all__ = ["derive_selection"]


def derive_selection(user: UserInput, points: int, why: Reasons) -> Selection:
    calls = user.budget.dft_calls
    initial, reason = 36, "spans prototypes, strain, rattle and melt; enough for a first fit"
    if calls < 52:
        initial = max(8, (calls - points) * 2 // 3)
        reason = (
            f"two thirds of the {calls} calls that the budget leaves beside the {points} of the"
            " validation"
        )
    return Selection(
        initial_count=why.because("selection.initial_count", initial, reason),
        batch_count=why.because(
            "selection.batch_count", 4, "large cells cost minutes: train and look again soon"
        ),
    )
