"""The plausibility screen: what is not worth a DFT calculation is rejected with its reason.

Three limits (SCIENCE, screening): no pair closer than ``min_distance_factor`` x the sum of covalent
radii, surrogate max |F| below ``max_force_ev_per_a``, energy per atom within
``max_energy_above_lowest_ev_per_atom`` of the lowest of the same composition. Without a surrogate
only the first one is applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.science.contacts import SCREEN_LIMIT, refusal

__all__ = [
    "Evaluation",
    "Limits",
    "Screened",
    "Verdict",
    "audit_sample",
    "by_own_limit",
    "composition",
    "evaluate",
    "judge",
    "screen",
]

# Kinds of rejection that rest on the surrogate's energy and forces.
BY_SURROGATE = ("large_force", "high_energy")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the screen; the names are those of the plan's surrogate section."""

    min_distance_factor: float = SCREEN_LIMIT
    max_force_ev_per_a: float = 25.0
    max_energy_above_lowest_ev_per_atom: float = 2.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What can be said of one structure alone; ``kind`` and ``reason`` are None where nothing
    speaks against it.
    """

    kind: str | None = None
    reason: str | None = None
    energy_ev_per_atom: float | None = None
    max_force_ev_per_a: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the screen says of one candidate. ``reason`` is None when it passed; ``kind`` is a short
    class of it.
    """

    candidate: Candidate
    kind: str | None = None
    reason: str | None = None
    energy_ev_per_atom: float | None = None
    max_force_ev_per_a: float | None = None


@dataclass(frozen=True, slots=True)
class Screened:
    """All verdicts in the order of the candidates."""

    verdicts: tuple[Verdict, ...]
    geometry_only: bool

    @property
    def accepted(self) -> list[Candidate]:
        return [verdict.candidate for verdict in self.verdicts if verdict.reason is None]

    @property
    def rejected(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.reason is not None]

    def reasons(self) -> dict[str, int]:
        """How many were rejected for each kind of reason."""
        kinds = [verdict.kind or "" for verdict in self.rejected]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def composition(atoms: Atoms) -> str:
    """Reduced formula: the key under which energies per atom may be compared."""
    return str(atoms.symbols.formula.reduce()[0].format("hill"))


def evaluate(atoms: Atoms, calculator: Calculator | None, limits: Limits) -> Evaluation:
    """Contact distance, then energy and forces (one call of ``calculator``), against the limits of
    one structure.

    A structure whose atoms are too close is not calculated. ``calculator`` None: geometry alone.
    """
    if reason := refusal(atoms, limits.min_distance_factor):
        return Evaluation("too_close", reason)
    if calculator is None:
        return Evaluation()
    probe = atoms.copy()
    probe.calc = calculator
    calculator.reset()  # a neighbour list kept from the structure before shows in the last digits
    try:
        forces = probe.get_forces(apply_constraint=False)
        energy = float(probe.get_potential_energy()) / len(probe)
    except CalculationFailed as failure:
        return Evaluation("surrogate_failed", str(failure))
    if not (np.isfinite(forces).all() and np.isfinite(energy)):
        return Evaluation("surrogate_failed", "the surrogate's energy or forces are not finite")
    largest = float(np.linalg.norm(forces, axis=1).max())
    if largest > limits.max_force_ev_per_a:
        text = f"largest surrogate force {largest:.1f} eV/Å, limit {limits.max_force_ev_per_a:g}"
        return Evaluation("large_force", text, energy, largest)
    return Evaluation(None, None, energy, largest)


def by_own_limit(candidate: Candidate, limits: Limits) -> Evaluation | None:
    """The evaluation of a candidate whose strategy set its own shortest contact (``min_contact``),
    None for others.

    Dimers and lone atoms are meant to lie far above any crystal, and surrogates made for solids
    know nothing of them: geometry alone decides.
    """
    own = candidate.provenance.parameters.get("min_contact")
    return (
        None
        if own is None
        else evaluate(candidate.atoms, None, replace(limits, min_distance_factor=float(own)))
    )


def judge(
    candidates: Sequence[Candidate],
    evaluations: Sequence[Evaluation],
    limits: Limits,
    lowest_ev_per_atom: Mapping[str, float] | None = None,
    *,
    geometry_only: bool = False,
) -> Screened:
    """The verdicts that follow from the evaluations, by the energies of the whole set.

    ``lowest_ev_per_atom``: surrogate energies of relaxed starts by :func:`composition`; lower ones
    among the candidates replace them.
    """
    lowest = dict(lowest_ev_per_atom or {})
    for candidate, found in zip(candidates, evaluations, strict=True):
        if found.reason is None and found.energy_ev_per_atom is not None:
            key = composition(candidate.atoms)
            lowest[key] = min(lowest.get(key, np.inf), found.energy_ev_per_atom)
    pairs = zip(candidates, evaluations, strict=True)
    return Screened(
        tuple(_verdict(candidate, found, lowest, limits) for candidate, found in pairs),
        geometry_only,
    )


def screen(
    candidates: Sequence[Candidate],
    calculator: Calculator | None,
    limits: Limits,
    lowest_ev_per_atom: Mapping[str, float] | None = None,
) -> Screened:
    """:func:`evaluate` each candidate here, one after the other, and :func:`judge` them."""
    found = [
        by_own_limit(candidate, limits) or evaluate(candidate.atoms, calculator, limits)
        for candidate in candidates
    ]
    return judge(candidates, found, limits, lowest_ev_per_atom, geometry_only=calculator is None)


def _verdict(
    candidate: Candidate, found: Evaluation, lowest: Mapping[str, float], limits: Limits
) -> Verdict:
    kind, reason, energy = found.kind, found.reason, found.energy_ev_per_atom
    limit = limits.max_energy_above_lowest_ev_per_atom
    if reason is None and energy is not None:
        above = energy - lowest[composition(candidate.atoms)]
        if above > limit:
            kind, reason = (
                "high_energy",
                f"{above:.2f} eV/atom above the lowest of its composition, limit {limit:g}",
            )
    return Verdict(candidate, kind, reason, energy, found.max_force_ev_per_a)


def audit_sample(screened: Screened, count: int, rng: np.random.Generator) -> list[Verdict]:
    """Up to ``count`` candidates that the surrogate's numbers rejected, drawn evenly, to be
    labelled all the same.

    They tell how many good structures the screen throws away
    (:mod:`~mlip_autopipec.science.hit_rate`). Those that geometry alone rejects are left out, since
    DFT has no business with overlapping cores, and so are those that the surrogate could not
    calculate: there is no verdict of it to be checked.
    """
    doubtful = [verdict for verdict in screened.rejected if verdict.kind in BY_SURROGATE]
    picked = rng.permutation(len(doubtful))[:count]
    return [doubtful[index] for index in sorted(picked)]
