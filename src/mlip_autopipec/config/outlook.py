"""What one will have at a given budget."""

from __future__ import annotations

from dataclasses import dataclass

from mlip_autopipec.config import cost
from mlip_autopipec.config.derive.selection import first_labels
from mlip_autopipec.config.derive.stop import fitting_budget
from mlip_autopipec.config.plan import Plan

__all__ = ["Outlook", "outlook"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """``rounds``: of labels from MD that the budget pays for after the first fit, None where it
    does not reach that far; ``text``: the same in words.
    """

    rounds: int | None
    text: str


def outlook(plan: Plan) -> Outlook:
    """By the plan's estimate with as many first labels as its material should have."""
    expected = cost.estimate(_with_all_first_labels(plan))
    budget, better = plan.budget, fitting_budget(expected)
    proposal = f"{better.dft_calls} calls and {better.wall_minutes:g} minutes should do"
    if (
        budget.dft_calls < expected.first_fit_calls
        or budget.wall_minutes < expected.first_fit_minutes
    ):
        return Outlook(
            None,
            f"too small for a good first fit, which takes about {expected.first_fit_calls} calls"
            f" and {expected.first_fit_minutes:.0f} minutes; {proposal}",
        )
    rounds = min(
        _share(budget.dft_calls, expected.first_fit_calls, expected.dft_calls),
        _share(budget.wall_minutes, expected.first_fit_minutes, expected.wall_minutes),
    )
    if rounds < cost.ROUNDS:
        text = f"a first fit and {rounds} of about {cost.ROUNDS} rounds of labels from MD"
        return Outlook(rounds, f"{text}; {proposal}")
    return Outlook(rounds, f"a first fit and the {cost.ROUNDS} rounds from MD that are expected")


def _share(limit: float, first: float, whole: float) -> int:
    """Rounds that a limit pays for."""
    one = (whole - first) / cost.ROUNDS
    return min(cost.ROUNDS, int((limit - first) / one + 1e-9))


def _with_all_first_labels(plan: Plan) -> Plan:
    """A budget may have left the plan with fewer."""
    asked = [
        condition.temperature_k
        for condition in plan.exploration.conditions
        if condition.role == "asked"
    ]
    count = max(plan.selection.initial_count, first_labels(plan.goal, plan.material, asked)[0])
    selection = plan.selection.model_copy(update={"initial_count": count})
    return plan.model_copy(update={"selection": selection})
