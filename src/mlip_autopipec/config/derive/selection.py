"""How many candidates are picked, and when."""

from __future__ import annotations

from mlip_autopipec.config.derive.generation import CALLED, Form, atoms_and_dimers, form_of
from mlip_autopipec.config.derive.material import temperatures_k
from mlip_autopipec.config.derive.melting import melting_of
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Material, Selection

__all__ = ["derive_selection", "first_labels"]

# First labels beside atoms and dimers. Silicon's calm kinds held out: 18 labels 8 meV/atom and
# 113 meV/Å, 22 6 and 97, 31 4 and 90; the later ones are better drawn from MD.
FIRST_LABELS: dict[Form, int] = {
    "element": 17,
    "compound": 24,
    "solid_solution": 28,
    "molecule": 24,
}
# For a liquid besides, and for every element after the second.
LIQUID_LABELS, ELEMENT_LABELS = 6, 6
# Whatever the budget is: fewer are no fit.
FEWEST_FIRST_LABELS = 8


def first_labels(goal: str, material: Material, temperatures: list[float]) -> tuple[int, str]:
    """How many labels the first fit should have, and why."""
    form, elements = form_of(material.fractions, material.kind), len(material.elements)
    liquid = melting_of(goal, material, temperatures)[0] == "many"
    more = max(0, elements - 2) * ELEMENT_LABELS
    rest = FIRST_LABELS[form] + more + (LIQUID_LABELS if liquid else 0)
    free = atoms_and_dimers(form, elements)
    parts = [f"{free} atoms and dimers", f"{FIRST_LABELS[form]} for {CALLED[form]}"]
    parts += [f"{more} for its {elements} elements"] if more else []
    parts += [f"{LIQUID_LABELS} for the liquid"] if liquid else []
    return free + rest, "; ".join(parts)


def derive_selection(user: UserInput, material: Material, points: int, why: Reasons) -> Selection:
    """``points``: DFT calls of the validation."""
    initial, reason = first_labels(user.goal, material, temperatures_k(user))
    calls = user.budget.dft_calls
    if calls != "auto" and (affordable := (calls - points) * 2 // 3) < initial:
        reason = (
            f"two thirds of the {calls} calls that the budget leaves beside the {points} of the"
            f" validation; {initial} would be better"
        )
        initial = max(FEWEST_FIRST_LABELS, affordable)
    return Selection(
        initial_count=why.because("selection.initial_count", initial, reason),
        batch_count=why.because(
            "selection.batch_count", 4, "large cells cost minutes: train and look again soon"
        ),
    )
