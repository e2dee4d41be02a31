"""Candidates on the cores of a pool: what the task ``generate`` and the command ``generate`` do
alike.

A strategy of a batch is one piece of work (several, where it is MD for many frames), a structure of
the screen another. Seeds belong to the piece, so that nothing depends on how many processes share
the work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ase.calculators.calculator import Calculator

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.campaign.payloads import GeneratePayload
from mlip_autopipec.config.plan import Plan, StrategyPlan
from mlip_autopipec.proposing import strategies
from mlip_autopipec.proposing.pool import SurrogatePool
from mlip_autopipec.science import generation
from mlip_autopipec.science.generation import starts
from mlip_autopipec.science.generation.start_ranking import Start
from mlip_autopipec.science.screening import (
    Evaluation,
    Screened,
    by_own_limit,
    evaluate,
    judge,
    screen,
)

__all__ = [
    "PROPOSING",
    "Dropped",
    "Piece",
    "Sifted",
    "candidates",
    "counted",
    "pieces_of",
    "proposed",
    "screened",
    "starts_of",
    "useful_processes",
]

#: What the pool says it is doing while strategies are at work.
PROPOSING = "candidates"
# MD for more frames is several pieces: they share the cores.
MOST_FRAMES = 24
# Evaluations that the search for start structures costs: a dozen lattices of an element, relaxed.
START_EVALUATIONS = 300
# Loading a model costs as much as this many structures of 16 atoms.
EVALUATIONS_PER_PROCESS = 100


@dataclass(frozen=True, slots=True)
class Piece:
    """One strategy of a batch, or a part of one: ``strategy`` with its share of the count.

    ``runs`` is False where it needs the surrogate's forces and the surrogate lacks an element.
    """

    strategy: StrategyPlan
    batch: int
    seed: int
    runs: bool

    @property
    def evaluations(self) -> int:
        """About how many structures the surrogate has to evaluate for it."""
        return self.strategy.count * generation.needs(self.strategy.name).evaluations


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that is not kept (``count`` of them, where a strategy could not run), with a
    class of reason.
    """

    strategy: str
    kind: str
    reason: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Sifted:
    """What screen and search for twins leave of a batch, and why the rest is not kept.

    ``proposed``: strategy -> how many it made.
    """

    proposed: Counter[str]
    judged: Screened
    accepted: list[Candidate]
    dropped: list[Dropped]

    @property
    def energies_ev_per_atom(self) -> list[float | None]:
        """The surrogate's, of the accepted ones."""
        known = {id(item.candidate): item.energy_ev_per_atom for item in self.judged.verdicts}
        return [known[id(candidate)] for candidate in self.accepted]


def counted(dropped: Iterable[Dropped]) -> dict[str, int]:
    """Kind of reason -> how many."""
    kinds: Counter[str] = Counter()
    for item in dropped:
        kinds[item.kind] += item.count
    return dict(sorted(kinds.items()))


def pieces_of(plan: Plan, asked: GeneratePayload) -> list[Piece]:
    """The strategies of a ``generate`` task. Raises InputError for one that does not exist.

    Groups carry the seed: batches and strategies of one campaign must not share group names.
    """
    batch, seed = asked.batch, asked.seed
    knows = strategies.surrogate_knows(plan)
    pieces: list[Piece] = []
    for index, item in enumerate(asked.strategies):
        runs = knows or not generation.needs(item.name).calculator
        for part, count in enumerate(_parts(item)):
            # The seed of the first part does not know of the others.
            own = strategies.sub_seed(seed, batch, index, *([part] if part else []))
            share = item.model_copy(update={"count": count})
            pieces.append(Piece(share, batch, own, runs))
    return pieces


