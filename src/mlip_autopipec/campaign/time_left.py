"""How long a campaign will still take, by its plan's expectation and what its labels really cost.

The plan's estimate says what is left of each stage. What a label costs beyond what the DFT code
expected of it (another machine, neighbours on it, a code whose cost is only guessed) is learned
from those that are finished; fits and MD from the rounds that were made. It is a time to
convergence: a campaign that needs more rounds than the plan expects goes on saying that there is
one more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.tasks import TaskKind
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.exploring import unexplored_conditions, visits
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config import cost
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import CellSize
from mlip_autopipec.engines.ports import MdResult

__all__ = ["TimeLeft", "learned_factor"]

#: Finished labels that speak: the latest, as the machine is now. Each is a cell whose symmetry and
#: k-points have to be found, some hundredths of a second.
LATEST = 40
#: Labels to come that are looked at one by one; of more the mean stands for the rest.
LOOKED_AT = 60
#: As many labels that cost what was expected stand beside the finished ones, so that one alone,
#: which may have been unlucky, moves the factor by a quarter of what it says.
PRIOR = 3
#: A label that was killed or stood still is no news of the others.
MOST_OFF = 5.0
#: Share of a label that is still to come, at least, when it takes longer than was expected.
LAST_SHARE = 0.1
#: A fit and what follows each of them.
ROUND_KINDS: tuple[TaskKind, ...] = ("train", "harvest", "validate", "hit_rate")


def learned_factor(measured: Iterable[tuple[float, float]]) -> float:
    """What labels cost beside what was expected of them: the ratio of the sums, with PRIOR labels
    of the expected cost beside them; 1 without any.

    ``measured``: core seconds (wall time times cores) and what was expected, for each label.
    """
    pairs = [(spent, expected) for spent, expected in measured if expected > 0]
    if not pairs:
        return 1.0
    said = sum(expected for _, expected in pairs)
    spent = sum(
        min(max(spent, expected / MOST_OFF), expected * MOST_OFF) for spent, expected in pairs
    )
    prior = PRIOR * said / len(pairs)
    return (spent + prior) / (said + prior)


@dataclass
class TimeLeft:
    """What is left of the campaign of ``plan``; asked again every few seconds, so that what the
    DFT code says of a label is kept.
    """

    plan: Plan
    _stages: cost.Stages | None = field(default=None, init=False)
    _label_s: dict[str, float] = field(default_factory=dict, init=False)

    def seconds(
        self, state: CampaignState, running_s: Mapping[str, float], elapsed_s: float
    ) -> float | None:
        """Wall time to convergence (s), never more than the budget leaves; 0 once it has ended,
        None where the plan's cost cannot be told any more (the user's structure file is gone).

        ``running_s``: id of a running task -> how long it has run; ``elapsed_s``: wall time that
        was spent on the campaign.
        """
        if state.end is not None:
            return 0.0
        try:
            expected = self._expected
        except InputError:
            return None
        factor = self.factor(state)
        coming = self._coming_labels(state)
        open_s, longest_s = self._open_labels_s(state, running_s, factor)
        work_s = (
            self._generation_s(state, running_s)
            + open_s
            + factor * (self._first_labels_s(state) + self._validation_s(state))
            + factor * coming * expected.later_label_s
            + self._rounds_s(state, coming)
        )
        budget_s = self.plan.budget.wall_minutes * 60 - elapsed_s
        left_s = max(cost.wall_s(work_s, self.plan.executor.cores), longest_s)
        return max(0.0, min(left_s, budget_s))

    def factor(self, state: CampaignState) -> float:
        """What labels cost beside what the DFT code expected, by those that are finished."""
        done = [record for record in state.of_kind("label") if record.status == "done"]
        latest = sorted(done, key=lambda record: record.order)[-LATEST:]
        return learned_factor(
            (record.task.cores * outcome.wall_s, self.expected_s(record))
            for record in latest
            if (outcome := record.attempts[-1].outcome) is not None
        )

    @property
    def _expected(self) -> cost.Stages:
        if self._stages is None:
            self._stages = cost.stages(self.plan)
        return self._stages

    def expected_s(self, record: TaskRecord) -> float:
        """What the DFT code expects of a label (CPU s)."""
        name = record.task.id
        if name not in self._label_s:
            engine, dft = registry.dft_engine(self.plan.dft.engine), self.plan.dft
            size = CellSize.of(record.asked(LabelPayload).job.atoms)
            self._label_s[name] = engine.cpu_s(dft.method, size)
        return self._label_s[name]

    def _open_labels_s(
        self, state: CampaignState, running_s: Mapping[str, float], factor: float
    ) -> tuple[float, float]:
        """Core seconds of the labels that are queued or run, and wall time of the longest of those
        that run.
        """
        records = state.active("label")
        looked_at = sorted(records, key=lambda record: record.status != "running")[:LOOKED_AT]
        if not looked_at:
            return 0.0, 0.0
        left_s, longest_s = [], 0.0
        for record in looked_at:
            whole_s = factor * self.expected_s(record) / record.task.cores
            wall_s = max(whole_s - running_s.get(record.task.id, 0.0), LAST_SHARE * whole_s)
            left_s.append(record.task.cores * wall_s)
            if record.status == "running":
                longest_s = max(longest_s, wall_s)
        return sum(left_s) * len(records) / len(looked_at), longest_s

    def _generation_s(self, state: CampaignState, running_s: Mapping[str, float]) -> float:
        """Of the surrogate's work, while there are no first labels."""
        if state.labels("train"):
            return 0.0
        spent = sum(_spent(state.of_kind("generate")))
        now = sum(running_s.get(record.task.id, 0.0) for record in state.active("generate"))
        return max(0.0, self._expected.generation_s - spent - now)

    def _first_labels_s(self, state: CampaignState) -> float:
        """Of the first labels, before they are planned one by one."""
        return 0.0 if state.labels("train") else self._expected.first_labels_s

    def _validation_s(self, state: CampaignState) -> float:
        """Of the validation's labels that are not planned yet."""
        points = cost.expected_points(self.plan)
        rest = max(0, points - len(state.labels("validate")))
        return self._expected.validation_s * rest / points if points else 0.0

    def _coming_labels(self, state: CampaignState) -> int:
        """Labels that MD will still ask for: those that the plan expects; beyond them, one more
        round while the potential in force is not known to be good.
        """
        if state.current is not None and not unexplored_conditions(self.plan, state):
            return 0
        asked = sum(len(state.labels_of(record)) for record in state.of_kind("harvest"))
        rest = max(cost.LATER_LABELS - asked, cost.ROUND_LABELS)
        return max(0, min(rest, room(self.plan, state)))

    def _rounds_s(self, state: CampaignState, coming: int) -> float:
        """Core seconds of the fits and of MD to come: under the potential in force, after the
        labels that are on their way, and for every further round.
        """
        expected, made = self._expected, len(state.potentials)
        fit_s = expected.fits_s / (cost.ROUNDS + 1)
        md_s = expected.md_s
        if made:
            fit_s = sum(_spent([r for kind in ROUND_KINDS for r in state.of_kind(kind)])) / made
            visited = _spent(state.of_kind("explore"))
            if visited:
                md_s = sum(visited) / len(visited) * len(self.plan.exploration.conditions)
        learning = not made or any(not record.ended for record in state.labels("train"))
        rounds = math.ceil(coming / cost.ROUND_LABELS) + int(learning)
        now = 0.0 if learning else self._to_visit(state)
        return rounds * (fit_s + md_s) + now * md_s

    def _to_visit(self, state: CampaignState) -> float:
        """Share of the conditions that MD has not visited under the potential in force."""
        conditions = self.plan.exploration.conditions
        newest = [found[-1] for one in conditions if (found := visits(state, one))]
        assert state.current is not None
        moved = [MdResult.from_json(r.result) for r in newest if r.status == "done"]
        made = sum(result.potential == state.current.name for result in moved)
        return 1 - made / len(conditions)


def _spent(records: Sequence[TaskRecord]) -> list[float]:
    """CPU seconds of the attempts that succeeded."""
    return [
        attempt.outcome.cpu_s
        for record in records
        for attempt in record.attempts
        if attempt.outcome is not None and attempt.outcome.ok
    ]
