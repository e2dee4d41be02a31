"""The DFT method of a campaign."""

from __future__ import annotations

import math
from typing import TypeVar

from mlip_autopipec.config import cost
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import DftPlan, Material
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.science import dft_rules
from mlip_autopipec.science.dft_rules import Choice

__all__ = ["CONVERGENCE", "FAMILY", "derive_dft", "with_walltime"]

T = TypeVar("T")


FAMILY = pseudos.DEFAULT_FAMILY


CONVERGENCE = {
    "derived": "these settings are taken as they are; 'check' runs a series of calculations first",
    "check": (
        "cutoff and k-points here are where a series begins, before the first label; its choice"
        " replaces them"
    ),
}


def derive_dft(user: UserInput, material: Material, why: Reasons) -> DftPlan:
    elements, composition = material.elements, material.fractions
    periodic = (material.kind != "molecule",) * 3
    facts = pseudos.family_facts(FAMILY)

    def chosen(keys: str, choice: Choice[T]) -> T:
        for key in keys.split():
            why.found[f"dft.{key}"] = choice.reason
        return choice.value

    def or_given(choice: Choice[float], given: float | None) -> Choice[float]:
        return (
            choice
            if given is None
            else Choice(given, f"given, instead of {choice.value:g}: {choice.reason}")
        )

    hints = {e: pseudos.cutoffs(FAMILY, e) for e in elements}
    cutoff = chosen(
        "cutoff_ry", or_given(dft_rules.wavefunction_cutoff_ry(hints), user.dft.cutoff_ry)
    )
    spacing = or_given(dft_rules.kspacing_per_a(composition, periodic), user.dft.kspacing_per_a)
    smearing, degauss_ry = chosen("smearing degauss_ry", dft_rules.smearing(composition))
    return DftPlan.model_validate(
        {
            "functional": why.because(
                "dft.functional", facts.functional, "the family's functional"
            ),
            "pseudo_family": why.because(
                "dft.pseudo_family", FAMILY, "one family and version for the whole campaign"
            ),
            "pseudos": why.because(
                "dft.pseudos", {e: f"{e}.upf" for e in elements}, "see: mlip-auto pseudos list"
            ),
            "pseudo_sha256": why.because(
                "dft.pseudo_sha256",
                {e: facts.elements[e].sha256 for e in elements},
                "checked before every run",
            ),
            "cutoff_ry": cutoff,
            "rho_cutoff_ry": chosen(
                "rho_cutoff_ry",
                dft_rules.rho_cutoff_ry(
                    cutoff, facts.dual, pseudos.density_cutoffs_ry(FAMILY, elements)
                ),
            ),
            "kspacing_per_a": chosen("kspacing_per_a", spacing),
            "kmesh_shifted": chosen(
                "kmesh_shifted", dft_rules.kmesh_shifted(composition, periodic)
            ),
            "smearing": smearing,
            "degauss_ry": degauss_ry,
            "spin_polarized": chosen("spin_polarized", dft_rules.spin_polarized(composition)),
            "starting_moments": chosen("starting_moments", dft_rules.starting_moments(composition)),
            "isolated": "none"
            if all(periodic)
            else why.because(
                "dft.isolated",
                "martyna_tuckerman",
                "no images: forces in a box with 4 Å around ethanol are then as good as with 6 Å,"
                " at a third of the cost",
            ),
            "convergence": why.because(
                "dft.convergence", user.dft.convergence, CONVERGENCE[user.dft.convergence]
            ),
        }
    )


def with_walltime(material: Material, dft: DftPlan, atoms: int, why: Reasons) -> DftPlan:
    """Half an hour, or five times what the largest label is expected to take."""
    seconds = 5 * cost.label_cpu_s(material, dft, atoms)
    if seconds <= dft.walltime_s:
        return dft
    limit = 600.0 * math.ceil(seconds / 600)
    value = why.because(
        "dft.walltime_s", limit, "one attempt: five times what the largest label should take"
    )
    return dft.model_copy(update={"walltime_s": value})
