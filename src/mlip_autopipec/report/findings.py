"""From the log of a campaign to all that its result folder and its report are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ase import Atoms

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import LabelledStructure, PotentialRef
from mlip_autopipec.base.tasks import EndState
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.auditing import AUDIT
from mlip_autopipec.campaign.events import (
    Event,
    MdBroke,
    MdProgressed,
    MdStreamed,
)
from mlip_autopipec.campaign.labelled import labelled_structures
from mlip_autopipec.campaign.properties import validation_of
from mlip_autopipec.campaign.releasing import released as best
from mlip_autopipec.campaign.results import GenerateResult
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.campaign.stopping import verdict
from mlip_autopipec.campaign.time_left import TimeLeft
from mlip_autopipec.config import cost
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.report import status
from mlip_autopipec.report.failures import failure_rows
from mlip_autopipec.report.fits import failed_fits
from mlip_autopipec.report.reached import conditions_reached
from mlip_autopipec.report.rows import (
    ConditionReached,
    ConditionRow,
    ExpectedCost,
    FailureRow,
    Screen,
)
from mlip_autopipec.report.timeline import TimelineRow, timeline
from mlip_autopipec.report.visits import conditions
from mlip_autopipec.science.stopping import Verdict

__all__ = ["Findings", "findings"]

History = Sequence[tuple[float, Event]]


@dataclass(frozen=True, slots=True)
class Findings:
    """All that is known of a campaign.

    ``dft_calls``: attempts started, failed ones, validation and the ``convergence_calls`` included.
    ``potentials``: oldest first; ``released`` names one of them (default: the last).
    ``published_at``: potential -> seconds since the epoch. ``validation``: result of the released
    one's ``validate`` task. ``train``, ``validate``, ``audit``: labelled structures by purpose.
    ``gamma``: potential -> extrapolation grades met in MD (no unit). ``core_hours`` by kind of
    task. ``reached``: each condition under the released potential. ``checks``: the stop rules.
    ``expected``: by the plan, beside what was spent.
    ``ground_state``: conventional cell for the MD example. ``failed_fits``: a line for each.
    ``versions``: of programs beside the packages of this interpreter.
    """

    end_state: EndState | None
    reason: str
    wall_s: float
    dft_calls: int
    convergence_calls: int = 0
    potentials: tuple[PotentialRef, ...] = ()
    published_at: Mapping[str, float] = field(default_factory=dict)
    released: str | None = None
    swaps: int = 0
    cutouts: int = 0
    validation: Json | None = None
    train: tuple[LabelledStructure, ...] = ()
    validate: tuple[LabelledStructure, ...] = ()
    audit: tuple[LabelledStructure, ...] = ()
    screen: Screen | None = None
    failures: tuple[FailureRow, ...] = ()
    failed_fits: tuple[str, ...] = ()
    gamma: Mapping[str, Sequence[float]] = field(default_factory=dict)
    timeline: tuple[TimelineRow, ...] = ()
    core_hours: Mapping[str, float] = field(default_factory=dict)
    conditions: tuple[ConditionRow, ...] = ()
    reached: tuple[ConditionReached, ...] = ()
    checks: Verdict | None = None
    expected: ExpectedCost | None = None
    ground_state: Atoms | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def potential(self) -> PotentialRef | None:
        """The released potential, or None when there is none."""
        if self.released is None:
            return self.potentials[-1] if self.potentials else None
        return next(item for item in self.potentials if item.name == self.released)

    @property
    def labelled(self) -> tuple[tuple[str, LabelledStructure], ...]:
        """Every labelled structure with its purpose."""
        parts = (("train", self.train), ("validate", self.validate), ("audit", self.audit))
        return tuple((purpose, item) for purpose, items in parts for item in items)


def findings(plan: Plan, state: CampaignState, history: History, wall_s: float) -> Findings:
    """Everything that is known of the campaign."""
    released = best(plan, state)
    generated = _generated(state)
    return Findings(
        end_state=state.end.end_state if state.end else None,
        reason=state.end.reason if state.end else "not ended",
        wall_s=wall_s,
        dft_calls=state.dft_calls,
        convergence_calls=state.settings_checked.calculations if state.settings_checked else 0,
        potentials=tuple(state.potentials),
        published_at=status.published_at(history),
        released=released.name if released else None,
        swaps=state.swaps,
        cutouts=status.cutouts(state),
        validation=validation_of(state, released) if released else None,
        train=tuple(labelled_structures(state, "train")),
        validate=tuple(labelled_structures(state, "validate")),
        audit=tuple(labelled_structures(state, AUDIT)),
        screen=_screen(plan, state),
        failures=failure_rows(state),
        failed_fits=failed_fits(plan, state),
        gamma=_gamma(history),
        timeline=timeline(state, history),
        core_hours=status.core_hours(state),
        conditions=conditions(plan, state),
        reached=conditions_reached(plan, state, released),
        checks=verdict(plan, state, released),
        expected=_expected(plan, state),
        ground_state=generated[0].ground_state if generated else None,
    )


def _expected(plan: Plan, state: CampaignState) -> ExpectedCost | None:
    """None where the plan's cost cannot be told any more: the user's structure file is gone."""
    try:
        expected = cost.estimate(plan)
    except InputError:
        return None
    return ExpectedCost(
        dft_calls=expected.dft_calls,
        wall_minutes=expected.wall_minutes,
        label_cost=round(TimeLeft(plan).factor(state), 2),
    )


def _generated(state: CampaignState) -> list[GenerateResult]:
    """What the finished generation tasks answered."""
    return [
        GenerateResult.from_json(record.result)
        for record in state.of_kind("generate")
        if record.status == "done"
    ]


def _screen(plan: Plan, state: CampaignState) -> Screen | None:
    """What the surrogate's screen let pass and how right it was; None before the candidates are
    there.
    """
    done = _generated(state)
    if not done:
        return None
    return Screen(
        surrogate=plan.surrogate.engine,
        model=plan.surrogate.model,
        proposed=sum(result.proposed for result in done),
        accepted=sum(result.accepted for result in done),
        geometry_only=any(result.geometry_only for result in done),
        hit_rate=status.hit_rate(state),
    )


def _gamma(history: History) -> dict[str, list[float]]:
    """Extrapolation grades that MD reported, by the potential in force."""
    found: dict[str, list[float]] = {}
    for _, event in history:
        match event:
            case MdProgressed():
                gamma = event.gamma_max
            case MdStreamed() | MdBroke():
                gamma = event.gamma
            case _:
                continue
        if gamma and event.potential:  # 0: nothing was evaluated yet
            found.setdefault(event.potential, []).append(gamma)
    return found
