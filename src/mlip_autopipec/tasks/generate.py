"""Task ``generate``: start structures, strategies, screen; candidates go to files, numbers into the
outcome.

Every batch relaxes the start structures itself. That costs seconds, needs no other task first and
is deterministic, so that all batches agree. All of it runs on the task's cores, in as many
processes as pay for their start.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from mlip_autopipec.base.files import append_line, write_json
from mlip_autopipec.base.structures import Candidate, atoms_to_json
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.payloads import GeneratePayload
from mlip_autopipec.campaign.results import GenerateResult, StartFound
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.proposing import strategies
from mlip_autopipec.proposing.high_energy import surrogate_labels
from mlip_autopipec.proposing.pieces import (
    PROPOSING,
    candidates,
    counted,
    pieces_of,
    starts_of,
    useful_processes,
)
from mlip_autopipec.proposing.pool import opened
from mlip_autopipec.science.generation.start_ranking import Start
from mlip_autopipec.science.lattices import standard_cell
from mlip_autopipec.science.properties.port import AsksSurrogate
from mlip_autopipec.science.screening import Screened, audit_sample
from mlip_autopipec.tasks.finished import SURROGATE_LABELS

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """The batch of a :class:`GeneratePayload`, answered by a :class:`GenerateResult`.

    Writes candidates.json, rejected.json, start.json and progress.jsonl into ``folder``, the first
    batch also surrogate_labels.json. Returns
    Failure ``no_candidates`` when nothing passes the screen. Raises InputError for an unreadable
    structure file, an unknown strategy or a composition without a start crystal.
    """
    asked = GeneratePayload.from_json(spec.payload)
    pieces = pieces_of(plan, asked)
    progress = _Progress(folder / "progress.jsonl", sum(piece.strategy.count for piece in pieces))
    cores = useful_processes(pieces, spec.task.cores)
    with opened(
        plan, cores, progress, beside=len(plan.generation.batches) - 1 if cores > 1 else 0
    ) as pool:
        found = starts_of(plan, pool)
        near = [start for start in found if start.near]
        if not near:
            return Outcome(
                None, Failure("no_candidates", "no start structure survived its relaxation")
            )
        write_json(folder / "start.json", [start.candidate.to_json() for start in near])
        kept = candidates(plan, [pieces], found, pool)[0]
        if asked.batch == 0:
            own = surrogate_labels(plan, found, pool, asked.seed)
            write_json(folder / SURROGATE_LABELS, [item.to_json() for item in own])

    accepted, reasons = kept.accepted, counted(kept.dropped)
    write_json(
        folder / "rejected.json",
        [{"strategy": d.strategy, "reason": d.reason} for d in kept.dropped],
    )
    if not accepted:
        return Outcome(
            None, Failure("no_candidates", f"nothing passed the screen; reasons: {reasons}")
        )
    write_json(folder / "candidates.json", [candidate.to_json() for candidate in accepted])
    names = [candidate.provenance.strategy for candidate in accepted]
    ground_state = standard_cell(near[0].candidate.atoms, primitive=False)
    audit = _audit(plan, kept.judged, asked)
    answer = GenerateResult(
        accepted=len(accepted),
        proposed=kept.proposed.total(),
        stored_ground_state=atoms_to_json(ground_state),
        surrogate=plan.surrogate.engine,
        rejected=reasons,
        strategies={name: names.count(name) for name in dict.fromkeys(names)},
        prepared=_prepared(plan, ground_state),
        geometry_only=kept.judged.geometry_only,
        stored_audit=tuple(candidate.to_json() for candidate in audit),
        starts=tuple(_start(start) for start in near),
    )
    return Outcome(answer.to_json())


def _prepared(plan: Plan, start: Atoms) -> Json:
    """Property -> what it needs of the surrogate before DFT is asked, where the surrogate knows the
    elements.
    """
    asking = {
        name: item for name, item in plan.validation.each.items() if isinstance(item, AsksSurrogate)
    }
    calculator = strategies.calculator(plan) if asking else None
    if calculator is None:
        return {}
    return {name: item.prepare(start, calculator) for name, item in asking.items()}


def _audit(plan: Plan, judged: Screened, asked: GeneratePayload) -> list[Candidate]:
    """What the campaign may label to check the screen: a few that it rejected, each with the
    reason.
    """
    rng = np.random.default_rng([asked.seed, asked.batch])
    return [
        replace(
            verdict.candidate,
            forced=False,
            provenance=replace(
                verdict.candidate.provenance,
                parameters={**verdict.candidate.provenance.parameters, "audit": verdict.reason},
            ),
        )
        for verdict in audit_sample(judged, plan.rules.most_audited, rng)
    ]


def _start(start: Start) -> StartFound:
    return StartFound(
        name=start.candidate.provenance.group,
        formula=str(start.candidate.atoms.symbols.formula.reduce()[0]),
        energy_ev_per_atom=start.energy_ev_per_atom,
    )


class _Progress:
    """Lines ``{"done", "total", "eta_s"}`` about the proposing of candidates, at most one every two
    seconds.
    """

    def __init__(self, path: Path, total: int) -> None:
        self.path, self.total = path, total
        self.start = self.last = time.monotonic()
        append_line(path, {"done": 0, "total": total, "eta_s": None})

    def __call__(self, what: str, fraction: float) -> None:
        """The pool tells it the finished share of ``what``."""
        now = time.monotonic()
        if what != PROPOSING or fraction == 0 or (fraction < 1 and now - self.last < 2):
            return
        self.last = now
        eta_s = round((now - self.start) * (1 - fraction) / fraction, 1)
        append_line(
            self.path,
            {"done": round(fraction * self.total, 1), "total": self.total, "eta_s": eta_s},
        )
