"""Which properties of the potential are held against our own DFT."""

from __future__ import annotations

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.config import facts
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Material, Validation
from mlip_autopipec.science.properties import property_class
from mlip_autopipec.science.properties.port import Subject

__all__ = ["derive_validation"]

#: Where the user names none. By kind of material; any other kind is a crystal.
USUAL = {"molecule": ("molecule",)}
USUAL_OF_CRYSTALS = ("equation_of_state",)
#: Training labels that the budget has to leave beside the validation.
FEWEST_LABELS = 8


def derive_validation(user: UserInput, material: Material, why: Reasons) -> Validation:
    """The properties asked for, each with its settings.

    Raises InputError for a property that says nothing of this material, and where the budget cannot
    pay for them.
    """
    molecular = material.kind == "molecule"
    subject = (
        Subject(material.kind, facts.molecule_atoms(material))
        if molecular
        else Subject(material.kind, pressure_gpa=min(user.pressure_gpa, key=abs))
    )
    names = user.properties or USUAL.get(material.kind, USUAL_OF_CRYSTALS)
    planned = {name: property_class(name).planned(subject) for name in names}
    validation = Validation(properties={name: made for name, (made, _) in planned.items()})
    for name, (_, reasons) in planned.items():
        for field, reason in reasons.items():
            why.because(f"{validation.key_of(name)}.{field}", None, reason)
    calls = user.budget.dft_calls
    if calls != "auto" and validation.calls + FEWEST_LABELS > calls:
        raise InputError(
            f"the properties need up to {validation.calls} DFT calls",
            key="budget.dft_calls",
            value=calls,
            hint=f"at least {validation.calls + FEWEST_LABELS}, or fewer properties",
        )
    return validation
