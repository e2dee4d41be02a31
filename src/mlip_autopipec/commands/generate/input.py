"""``mlip-auto generate``: start structures and candidates of a plan, looked at without a campaign.

The candidates are those that the campaign of the same plan would propose: the strategies and seeds
are those of its tasks, and the screen is the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mlip_autopipec.base.errors import MlipError
from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.typed import to_json
from mlip_autopipec.campaign import first_set
from mlip_autopipec.campaign.payloads import GeneratePayload
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.commands.generate.outputs import (
    SUMMARY,
    Generated,
    GenerateSummary,
    summary_of,
    write_files,
)
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.proposing.pieces import candidates, counted, pieces_of, starts_of
from mlip_autopipec.proposing.pool import SurrogatePool, opened
from mlip_autopipec.science.generation.start_ranking import Start

__all__ = ["generate"]


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
        left = (
            f", about {passed * (1 - fraction) / fraction:.0f} s left"
            if 0.02 < fraction < 1
            else ""
        )
        self.line(f"{what}: {100 * fraction:.0f} %{left}")


def generate(
    plan: Plan,
    out: Path,
    *,
    starts_only: bool = False,
    cores: int | None = None,
    progress: Progress | None = None,
) -> GenerateSummary:
    """Write starts, candidates, a picture sheet and structures.json into ``out``; the content of
    the last comes back. Nothing is written when it fails.

    Raises InputError (unreadable file, no start crystal, unknown strategy), MissingProgramError,
    MlipError when no start survives its relaxation.
    """
    begun = time.monotonic()
    shown = progress or Progress()
    with opened(plan, cores or plan.executor.cores, _Told(shown.line)) as pool:
        shown.log(
            f"start structures of {plan.material.formula}, with {plan.surrogate.engine} on"
            f" {pool.processes} cores"
        )
        found = _starts(plan, pool)
        shown.log(
            f"{sum(start.near for start in found)} start structures,"
            f" {sum(not s.near for s in found)} high ones"
        )
        result = Generated(found) if starts_only else _candidates(plan, found, pool)
    out.mkdir(parents=True, exist_ok=True)
    summary = replace(summary_of(plan, result), wall_s=round(time.monotonic() - begun, 1))
    summary = replace(summary, files=write_files(result, summary, out, plan.material.formula))
    write_json(out / SUMMARY, to_json(summary))
    shown.log(f"{len(result.accepted)} candidates" if not starts_only else "done")
    return summary


def _starts(plan: Plan, pool: SurrogatePool) -> list[Start]:
    found = starts_of(plan, pool)
    if not any(start.near for start in found):
        raise MlipError("no start structure survived its relaxation")
    return found


def _candidates(plan: Plan, found: list[Start], pool: SurrogatePool) -> Generated:
    """All strategies of all batches, screened batch by batch as the campaign does."""
    tasks = first_set.generate(plan, CampaignState())
    pieces = [pieces_of(plan, GeneratePayload.from_json(task.payload)) for task in tasks]
    batches = candidates(plan, pieces, found, pool)
    proposed: Counter[str] = Counter()
    for kept in batches:
        proposed.update(kept.proposed)
    dropped = [item for kept in batches for item in kept.dropped]
    by_strategy = {
        name: [item for item in dropped if item.strategy == name]
        for name in {d.strategy for d in dropped}
    }
    return Generated(
        found,
        [candidate for kept in batches for candidate in kept.accepted],
        [energy for kept in batches for energy in kept.energies_ev_per_atom],
        proposed,
        {name: counted(items) for name, items in sorted(by_strategy.items())},
    )
