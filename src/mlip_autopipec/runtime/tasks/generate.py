"""Task ``generate``: start structures, strategies, screen; candidates go to files, numbers into the outcome.

Every batch relaxes the start structures itself. That costs seconds, needs no other task first and is deterministic,
so that all batches agree.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mlip_autopipec.config.plan import Plan
from mlip_autopipec.files import append_line, write_json
from mlip_autopipec.runtime import proposing
from mlip_autopipec.science import generation, screening
from mlip_autopipec.science.generation import starts
from mlip_autopipec.science.generation.context import standard_cell
from mlip_autopipec.science.generation.normal_modes import normal_modes
from mlip_autopipec.science.generation.start_relaxation import one_by_one
from mlip_autopipec.science.properties.molecule import modes_to_json
from mlip_autopipec.types import Candidate, Failure, Json, Outcome, TaskSpec, atoms_to_json

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Payload {"batch", "strategies": [{"name", "count", "options"}], "seed"}.

    Writes candidates.json, rejected.json, start.json and progress.jsonl into ``folder``. Returns Failure
    ``no_candidates`` when nothing passes the screen. Raises InputError for an unreadable structure file, an unknown
    strategy or a composition without a start crystal.
    """
    strategies: list[Json] = spec.payload["strategies"]
    for item in strategies:
        generation.strategy(item["name"])
    seed, batch = int(spec.payload["seed"]), int(spec.payload["batch"])
    calculator = proposing.calculator(plan)
    found = starts.find(plan.material, one_by_one(calculator) if calculator else None, seed=plan.seed)
    near = [start.candidate for start in found if start.near]
    if not near:
        return Outcome(None, Failure("no_candidates", "no start structure survived its relaxation"))
    write_json(folder / "start.json", [start.to_json() for start in near])

    progress = _Progress(folder / "progress.jsonl", sum(int(item["count"]) for item in strategies))
    proposed: list[Candidate] = []
    rejected: list[Json] = []
    reasons: dict[str, int] = {}
    for index, item in enumerate(strategies):
        name, count = str(item["name"]), int(item["count"])
        if calculator is None and name in generation.NEEDS_CALCULATOR:
            rejected.append({"strategy": name, "reason": f"{plan.surrogate.engine} does not know every element"})
            reasons["needs_surrogate"] = reasons.get("needs_surrogate", 0) + count
            continue
        # Groups carry the seed: batches and strategies of one campaign must not share group names.
        strategy_seed = proposing.sub_seed(seed, batch, index)
        proposed += proposing.propose(plan, item, found, calculator, strategy_seed, progress.within(count))
        progress.finished(count)

    screened = screening.screen(proposed, calculator, proposing.limits(plan.surrogate), proposing.lowest(found))
    rejected += [
        {"strategy": verdict.candidate.provenance.strategy, "reason": verdict.reason} for verdict in screened.rejected
    ]
    for kind, number in screened.reasons().items():
        reasons[kind] = reasons.get(kind, 0) + number
    accepted, twins = proposing.without_twins(screened.accepted, plan.material.elements)
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
            "ground_state": atoms_to_json(standard_cell(near[0].atoms, primitive=False)),
            **(
                {"modes": modes_to_json(normal_modes(near[0].atoms, calculator))}
                if plan.validation.modes and calculator
                else {}
            ),
            "geometry_only": screened.geometry_only,
            "starts": [
                {
                    "name": start.candidate.provenance.group,
                    "formula": str(start.candidate.atoms.symbols.formula.reduce()[0]),
                    "energy_ev_per_atom": start.energy_ev_per_atom,
                }
                for start in found
                if start.near
            ],
            "hit": {"proposed": len(proposed), "accepted": len(accepted)},
        }
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
