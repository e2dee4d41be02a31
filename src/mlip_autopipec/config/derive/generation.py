"""How many candidates of which kind are proposed before the first DFT calculation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlip_autopipec.config.derive.material import kind_of, temperatures_k
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Embedding, Generation, Material, StrategyPlan
from mlip_autopipec.science.generation.alloying import mixing_groups

__all__ = ["Form", "default_generation", "derive_generation", "form_of", "scaled"]

Form = Literal["element", "compound", "solid_solution", "molecule"]

# Candidates proposed for each one that is labelled: enough that farthest point sampling has a
# choice.
CANDIDATES_PER_LABEL = 7
# Above this size MD with the surrogate costs more than a minute per family on one core.
LARGEST_MD_CELL = 16
# Where labels are this many, some are well spent on atoms far from any crystal.
MANY_LABELS = 60
# First labels of a campaign that its budget does not limit.
FULL_SET = 36

# Share of all candidates by strategy, and the size of cells: s small, m medium, l large, 0 without
# an option.
Mix = Sequence[tuple[str, float, str]]
_ELEMENT: Mix = (
    ("strain", 0.24, "s"), ("rattle", 0.20, "m"), ("vacancy", 0.06, "m"), ("thermal", 0.12, "m"),
    ("interstitial", 0.015, "m"),
)  # fmt: skip
_COMPOUND: Mix = (
    ("strain", 0.22, "s"),
    ("rattle", 0.14, "m"),
    ("vacancy", 0.05, "m"),
    ("thermal", 0.08, "m"),
    ("antisite", 0.05, "m"),
    ("interstitial", 0.03, "m"),
    ("normal_modes", 0.06, "m"),
    ("surface", 0.02, "l"),
)
_SOLUTION: Mix = (
    ("sqs", 0.24, "l"),
    ("random_substitution", 0.18, "m"),
    ("strain", 0.08, "s"),
    ("rattle", 0.05, "m"),
    ("vacancy", 0.03, "m"),
    ("substitution", 0.04, "m"),
)
_MOLECULE: Mix = (
    ("normal_modes", 0.40, "0"),
    ("rattle", 0.12, "0"),
    ("mc_rattle", 0.10, "0"),
    ("cluster", 0.08, "0"),
)

_WHY = {
    "strain": "cells of at most {small} atoms: cheapest in DFT for what they teach",
    "rattle": "0.02 Å to Lindemann's limit in cells of at most {medium} atoms",
    "vacancy": "open environments, in cells of at most {medium} atoms for their DFT cost",
    "thermal": "correlated motion at {temperatures}",
    "interstitial": "crowded environments: an atom more in the crystal's voids",
    "antisite": (
        "unlike neighbours that change places: bonds between like atoms, which the crystal lacks"
    ),
    "normal_modes": "displacements along vibrations with the amplitudes of {mode_temperatures}",
    "surface": "low-index slabs without a dipole: broken bonds",
    "sqs": (
        "quasirandom cells of up to {large} atoms at the asked composition and an eighth and a"
        " quarter around it"
    ),
    "random_substitution": (
        "atoms dealt out by chance: the clusters and ordered patches that quasirandom cells avoid"
    ),
    "substitution": "one or two foreign atoms in the start crystals: the dilute ends",
    "mc_rattle": "larger displacements than a plain rattle allows, shortest distances guarded",
    "cluster": "isolated atoms, dimers and trimers: the short range and the way bonds break",
    "molecule_pair": "two molecules near each other: the forces between them",
}


@dataclass(frozen=True)
class _Sizes:
    """Largest cells (atoms) of the small, medium and large kind, and of MD."""

    small: int
    medium: int
    large: int
    md: int

    def option(self, kind: str) -> dict[str, float | int | str | bool]:
        sizes = {"s": self.small, "m": self.medium, "l": self.large}
        return {"max_atoms": sizes[kind]} if kind in sizes else {}


def form_of(fractions: Mapping[str, float], kind: str = "crystal") -> Form:
    """Which mix of strategies a material needs. ``kind``: ``crystal``, ``solid_solution`` or
    ``molecule``.

    A solid solution in which no two elements can share a site (sodium and chlorine) is a compound.
    """
    if kind == "molecule":
        return "molecule"
    if len(fractions) == 1:
        return "element"
    mixes = any(len(group) > 1 for group in mixing_groups(sorted(fractions)))
    return "solid_solution" if kind == "solid_solution" and mixes else "compound"


def default_generation(
    material_kind: str,
    max_atoms: int,
    temperatures_k: Sequence[float],
    initial_count: int,
    form: Form = "element",
) -> tuple[Generation, dict[str, str]]:
    """Batches of strategies (one task each) and the reasons, by the plan's key.

    ``material_kind``: ``metal``, ``semiconductor``, ``insulator`` ...; insulators are not melted
    (their melts need temperatures and charges that a surrogate knows poorly) unless an asked
    temperature exceeds 1500 K; molecules never.
    ``max_atoms``: largest cell that DFT may be asked for. ``initial_count``: labels of the first
    round. ``form``: of :func:`form_of`.
    """
    total = max(40, CANDIDATES_PER_LABEL * initial_count)
    sizes = _Sizes(*(max(2, min(n, max_atoms)) for n in (8, 16, 32, LARGEST_MD_CELL)))
    forced = max(4, min(6, round(0.2 * initial_count)))
    mix = {
        "element": _ELEMENT,
        "compound": _COMPOUND,
        "solid_solution": _SOLUTION,
        "molecule": _MOLECULE,
    }[form]
    modes_k = _mode_temperatures_k(form, temperatures_k)
    few = form == "molecule" and initial_count < FULL_SET
    if few:
        mix = [item for item in mix if item[0] != "cluster"]
    ordered = [StrategyPlan(name="prototypes", count=forced)]
    for name, share, kind in mix:
        options = sizes.option(kind)
        if name == "normal_modes":
            options |= {"temperature_min_k": modes_k[0], "temperature_max_k": modes_k[1]}
        ordered.append(
            StrategyPlan(name=name, count=_at_least(name, round(share * total)), options=options)
        )
    if initial_count >= MANY_LABELS and form != "molecule":
        ordered.append(StrategyPlan(name="cluster", count=max(4, round(0.03 * total))))
    disorder, why_disorder = _disorder(form, material_kind, temperatures_k, total, sizes)
    names = {item.name for item in ordered}
    words = {
        "small": sizes.small,
        "medium": sizes.medium,
        "large": sizes.large,
        "temperatures": ", ".join(f"{t:g} K" for t in temperatures_k),
        "mode_temperatures": f"{modes_k[0]:g} to {modes_k[1]:g} K",
    }
    reasons = {
        "generation.batches": (
            f"about {CANDIDATES_PER_LABEL} candidates for each of the {initial_count} first labels"
            f" of {_CALLED[form]}; two tasks of similar cost, so that they run side by side:"
            f" {_BATCHES[form]}"
        ),
        "generation.batches.prototypes": (
            f"{_KEPT.get(form, f'{forced} relaxed crystals and equation-of-state points')} are kept"
            " whatever their fingerprint: with few labels farthest point sampling alone is worse"
            " than chance near equilibrium"
        ),
        **{
            f"generation.batches.{name}": text.format(**words)
            for name, text in _WHY.items()
            if name in names
        },
        **{f"generation.batches.{name}": text for name, text in why_disorder.items()},
        **({"generation.batches.cluster": _NO_CLUSTERS} if few else {}),
    }
    return Generation(batches=[ordered, disorder]), reasons


_KEPT: dict[Form, str] = {"molecule": "relaxed conformers"}
_NO_CLUSTERS = (
    f"left out: with fewer than {FULL_SET} first labels each is better spent on the whole molecule"
)
_CALLED: dict[Form, str] = {
    "element": "an element",
    "compound": "a compound",
    "solid_solution": "a solid solution",
    "molecule": "a molecule",
}
_BATCHES: dict[Form, str] = {
    "element": "crystals, and disorder",
    "compound": "crystals with their defects, and disorder",
    "solid_solution": "alloyed crystals, and disorder",
    "molecule": "one molecule out of its shape, and molecules in motion and in pairs",
}


def scaled(generation: Generation, candidates: int) -> Generation:
    """The same strategies in the same shares, for at least ``candidates`` in all; never fewer of
    any than before.
    """
    total = sum(item.count for batch in generation.batches for item in batch)
    factor = max(1.0, candidates / total)
    return Generation(
        batches=[
            [item.model_copy(update={"count": math.ceil(factor * item.count)}) for item in batch]
            for batch in generation.batches
        ]
    )


def _at_least(name: str, count: int) -> int:
    return max({"vacancy": 3, "thermal": 4}.get(name, 2), count)


def _mode_temperatures_k(form: Form, temperatures_k: Sequence[float]) -> tuple[float, float]:
    """Crystals: up to the lowest asked one, where vibrations are harmonic. Molecules: half the
    lowest to twice the highest, since their bonds are stiff and a potential must know them
    stretched.
    """
    lowest, highest = min(temperatures_k, default=300.0), max(temperatures_k, default=300.0)
    return (0.5 * lowest, 2.0 * highest) if form == "molecule" else (min(100.0, lowest), lowest)


def _disorder(
    form: Form, material_kind: str, temperatures_k: Sequence[float], total: int, sizes: _Sizes
) -> tuple[list[StrategyPlan], dict[str, str]]:
    """The second batch and the reasons for it."""
    if form == "molecule":
        moving = [
            StrategyPlan(name="thermal", count=max(4, round(0.15 * total))),
            StrategyPlan(name="molecule_pair", count=max(4, round(0.12 * total))),
        ]
        moved = ", ".join(f"{t:g} K" for t in temperatures_k)
        return moving, {
            "thermal": f"correlated motion at {moved}",
            "molecule_pair": _WHY["molecule_pair"],
            "melt_quench": "left out: a molecule in empty space does not melt",
        }
    melts = material_kind != "insulator" or max(temperatures_k, default=0.0) > 1500
    share = 0.34 if form == "element" else 0.30
    if melts:
        melt = StrategyPlan(
            name="melt_quench", count=round(share * total), options={"max_atoms": sizes.md}
        )
        extra = [
            StrategyPlan(
                name="thermal", count=max(4, round(0.08 * total)), options={"max_atoms": sizes.md}
            )
        ]
        reason = f"liquid, undercooled and amorphous frames of {sizes.md} and {sizes.md // 2} atoms"
        alloy = form == "solid_solution"
        return [melt, *(extra if alloy else [])], {
            "melt_quench": reason,
            **(
                {"thermal": "correlated motion at " + ", ".join(f"{t:g} K" for t in temperatures_k)}
                if alloy
                else {}
            ),
        }
    # The same task count without a melt: larger amplitudes stand in for disorder.
    options: dict[str, float | int | str | bool] = {
        "max_atoms": sizes.medium,
        "sigma_min_a": 0.1,
        "sigma_max_a": 0.3,
    }
    return [StrategyPlan(name="rattle", count=round(0.24 * total), options=options)], {
        "melt_quench": (
            "left out: no temperature asked for is near the melting of an insulator, or only the"
            " crystal is wanted"
        )
    }


def derive_generation(
    user: UserInput, material: Material, embedding: Embedding, count: int, why: Reasons
) -> Generation:
    """The default strategies; the goal ``crystal`` leaves the melt out, ``liquid`` doubles it."""
    kind, temperatures = kind_of(material), temperatures_k(user)
    if user.goal == "crystal":
        kind, temperatures = (
            "insulator",
            [min(t, 1500.0) for t in temperatures],
        )  # the set without a melt
    form = form_of(material.fractions, material.kind)
    generation, reasons = default_generation(
        kind, embedding.max_dft_atoms, temperatures, count, form
    )
    if user.goal == "crystal" and form != "molecule":
        reasons["generation.batches.melt_quench"] = "left out: the goal is the crystal"
    if user.goal == "liquid":
        generation = Generation(
            batches=[
                [
                    s.model_copy(update={"count": 2 * s.count}) if s.name == "melt_quench" else s
                    for s in batch
                ]
                for batch in generation.batches
            ]
        )
    present = {strategy.name for batch in generation.batches for strategy in batch}
    for key, reason in reasons.items():
        name = key.removeprefix("generation.batches").lstrip(".")
        if not name or name in present:
            why.found[key] = reason
        else:
            why.found["generation.batches"] += f"; {name} {reason}"
    return generation
