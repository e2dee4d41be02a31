"""Basis, cutoff and steps of the fits."""

from __future__ import annotations

from mlip_autopipec.config.derive.material import radius_a
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.plan import Material, Training

__all__ = ["ACE_FUNCTIONS", "derive_training"]

# As many as the labels carry (a fit takes fewer while they are few). Silicon, 73 labels of a
# campaign, the same 11 held out: 120 functions 5.8 meV/atom and 84 meV/Å (errors in training as
# large), 200 functions 4.0 and 75, 300 2.9 and 71.
ACE_FUNCTIONS = {1: 300, 2: 100}


def derive_training(material: Material, why: Reasons) -> Training:
    n, radius = len(material.elements), radius_a(material)
    # Ethanol, 14 labels, linear, held out: 626 meV/Å at 4.5 Å, 313 at 3.6, 301 at 3.0 (a short
    # range needs fewer radial functions, and within a molecule of this size there is little
    # beyond).
    least = 3.0 if material.kind == "molecule" else 4.5
    cutoff = min(6.5, max(least, round(2.3 * 2 * radius, 1)))
    functions = ACE_FUNCTIONS.get(n, 80)
    trainer = "pacemaker"
    if material.kind == "molecule":
        trainer = why.because(
            "training.trainer",
            "linear",
            "the non-linear fit has as many functions for each element as the rarest carries, in a"
            " molecule a handful",
        )
    return Training(
        trainer=trainer,
        cutoff_a=why.because(
            "training.cutoff_a", cutoff, f"2.3 bonds of {2 * radius:.2f} Å, within {least:g}-6.5"
        ),
        functions_per_element=why.because(
            "training.functions_per_element",
            functions,
            f"{n} element{'s' if n > 1 else ''}; a fit of a few minutes",
        ),
        fast_functions_per_element=why.because(
            "training.fast_functions_per_element", 150 if n == 1 else 100, "cheap in a linear fit"
        ),
        held_out_fraction=why.because(
            "training.held_out_fraction",
            0.15,
            "by group; a tenth of so few labels is too few to judge by",
        ),
        max_iterations=why.because(
            "training.max_iterations", 150, "BFGS steps; more gains little on this many labels"
        ),
        warm_iterations=why.because(
            "training.warm_iterations", 75, "enough from the last potential"
        ),
    )
