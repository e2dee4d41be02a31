"""Task ``generate``: start structures, strategies, screen; candidates go to files, numbers into the outcome.

Every batch relaxes the start structures itself. That costs seconds, needs no other task first and is deterministic,
so that all batches agree.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator

from mlip_autopipec.config.plan import Material, Plan, SurrogatePlan
from mlip_autopipec.engines import registry
from mlip_autopipec.files import append_line, write_json
from mlip_autopipec.science import generation, screening
from mlip_autopipec.science.fingerprints import distinct, structure_fingerprints
from mlip_autopipec.science.generation import starts
from mlip_autopipec.science.generation.context import Context, standard_cell
from mlip_autopipec.types import Candidate, Failure, Json, Outcome, TaskSpec, atoms_to_json

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Payload {"batch", "strategies": [{"name", "count", "options"}], "seed"}.

    Writes candidates.json, rejected.json, start.json and progress.jsonl into ``folder``. Returns Failure
    ``no_candidates`` when nothing passes the screen. Raises InputError for an unreadable structure file, an unknown
    strategy or a composition without a start crystal.
    """
    strategies: list[Json] = spec.payload["strategies"]
    makers = [generation.strategy(item["name"]) for item in strategies]
    seed, batch = int(spec.payload["seed"]), int(spec.payload["batch"])
    calculator = _calculator(plan)
    found, energies = _starts(plan.material, calculator)
    if not found:
        return Outcome(None, Failure("no_candidates", "no start structure survived its relaxation"))
    write_json(folder / "start.json", [start.to_json() for start in found])

    progress = _Progress(folder / "progress.jsonl", sum(int(item["count"]) for item in strategies))
    proposed: list[Candidate] = []
    rejected: list[Json] = []
    reasons: dict[str, int] = {}
    for index, (item, make) in enumerate(zip(strategies, makers, strict=True)):
        name, count = str(item["name"]), int(item["count"])
        if calculator is None and name in generation.NEEDS_CALCULATOR:
            rejected.append({"strategy": name, "reason": f"{plan.surrogate.engine} does not know every element"})
            reasons["needs_surrogate"] = reasons.get("needs_surrogate", 0) + count
            continue
        context = Context(
            fractions=plan.material.fractions,
            starts=tuple(found),
            calculator=calculator,
            temperatures_k=tuple(condition.temperature_k for condition in plan.exploration.conditions),
            max_atoms=plan.embedding.max_dft_atoms,
            # Groups carry it: batches and strategies of one campaign must not share group names.
            seed=_sub_seed(seed, batch, index),
            progress=progress.within(count),
        )
        options: dict[str, Any] = dict(item.get("options", {}))
        proposed += make(context, count, np.random.default_rng(context.seed), **options)
        progress.finished(count)

    screened = screening.screen(proposed, calculator, _limits(plan.surrogate), _lowest(found, energies))
    rejected += [
        {"strategy": verdict.candidate.provenance.strategy, "reason": verdict.reason} for verdict in screened.rejected
    ]
    for kind, number in screened.reasons().items():
        reasons[kind] = reasons.get(kind, 0) + number
    accepted, twins = _without_twins(screened.accepted, plan.material.elements)
    rejected += [{"strategy": twin.provenance.strategy, "reason": "duplicate of an earlier one"} for twin in twins]
    if twins:
        reasons["duplicate"] = len(twins)
    write_json(folder / "rejected.json", rejected)
    if not accepted:
        return Outcome(None, Failure("no_candidates", f"nothing passed the screen; reasons: {reasons}"))
    write_json(folder / "candidates.json", [candidate.to_json() for candidate in accepted])
    names = [candidate.provenance.strategy for candidate in accepted]
    return Outcome(
        {
            "accepted": len(accepted),
            "rejected": reasons,
            "strategies": {name: names.count(name) for name in dict.fromkeys(names)},
            "surrogate": plan.surrogate.engine,
            "ground_state": atoms_to_json(standard_cell(found[0].atoms, primitive=False)),
            "geometry_only": screened.geometry_only,
            "starts": [
                {
                    "name": start.provenance.group,
                    "formula": str(start.atoms.symbols.formula.reduce()[0]),
                    "energy_ev_per_atom": energies[index] if energies else None,
                }
                for index, start in enumerate(found)
            ],
            "hit": {"proposed": len(proposed), "accepted": len(accepted)},
        }
    )


def _sub_seed(*parts: int) -> int:
    """One seed for each strategy of each batch, independent of the others."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _calculator(plan: Plan) -> Calculator | None:
    """The surrogate's calculator, or None where it does not know an element (then geometry alone decides)."""
    surrogate = registry.surrogate(plan.surrogate.engine)
    return surrogate.calculator() if surrogate.supports(plan.material.elements) else None


def _starts(material: Material, calculator: Calculator | None) -> tuple[list[Candidate], list[float]]:
    if material.structure_file is not None:
        return starts.ranked(starts.read_structure(material.structure_file), calculator, keep_all=True)
    return starts.ranked(starts.prototypes(material.fractions), calculator)


def _limits(plan: SurrogatePlan) -> screening.Limits:
    return screening.Limits(plan.min_distance_factor, plan.max_force_ev_per_a, plan.max_energy_above_lowest_ev_per_atom)


def _lowest(found: list[Candidate], energies: list[float]) -> dict[str, float]:
    lowest: dict[str, float] = {}
    for start, energy in zip(found, energies, strict=False):
        key = screening.composition(start.atoms)
        lowest[key] = min(energy, lowest.get(key, np.inf))
    return lowest


def _without_twins(candidates: list[Candidate], elements: tuple[str, ...]) -> tuple[list[Candidate], list[Candidate]]:
    kept = set(distinct(structure_fingerprints([item.atoms for item in candidates], elements)))
    return (
        [item for index, item in enumerate(candidates) if index in kept],
        [item for index, item in enumerate(candidates) if index not in kept],
    )


class _Progress:
    """Lines ``{"done", "total", "eta_s"}``, at most one every two seconds."""

    def __init__(self, path: Path, total: int) -> None:
        self.path, self.total, self.done = path, total, 0.0
        self.start = self.last = time.monotonic()
        append_line(path, {"done": 0, "total": total, "eta_s": None})

    def within(self, count: int) -> Any:
        """A callback for the finished fraction of a strategy of ``count`` candidates."""
        base = self.done
        return lambda fraction: self._tell(base + fraction * count, rarely=True)

    def finished(self, count: int) -> None:
        self.done += count
        self._tell(self.done, rarely=False)

    def _tell(self, done: float, *, rarely: bool) -> None:
        now = time.monotonic()
        if rarely and now - self.last < 2:
            return
        self.last = now
        eta = (now - self.start) * (self.total - done) / done if done > 0 else None
        append_line(
            self.path, {"done": round(done, 1), "total": self.total, "eta_s": None if eta is None else round(eta, 1)}
        )
