"""The settings of the trainer, and how they follow from a material."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mlip_autopipec.base.section import Count, Positive
from mlip_autopipec.engines.ports import TrainerFacts, TrainerSettings

__all__ = ["AceJaxSettings"]

# Functions per element of order 3: 383 for one element at degree 14, 694 for two at 10, 917 for
# three at 8.
DEGREE_OF_ELEMENTS = {1: 14, 2: 10}
DEGREE_OF_MANY = 8
DEGREE_EARLY = 10

START_CPU_S, LABEL_CPU_S = 20.0, 0.1


class AceJaxSettings(TrainerSettings):
    """Linear ACE by ace-jax.

    ``order``: atoms around the centre that a function couples. ``max_degree``: of its radial and
    angular parts together; how many functions there are follows from it. ``energy_weight``,
    ``stress_weight``: of the energy, and of stress times volume, of a cell of n atoms relative to a
    force component, both divided by the root of n. ``half_weight_ev``: a cell this far above the
    lowest (eV/atom) counts half.
    """

    cutoff_a: Positive
    order: Annotated[int, Field(ge=1, le=4)] = 3
    max_degree: Count = 14
    energy_weight: Positive = 10.0
    stress_weight: Positive = 0.3
    half_weight_ev: Positive = 1.0

    @classmethod
    def derived(cls, facts: TrainerFacts) -> tuple[AceJaxSettings, dict[str, str]]:
        """Settings for a campaign or a file."""
        least = 3.0 if facts.molecular else 4.5
        degree = DEGREE_OF_ELEMENTS.get(len(facts.elements), DEGREE_OF_MANY)
        if facts.use == "early":
            degree = min(degree, DEGREE_EARLY)
        settings = cls(
            cutoff_a=min(6.5, max(least, round(2.3 * facts.bond_a, 1))), max_degree=degree
        )
        return settings, {
            "cutoff_a": f"2.3 bonds of {facts.bond_a:.2f} Å, within {least:g}-6.5",
            "max_degree": "experimental: energies of silicon 25 to 54 % worse than by"
            " linear; the ridge damps what the labels do not carry",
        }

    def fit_cpu_s(self, elements: int, labels: int, *, warm: bool) -> float:
        return START_CPU_S + LABEL_CPU_S * labels
