"""Time to convergence: from the plan's expectation, corrected by what labels really cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from world import World

from mlip_autopipec.base.tasks import Outcome
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.campaign.time_left import TimeLeft, learned_factor
from mlip_autopipec.config import cost
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.testing import simulated_plan


def test_few_labels_move_the_factor_little_and_many_all_the_way() -> None:
    assert learned_factor([]) == 1.0
    assert learned_factor([(20.0, 10.0)]) == pytest.approx(1.25)
    assert learned_factor([(20.0, 10.0)] * 57) == pytest.approx(1.95)
    assert learned_factor([(5.0, 10.0)] * 57) == pytest.approx(0.525)


def test_dear_labels_count_more_and_a_stuck_one_hardly() -> None:
    """Seconds that were spent count, not labels; what stood still is held at five times."""
    assert learned_factor([(2.0, 1.0)] * 20 + [(100.0, 100.0)] * 20) < 1.02
    stuck = learned_factor([(10.0, 10.0)] * 27 + [(1e6, 10.0)])
    assert stuck == pytest.approx(1 + 4 / 31)
    assert learned_factor([(1.0, 0.0)]) == 1.0


def left_s(plan: Plan, state: CampaignState, elapsed_s: float = 0.0) -> float:
    found = TimeLeft(plan).seconds(state, {}, elapsed_s)
    assert found is not None
    return found


def test_a_molecule_whose_file_is_gone_has_no_known_end(tmp_path: Path) -> None:
    plan = simulated_plan()
    gone = {"kind": "molecule", "structure_file": str(tmp_path / "gone.xyz")}
    material = plan.material.model_copy(update=gone)
    lost = plan.model_copy(update={"material": material})
    assert TimeLeft(lost).seconds(CampaignState(), {}, 0.0) is None


def roomy() -> Plan:
    plan = simulated_plan()
    return plan.model_copy(
        update={"budget": plan.budget.model_copy(update={"wall_minutes": 600.0})}
    )


def answering(world: World, times: float) -> None:
    """Labels cost ``times`` what the code expects."""
    left = TimeLeft(world.plan)

    def outcome(record: TaskRecord) -> Outcome | None:
        if record.task.kind != "label":
            return None
        wall_s = times * left.expected_s(record) / record.task.cores
        return Outcome(world.answer(record), wall_s=wall_s, cpu_s=wall_s)

    world.fail = outcome


def at_the_first_potential(times: float) -> tuple[Plan, CampaignState]:
    world = World(roomy())
    answering(world, times)
    while world.state.current is None:
        world.run(rounds=1, to_the_end=False)
    return world.plan, world.state


def test_before_anything_it_is_what_the_plan_expects() -> None:
    plan = roomy()
    expected = cost.estimate(plan)
    found = left_s(plan, CampaignState(), 0.0) / 60
    assert found == pytest.approx(expected.wall_minutes, rel=0.25)


def test_it_is_never_more_than_the_budget_leaves_and_nothing_at_the_end() -> None:
    plan = simulated_plan()
    budget_s = 60 * plan.budget.wall_minutes
    assert left_s(plan, CampaignState(), budget_s - 0.5) == 0.5
    assert left_s(plan, CampaignState(), budget_s + 9) == 0.0
    ended = World(plan).run()
    assert ended.end is not None and left_s(plan, ended, 1.0) == 0.0


def test_dear_labels_make_what_is_left_longer() -> None:
    usual, dear = (
        TimeLeft(plan).factor(state)
        for plan, state in (at_the_first_potential(1.0), at_the_first_potential(3.0))
    )
    assert usual == pytest.approx(1.0)
    assert 2.0 < dear < 3.0
    plan, state = at_the_first_potential(1.0)
    later_s = cost.LATER_LABELS * cost.stages(plan).later_label_s
    assert left_s(plan, state) > cost.wall_s(later_s, plan.executor.cores)


def test_time_falls_as_labels_end_and_with_the_time_that_one_has_run() -> None:
    world = World(roomy())
    answering(world, 1.0)
    seen = []
    while world.state.current is None:
        if world.state.labels("train"):
            seen.append(left_s(world.plan, world.state))
        world.run(rounds=1, to_the_end=False)
    assert len(seen) > 3 and seen[-1] < seen[0]
    fresh = World(roomy())
    while not any(record.task.kind == "label" for record, _ in fresh.state.running()):
        fresh.run(rounds=1, to_the_end=False)
    running = next(r for r, _ in fresh.state.running() if r.task.kind == "label")
    left = TimeLeft(fresh.plan)
    half_s = left.expected_s(running) / 2 / running.task.cores
    now, later = (left.seconds(fresh.state, {running.task.id: s}, 0.0) for s in (0.0, half_s))
    assert now is not None and later is not None
    assert now - later == pytest.approx(
        cost.wall_s(half_s * running.task.cores, fresh.plan.executor.cores)
    )


def test_no_labels_are_expected_that_the_budget_does_not_pay() -> None:
    plan, state = at_the_first_potential(1.0)
    poor = plan.model_copy(
        update={"budget": plan.budget.model_copy(update={"dft_calls": state.dft_calls})}
    )
    assert left_s(poor, state, 0.0) < left_s(plan, state, 0.0)
