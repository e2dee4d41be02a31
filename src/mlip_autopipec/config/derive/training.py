"""Which trainers fit, and when; their own settings are theirs to derive."""

from __future__ import annotations

from mlip_autopipec.base.section import Section
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.facts import radius_a
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Material, Training
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import TrainerFacts

__all__ = ["derive_training"]

FAST = registry.FAST_TRAINER
#: What the user says who leaves the choice to the plan.
AUTO = "auto"


def derive_training(user: UserInput, material: Material, why: Reasons) -> Training:
    """Raises InputError for a trainer that nobody knows."""
    trainer, fast_trainer = _trainers(user, material, why)
    sections: dict[str, Section] = {}
    uses = (("settings", trainer, "release"), ("fast_settings", fast_trainer, "early"))
    for section, name, use in uses:
        if section == "fast_settings" and name == trainer:
            continue
        facts = TrainerFacts(
            elements=material.elements,
            bond_a=2 * radius_a(material),
            molecular=material.kind == "molecule",
            use="early" if use == "early" or _only_quick(trainer, fast_trainer) else "release",
        )
        settings, reasons = registry.trainer(name).schema.derived(facts)
        sections[section] = settings
        for key, reason in reasons.items():
            why.because(f"training.{section}.{key}", None, reason)
    return Training.model_validate(
        {
            "fast_trainer": fast_trainer,
            "trainer": trainer,
            "held_out_fraction": why.because(
                "training.held_out_fraction",
                0.15,
                "by group; of trainers that do not cross-validate: others are given every label",
            ),
            **sections,
        }
    )


def _only_quick(trainer: str, fast_trainer: str) -> bool:
    """Whether the quick trainer makes the released potential as well."""
    return trainer == fast_trainer == FAST


def _trainers(user: UserInput, material: Material, why: Reasons) -> tuple[str, str]:
    """The trainer of the released potential and that of the first rounds."""
    asked = user.training.trainer
    if asked not in (None, AUTO):
        trainer = why.because("training.trainer", asked, "given")
        if registry.trainer(asked).family == registry.trainer(FAST).family:
            return trainer, FAST
        reason = f"the quick {FAST} fits are potentials of another form"
        return trainer, why.because("training.fast_trainer", asked, reason)
    reason = "seconds, so that it fits every round; it learns stress and predicts its own errors"
    return why.because("training.trainer", FAST, reason), FAST
