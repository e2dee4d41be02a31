"""``mlip-auto generate``: start structures and candidates of a plan, looked at without a campaign.

The candidates are those that the campaign of the same plan would propose: equal seeds, the same screen. Every strategy
is one piece of work, and so is every relaxation and every few structures of the screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

from mlip_autopipec.config.plan import Plan
from mlip_autopipec.errors import MlipError
from mlip_autopipec.files import write_json
from mlip_autopipec.runtime import proposing
from mlip_autopipec.runtime.generate_report import FILES, Generated, summary_of, write_files
from mlip_autopipec.runtime.progress import Progress
from mlip_autopipec.runtime.surrogate_pool import SurrogatePool, opened
from mlip_autopipec.science import generation, screening
from mlip_autopipec.science.generation import starts
from mlip_autopipec.science.generation.context import bare
from mlip_autopipec.science.generation.start_ranking import Start
from mlip_autopipec.types import Candidate, Json, atoms_to_json, content_hash

__all__ = ["generate"]

# MD steps per candidate against a single evaluation, for the progress that is shown.
MD_WEIGHT = 20.0
Evaluation = tuple[float, Any] | None


@dataclass(slots=True)
class _Told:
    """One line with what is being done and the time left of it."""

    line: Callable[[str], None]
    what: str = ""
    since: float = 0.0

    def __call__(self, what: str, fraction: float) -> None:
        if what != self.what:
            self.what, self.since = what, time.monotonic()
        passed = time.monotonic() - self.since
        left = f", about {passed * (1 - fraction) / fraction:.0f} s left" if 0.02 < fraction < 1 else ""
        self.line(f"{what}: {100 * fraction:.0f} %{left}")


def generate(
    plan: Plan, out: Path, *, starts_only: bool = False, cores: int | None = None, progress: Progress | None = None
) -> Json:
    """Write starts, candidates, a picture sheet and structures.json into ``out``; the content of the last comes back.

    ``{"formula", "kind", "surrogate", "starts", "structures", "strategies", "files", "wall_s"}``. Both lists hold
    ``{formula, n_atoms, strategy, spacegroup, surrogate_energy_ev_per_atom, parent}`` of each structure; starts have
    ``prototype``, ``above_ev_per_atom`` and ``near`` besides, and come first in ``structures`` too. ``strategies``:
    name -> proposed, accepted, rejected (by reason). Nothing is written when it fails.

    Raises InputError (unreadable file, no start crystal, unknown strategy), MissingProgramError, MlipError when no
    start survives its relaxation.
    """
    begun = time.monotonic()
    shown = progress or Progress()
    with opened(plan, cores or plan.executor.cores, _Told(shown.line)) as pool:
        shown.log(
            f"start structures of {plan.material.formula}, with {plan.surrogate.engine} on {pool.processes} cores"
        )
        found = _starts(plan, pool)
        shown.log(f"{sum(start.near for start in found)} start structures, {sum(not s.near for s in found)} high ones")
        result = Generated(found) if starts_only else _candidates(plan, found, pool)
    out.mkdir(parents=True, exist_ok=True)
    summary = summary_of(plan, result) | {"wall_s": round(time.monotonic() - begun, 1)}
    summary["files"] = write_files(result, summary, out, plan.material.formula)
    write_json(out / FILES["summary"], summary)
    shown.log(f"{len(result.accepted)} candidates" if not starts_only else "done")
    return summary


def _starts(plan: Plan, pool: SurrogatePool) -> list[Start]:
    evaluate = pool.evaluate if proposing.surrogate_knows(plan) else None
    found = starts.find(plan.material, evaluate, seed=plan.seed, max_atoms=plan.embedding.max_dft_atoms)
    if not any(start.near for start in found):
        raise MlipError("no start structure survived its relaxation")
    return found


def _candidates(plan: Plan, found: list[Start], pool: SurrogatePool) -> Generated:
    """All strategies of all batches, screened batch by batch as the campaign does."""
    jobs: list[tuple[Any, ...]] = []
    weights: list[float] = []
    skipped: dict[str, dict[str, int]] = {}
    proposed: dict[str, int] = {}
    for batch, strategies in enumerate(plan.generation.batches):
        for index, item in enumerate(strategies):
            generation.strategy(item.name)
            if item.name in generation.NEEDS_CALCULATOR and not proposing.surrogate_knows(plan):
                skipped.setdefault(item.name, {})["needs_surrogate"] = item.count
                continue
            seed = proposing.sub_seed(plan.seed, batch, index)
            jobs.append((plan, item.model_dump(mode="json"), found, seed, batch))
            weights.append(item.count * (MD_WEIGHT if item.name in generation.NEEDS_CALCULATOR else 1.0))
    # The longest first, so that none is begun when the others have ended.
    order = sorted(range(len(jobs)), key=lambda index: -weights[index])
    made = dict(
        zip(order, pool.run("candidates", _propose, [jobs[i] for i in order], [weights[i] for i in order]), strict=True)
    )
    accepted: list[Candidate] = []
    energies: list[float | None] = []
    rejected = skipped
    for batch in range(len(plan.generation.batches)):
        candidates = [one for index in range(len(jobs)) if jobs[index][4] == batch for one in made[index]]
        for candidate in candidates:
            proposed[candidate.provenance.strategy] = proposed.get(candidate.provenance.strategy, 0) + 1
        screened = _screened(plan, candidates, found, pool)
        for verdict in screened.rejected:
            _count(rejected, verdict.candidate, verdict.kind or "")
        energy = {id(verdict.candidate): verdict.energy_ev_per_atom for verdict in screened.verdicts}
        kept, twins = proposing.without_twins(screened.accepted, plan.material.elements)
        for twin in twins:
            _count(rejected, twin, "duplicate")
        accepted += kept
        energies += [energy[id(candidate)] for candidate in kept]
    return Generated(found, accepted, energies, proposed, rejected)


def _count(rejected: dict[str, dict[str, int]], candidate: Candidate, kind: str) -> None:
    kinds = rejected.setdefault(candidate.provenance.strategy, {})
    kinds[kind] = kinds.get(kind, 0) + 1


def _propose(
    plan: Plan, item: Json, found: list[Start], seed: int, _batch: int, calculator: Any, report: Any
) -> list[Candidate]:
    return proposing.propose(plan, item, found, calculator, seed, report)


def _screened(plan: Plan, candidates: list[Candidate], found: list[Start], pool: SurrogatePool) -> screening.Screened:
    limits = proposing.limits(plan.surrogate)
    if not proposing.surrogate_knows(plan):
        return screening.screen(candidates, None, limits)
    results = pool.evaluate("screen", _evaluation, [item.atoms for item in candidates])
    known = _Known({_name(item.atoms): result for item, result in zip(candidates, results, strict=True)})
    return screening.screen(candidates, known, limits, proposing.lowest(found))


def _evaluation(atoms: Atoms, calculator: Calculator) -> Evaluation:
    """Energy (eV) and forces (n, 3); None where atoms overlap or the surrogate fails."""
    if screening.closest_contact(atoms) < 0.5:  # no limit of the screen is lower
        return None
    tried = bare(atoms)
    tried.calc = calculator
    try:
        forces = tried.get_forces()
        return float(tried.get_potential_energy()), forces
    except CalculationFailed:
        return None


def _name(atoms: Atoms) -> str:
    return content_hash(atoms_to_json(atoms), length=32)


class _Known(Calculator):
    """Answers with what other processes calculated."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (ASE's declaration)

    def __init__(self, results: dict[str, Evaluation]) -> None:
        super().__init__()
        self.known = results

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        result = self.known[_name(self.atoms)]
        if result is None:
            raise CalculationFailed("the surrogate failed")
        self.results = {"energy": result[0], "forces": result[1]}
