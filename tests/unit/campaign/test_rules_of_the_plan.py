"""Each number of the plan's section ``rules`` is what the loop goes by."""

from __future__ import annotations

from typing import Any

import pytest
from test_auditing import Screened
from world import World, plan_for_tests

from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.campaign import closing
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.campaign.training import training_task


def failing(kind: str) -> Any:
    def fail(record: TaskRecord) -> Outcome | None:
        broken = record.task.kind == kind
        return Outcome(None, Failure("error", "broken")) if broken else None

    return fail


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_share_of_the_wall_time_for_exploration(share: float) -> None:
    plan = plan_for_tests(rules={"exploration_share": share})
    limit_s = share * plan.budget.wall_minutes * 60
    assert closing.closing_reason(plan, CampaignState(), limit_s - 1) is None
    assert "wall time" in (closing.closing_reason(plan, CampaignState(), limit_s + 1) or "")


def test_how_many_visits_of_md_may_fail_altogether() -> None:
    counts = []
    for most in (1, 3):
        world = World(plan_for_tests(rules={"failed_visits": most}), failing("explore"))
        state = world.run()
        visits = [r for r in state.of_kind("explore") if r.status == "quarantined"]
        counts.append(len(visits) / len(world.plan.exploration.conditions))
    assert counts == [1, 3]


@pytest.mark.parametrize("every", [2, 3])
def test_every_so_many_fits_start_from_scratch(every: int) -> None:
    world = World(plan_for_tests(rules={"cold_every": every}))
    world.run()
    plan, state = world.plan, world.state
    released = [p for p in state.potentials if p.trainer == plan.training.trainer]
    for made in range(1, len(released) + 1):
        state.potentials = released[:made]
        task = training_task(plan, state, ["a"], plan.training.trainer)
        assert (task.payload["warm_start"] is None) == (made % every == 0)


@pytest.mark.parametrize(("share", "ends"), [(0.1, True), (0.95, False)])
def test_the_share_of_labels_that_may_be_given_up(share: float, ends: bool) -> None:
    def fail(record: TaskRecord) -> Outcome | None:
        broken = record.task.kind == "label" and record.order % 3 == 0
        return Outcome(None, Failure("scf_not_converged", "no")) if broken else None

    plan = plan_for_tests(rules={"quarantined_share": share})
    state = World(plan, fail).run()
    assert state.end is not None
    assert (state.end.end_state == "needs_attention") == ends


@pytest.mark.parametrize(
    ("rules", "audited"),
    [({"most_audited": 0}, 0), ({"audited_share": 0.25}, 2), ({"audited_share": 0}, 0)],
)
def test_how_many_rejected_structures_are_labelled(rules: Any, audited: int) -> None:
    assert len(Screened(plan_for_tests(rules=rules)).run().labels("audit")) == audited