def _parts(item: StrategyPlan) -> list[int]:
    """The count of each piece of a strategy."""
    count = item.count
    parts = max(1, math.ceil(count / MOST_FRAMES)) if generation.needs(item.name).in_runs else 1
    return [count // parts + (part < count % parts) for part in range(parts)]


def useful_processes(pieces: Sequence[Piece], cores: int) -> int:
    """How many processes pay for loading the model once more; at most one per core, at least
    one.
    """
    evaluations = START_EVALUATIONS + sum(piece.evaluations for piece in pieces)
    return max(1, min(cores, evaluations // EVALUATIONS_PER_PROCESS))


def starts_of(plan: Plan, pool: SurrogatePool) -> list[Start]:
    """Start structures of a plan, relaxed and ranked by the surrogate where it knows the elements.

    Raises InputError for an unreadable structure file or a composition without a start crystal.
    """
    evaluate = pool.evaluate if strategies.surrogate_knows(plan) else None
    return starts.find(
        plan.material, evaluate, seed=plan.seed, max_atoms=plan.embedding.max_dft_atoms
    )


def candidates(
    plan: Plan, batches: Sequence[Sequence[Piece]], found: Sequence[Start], pool: SurrogatePool
) -> list[Sifted]:
    """What each batch makes of the starts, screened and without twins, batch by batch.

    All batches share the pool while strategies are at work.
    """
    made = iter(proposed(plan, [piece for pieces in batches for piece in pieces], found, pool))
    return [sifted(plan, pieces, [next(made) for _ in pieces], found, pool) for pieces in batches]


def proposed(
    plan: Plan, pieces: Sequence[Piece], found: Sequence[Start], pool: SurrogatePool
) -> list[list[Candidate]]:
    """What each piece makes of the starts, in their order; nothing for one that cannot run."""
    # The longest first, so that none is begun when the others have ended.
    runnable = [index for index, piece in enumerate(pieces) if piece.runs]
    order = sorted(runnable, key=lambda index: -pieces[index].evaluations)
    weights = [float(pieces[index].evaluations) for index in order]
    jobs = [(plan, pieces[index], list(found)) for index in order]
    made = dict(zip(order, pool.run(PROPOSING, _propose, jobs, weights), strict=True))
    return [made.get(index, []) for index in range(len(pieces))]


def _propose(
    plan: Plan, piece: Piece, found: list[Start], calculator: Calculator | None, report: Any
) -> list[Candidate]:
    return strategies.propose(plan, piece.strategy, found, calculator, piece.seed, report)


def screened(
    plan: Plan, candidates: Sequence[Candidate], found: Sequence[Start], pool: SurrogatePool
) -> Screened:
    """:func:`science.screening.screen` with the evaluations spread over the pool.

    A structure that kills its process twice is rejected with that reason.
    """
    limits = strategies.limits(plan.surrogate)
    if not strategies.surrogate_knows(plan):
        return screen(candidates, None, limits)
    own = [by_own_limit(candidate, limits) for candidate in candidates]
    rest = [
        candidate.atoms for candidate, known in zip(candidates, own, strict=True) if known is None
    ]
    lost = partial(Evaluation, "surrogate_failed")
    evaluated = iter(pool.evaluate("screen", partial(evaluate, limits=limits), rest, lost))
    evaluations = [known if known is not None else next(evaluated) for known in own]
    return judge(candidates, evaluations, limits, strategies.lowest(found))


def sifted(
    plan: Plan,
    pieces: Sequence[Piece],
    made: Sequence[Sequence[Candidate]],
    found: Sequence[Start],
    pool: SurrogatePool,
) -> Sifted:
    """Screen what the pieces of one batch ``made`` and leave out what is alike."""
    judged = screened(plan, [one for ones in made for one in ones], found, pool)
    accepted, twins = strategies.without_twins(judged.accepted, plan.material.elements)
    unknown = f"{plan.surrogate.engine} does not know every element"
    dropped = [
        *(
            Dropped(p.strategy.name, "needs_surrogate", unknown, p.strategy.count)
            for p in pieces
            if not p.runs
        ),
        *(
            Dropped(v.candidate.provenance.strategy, v.kind or "", v.reason or "")
            for v in judged.rejected
        ),
        *(
            Dropped(twin.provenance.strategy, "duplicate", "duplicate of an earlier one")
            for twin in twins
        ),
    ]
    count: Counter[str] = Counter()
    for piece, ones in zip(pieces, made, strict=True):
        if piece.runs:
            count[piece.strategy.name] += len(ones)
    return Sifted(count, judged, accepted, dropped)
