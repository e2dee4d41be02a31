"""How many candidates of which kind are proposed before the first DFT calculation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.config.derive.exploration import MARGIN
from mlip_autopipec.config.derive.ionic import for_ions
from mlip_autopipec.config.derive.material import temperatures_k
from mlip_autopipec.config.derive.melting import Melting, melting_of
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Embedding, Generation, Material, StrategyPlan
from mlip_autopipec.config.sections import StrategyInput
from mlip_autopipec.science.dft_rules import wide_gap
from mlip_autopipec.science.generation import strategy
from mlip_autopipec.science.generation.alloying import mixing_groups

__all__ = [
    "Form",
    "atoms_and_dimers",
    "default_generation",
    "derive_generation",
    "form_of",
    "scaled",
]

Form = Literal["element", "compound", "solid_solution", "molecule"]

# Candidates proposed for each one that is labelled: enough that farthest point sampling has a
# choice.
CANDIDATES_PER_LABEL = 7
# Atoms of the cells in which the surrogate runs MD: larger ones cost minutes of one core.
MELT_CELL, CRYSTAL_MD_CELL = 16, 8
# Two frames make a run of MD; of a molecule, whose steps are short, no more runs than that.
MOST_THERMAL_FRAMES = 8
# The heating that makes a melt begins so many times above: a small perfect crystal outlives its
# melting point.
SUPERHEATED = 1.5
# Frames of liquids that are proposed: two runs of all stages, or the beginning of one.
MELT_FRAMES = {"many": 24, "few": 2}
# Dimers of each pair of elements, by the number of elements; of more, one. They are learned like
# any label, and paid for like one.
DIMERS_OF_A_PAIR = {1: 4, 2: 3, 3: 2}
# Of the first labels, at most, where a budget leaves few.
DIMERS_SHARE = 0.34


Size = Literal["small", "medium", "large", "none"]
Options = dict[str, float | int | str | bool]


@dataclass(frozen=True, slots=True)
class _Default:
    """A strategy that is proposed by default: ``shares``: form of material -> share of all
    candidates and the size of cells (``none``: it has no such option).

    ``why``: may name the sizes and the temperatures.
    """

    name: str
    why: str
    shares: Mapping[Form, tuple[float, Size]]
    fewest: int = 2


# An entry here makes a strategy one that is proposed by default; the order is that of the plan.
# What depends on more than the form of the material (melts, pairs of molecules) has rules below.
_DEFAULTS = (
    _Default(
        "sqs",
        "quasirandom cells of up to {large} atoms at the asked composition and an eighth and a"
        " quarter around it",
        {"solid_solution": (0.24, "large")},
    ),
    _Default(
        "random_substitution",
        "atoms dealt out by chance: the clusters and ordered patches that quasirandom cells avoid",
        {"solid_solution": (0.18, "medium")},
    ),
    _Default(
        "normal_modes",
        "displacements along vibrations with the amplitudes of {mode_temperatures}",
        {"molecule": (0.40, "none")},
    ),
    _Default(
        "strain",
        "cells of at most {small} atoms: cheapest in DFT for what they teach",
        {
            "element": (0.24, "small"),
            "compound": (0.22, "small"),
            "solid_solution": (0.08, "small"),
        },
    ),
    _Default(
        "rattle",
        "0.02 Å to Lindemann's limit in cells of at most {medium} atoms",
        {
            "element": (0.20, "medium"),
            "compound": (0.14, "medium"),
            "solid_solution": (0.05, "medium"),
            "molecule": (0.12, "none"),
        },
    ),
    _Default(
        "mc_rattle",
        "larger displacements than a plain rattle allows, shortest distances guarded",
        {"molecule": (0.10, "none")},
    ),
    _Default(
        "vacancy",
        "open environments, in cells of at most {medium} atoms for their DFT cost",
        {
            "element": (0.06, "medium"),
            "compound": (0.05, "medium"),
            "solid_solution": (0.03, "medium"),
        },
        fewest=3,
    ),
    _Default(
        "antisite",
        "unlike neighbours that change places: bonds between like atoms, which the crystal lacks",
        {"compound": (0.05, "medium")},
    ),
    _Default(
        "interstitial",
        "crowded environments: an atom more in the crystal's voids",
        {"element": (0.015, "medium"), "compound": (0.03, "medium")},
    ),
    _Default(
        "normal_modes",
        "displacements along vibrations with the amplitudes of {mode_temperatures}",
        {"compound": (0.06, "medium")},
    ),
    _Default(
        "substitution",
        "one or two foreign atoms in the start crystals: the dilute ends",
        {"solid_solution": (0.04, "medium")},
    ),
    _Default(
        "surface",
        "low-index slabs without a dipole: broken bonds",
        {"compound": (0.02, "large")},
    ),
)


@dataclass(frozen=True)
class _Sizes:
    """Largest cells (atoms) of the small, medium and large kind, and of MD."""

    small: int
    medium: int
    large: int
    md: int

    def option(self, size: Size) -> Options:
        return {} if size == "none" else {"max_atoms": getattr(self, size)}


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
    max_atoms: int,
    temperatures_k: Sequence[float],
    initial_count: int,
    form: Form = "element",
    elements: int = 1,
    melting: Melting = ("few", 1500.0),
) -> tuple[Generation, dict[str, str]]:
    """Batches of strategies (one task each) and the reasons, by the plan's key.

    ``max_atoms``: largest cell that DFT may be asked for. ``initial_count``: labels of the first
    round. ``form``: of :func:`form_of`. ``elements``: how many there are.
    ``melting``: how much liquid is wanted, and the melting point (K).
    """
    free = atoms_and_dimers(form, elements, initial_count)
    total = max(40, CANDIDATES_PER_LABEL * (initial_count - free))
    sizes = _Sizes(*(max(2, min(n, max_atoms)) for n in (8, 16, 32, MELT_CELL)))
    forced = max(4, min(6, math.ceil(0.3 * (initial_count - free))))
    modes_k = _mode_temperatures_k(form, temperatures_k)
    ordered = [
        StrategyPlan(name="atoms_and_dimers", count=free),
        StrategyPlan(name="prototypes", count=forced),
    ]
    for default in _DEFAULTS:
        if form not in default.shares:
            continue
        share, size = default.shares[form]
        options = sizes.option(size)
        if default.name == "normal_modes":
            options |= {"temperature_min_k": modes_k[0], "temperature_max_k": modes_k[1]}
        count = max(default.fewest, round(share * total))
        ordered.append(StrategyPlan(name=default.name, count=count, options=options))
    thermal = _thermal(form, temperatures_k, sizes)
    disorder, why_disorder = _disorder(form, melting, total, sizes)
    # MD is what takes its time: where there is more of it than one core likes, on both.
    (disorder if form in ("molecule", "solid_solution") else ordered).append(thermal)
    names = {item.name for item in ordered}
    proposed = sum(item.count for item in (*ordered, *disorder))
    words = {
        "small": sizes.small,
        "medium": sizes.medium,
        "large": sizes.large,
        "temperatures": ", ".join(f"{t:g} K" for t in temperatures_k),
        "mode_temperatures": f"{modes_k[0]:g} to {modes_k[1]:g} K",
    }
    reasons = {
        "generation.batches": (
            f"{proposed} candidates for the {initial_count} first labels of {CALLED[form]}; two"
            " tasks, side by side:"
            f" {_BATCHES[form]}"
        ),
        "generation.batches.atoms_and_dimers": (
            "every element's atom alone, where energies begin, and dimers of every pair: always"
            " labelled"
        ),
        "generation.batches.prototypes": (
            f"{_KEPT.get(form, f'{forced} relaxed crystals and equation-of-state points')} are kept"
            " whatever their fingerprint: with few labels farthest point sampling alone is worse"
            " than chance near equilibrium"
        ),
        **{
            f"generation.batches.{default.name}": default.why.format(**words)
            for default in _DEFAULTS
            if default.name in names
        },
        "generation.batches.thermal": (
            f"correlated motion at {words['temperatures']}"
            + (f" and {MARGIN:g} times the highest" if form != "molecule" else "")
            + "; two frames of a run, 0.5 ps apart"
        ),
        **{f"generation.batches.{name}": text for name, text in why_disorder.items()},
    }
    return Generation(batches=[ordered, disorder]), reasons


_KEPT: dict[Form, str] = {"molecule": "relaxed conformers"}
CALLED: dict[Form, str] = {
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


def atoms_and_dimers(form: Form, elements: int, initial_count: int | None = None) -> int:
    """How many labels the atoms and the dimers are: every element's atom, and as many dimers as
    are worth their share of ``initial_count``, where that is limited. A molecule needs fewer of
    each pair, since its bonds hold.
    """
    pairs = elements * (elements + 1) // 2
    of_each = max(1, DIMERS_OF_A_PAIR.get(elements, 1) - (form == "molecule"))
    if initial_count is not None:
        of_each = min(of_each, max(0, int(DIMERS_SHARE * initial_count - elements) // pairs))
    return elements + of_each * pairs


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


def _mode_temperatures_k(form: Form, temperatures_k: Sequence[float]) -> tuple[float, float]:
    """Crystals: up to the lowest asked one, where vibrations are harmonic. Molecules: half the
    lowest to twice the highest, since their bonds are stiff and a potential must know them
    stretched.
    """
    lowest, highest = min(temperatures_k, default=300.0), max(temperatures_k, default=300.0)
    return (0.5 * lowest, 2.0 * highest) if form == "molecule" else (min(100.0, lowest), lowest)


def _thermal(form: Form, temperatures_k: Sequence[float], sizes: _Sizes) -> StrategyPlan:
    """Two frames at each temperature and, of a solid, somewhat above the highest."""
    highest = max(temperatures_k, default=300.0)
    options: Options = {}
    if form != "molecule":
        size = sizes.medium if form == "solid_solution" else min(CRYSTAL_MD_CELL, sizes.medium)
        options = {"max_atoms": size, "hottest_k": round(MARGIN * highest, 1)}
    count = 2 * (len(temperatures_k) + (form != "molecule"))
    return StrategyPlan(
        name="thermal", count=max(4, min(MOST_THERMAL_FRAMES, count)), options=options
    )


def _disorder(
    form: Form, melting: Melting, total: int, sizes: _Sizes
) -> tuple[list[StrategyPlan], dict[str, str]]:
    """The second batch and the reasons for it."""
    if form == "molecule":
        pairs = StrategyPlan(name="molecule_pair", count=max(4, round(0.12 * total)))
        return [pairs], {
            "molecule_pair": "two molecules near each other: the forces between them",
            "melt_quench": "left out: a molecule in empty space does not melt",
        }
    melts, melting_k = melting
    if melts != "none":
        count = MELT_FRAMES[melts]
        options: Options = {"max_atoms": sizes.md, "melt_k": round(SUPERHEATED * melting_k, -2)}
        reason = (
            f"liquid, undercooled and amorphous frames of {sizes.md // 2} and {sizes.md} atoms"
            if melts == "many"
            else f"two frames of a liquid: a solid far below its melting, about {melting_k:.0f} K,"
            " has little use for more"
        )
        return [StrategyPlan(name="melt_quench", count=count, options=options)], {
            "melt_quench": reason
        }
    # The same task count without a melt: larger amplitudes stand in for disorder.
    options = {"max_atoms": sizes.medium, "sigma_min_a": 0.1, "sigma_max_a": 0.3}
    return [StrategyPlan(name="rattle", count=round(0.24 * total), options=options)], {
        "melt_quench": (
            "left out: no temperature asked for is near the melting of an insulator, or only the"
            " crystal is wanted"
        )
    }


def derive_generation(
    user: UserInput, material: Material, embedding: Embedding, count: int, why: Reasons
) -> Generation:
    """The default strategies for what was asked, and the user's own."""
    temperatures = temperatures_k(user)
    form = form_of(material.fractions, material.kind)
    melting = melting_of(user.goal, material, temperatures)
    generation, reasons = default_generation(
        embedding.max_dft_atoms, temperatures, count, form, len(material.elements), melting
    )
    if user.goal == "crystal" and form != "molecule":
        reasons["generation.batches.melt_quench"] = "left out: the goal is the crystal"
    if wide_gap(material.fractions).value:
        generation, of_ions = for_ions(generation)
        reasons |= of_ions
    present = {strategy.name for batch in generation.batches for strategy in batch}
    if user.strategies:
        generation, given = _with_given(generation, user.strategies)
        reasons |= given
        present |= {item.name for item in user.strategies}
    for key, reason in reasons.items():
        name = key.removeprefix("generation.batches").lstrip(".")
        if not name or name in present:
            why.found[key] = reason
        else:
            why.found["generation.batches"] += f"; {name} {reason}"
    return generation


def _with_given(
    derived: Generation, given: Sequence[StrategyInput]
) -> tuple[Generation, dict[str, str]]:
    """The derived strategies and, after those of the first batch, the user's own.

    Raises InputError for one that does not exist.
    """
    for item in given:
        try:
            strategy(item.name)
        except InputError as error:
            raise InputError(
                error.message, key="strategies", value=error.value, hint=error.hint
            ) from error
    first, *others = derived.batches
    own = [StrategyPlan(name=i.name, count=i.count, options=i.options) for i in given]
    reasons = {f"generation.batches.{item.name}": "given" for item in given}
    return Generation(batches=[[*first, *own], *others]), reasons
