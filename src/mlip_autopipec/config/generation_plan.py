"""How many candidates of which kind are proposed before the first DFT calculation."""

from __future__ import annotations

from collections.abc import Sequence

from mlip_autopipec.config.plan import Generation, StrategyPlan

__all__ = ["default_generation"]

# Candidates proposed for each one that is labelled: enough that farthest point sampling has a choice.
CANDIDATES_PER_LABEL = 7
# Above this size MD with the surrogate costs more than a minute per family on one core.
LARGEST_MD_CELL = 16


def default_generation(
    material_kind: str, max_atoms: int, temperatures_k: Sequence[float], initial_count: int
) -> tuple[Generation, dict[str, str]]:
    """Batches of strategies (one task each) and the reasons, by the plan's key.

    ``material_kind``: ``metal``, ``semiconductor``, ``insulator`` ...; insulators are not melted (their melts need
    temperatures and charges that a surrogate knows poorly) unless an asked temperature exceeds 1500 K.
    ``max_atoms``: largest cell that DFT may be asked for. ``initial_count``: labels of the first round.
    """
    total = max(40, CANDIDATES_PER_LABEL * initial_count)
    small, medium = max(2, min(8, max_atoms)), max(2, min(16, max_atoms))
    md_cell = max(2, min(LARGEST_MD_CELL, max_atoms))
    melts = material_kind != "insulator" or max(temperatures_k, default=0.0) > 1500
    forced = max(4, min(6, round(0.2 * initial_count)))
    crystal = [
        StrategyPlan(name="prototypes", count=forced),
        StrategyPlan(name="strain", count=round(0.24 * total), options={"max_atoms": small}),
        StrategyPlan(name="rattle", count=round(0.20 * total), options={"max_atoms": medium}),
        StrategyPlan(name="vacancy", count=max(3, round(0.06 * total)), options={"max_atoms": medium}),
        StrategyPlan(name="thermal", count=max(4, round(0.12 * total)), options={"max_atoms": md_cell}),
    ]
    if melts:
        disorder = [StrategyPlan(name="melt_quench", count=round(0.34 * total), options={"max_atoms": md_cell})]
    else:
        # The same task count without a melt: larger amplitudes stand in for disorder.
        disorder = [
            StrategyPlan(
                name="rattle",
                count=round(0.24 * total),
                options={"max_atoms": medium, "sigma_min_a": 0.1, "sigma_max_a": 0.3},
            )
        ]
    reasons = {
        "generation.batches": (
            f"about {CANDIDATES_PER_LABEL} candidates for each of the {initial_count} first labels; two tasks of "
            "similar cost, so that they run side by side: crystals, and disorder"
        ),
        "generation.batches.prototypes": (
            f"{forced} relaxed crystals and equation-of-state points are kept whatever their fingerprint: with few "
            "labels farthest point sampling alone is worse than chance near equilibrium"
        ),
        "generation.batches.strain": f"cells of at most {small} atoms: cheapest in DFT for what they teach",
        "generation.batches.rattle": f"0.02 Å to Lindemann's limit in cells of at most {medium} atoms",
        "generation.batches.vacancy": f"open environments, in cells of at most {medium} atoms for their DFT cost",
        "generation.batches.thermal": "correlated motion at " + ", ".join(f"{t:g} K" for t in temperatures_k),
        "generation.batches.melt_quench": (
            f"liquid, undercooled and amorphous frames of {md_cell} and {md_cell // 2} atoms"
            if melts
            else "left out: no temperature asked for is near the melting of an insulator, or only the crystal is wanted"
        ),
    }
    return Generation(batches=[crystal, disorder]), reasons
