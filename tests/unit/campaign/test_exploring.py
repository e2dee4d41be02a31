"""Which conditions are explored, what MD does next, and what is labelled of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ase.build import bulk

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.tasks import Outcome, Task
from mlip_autopipec.campaign.events import (
    AttemptEnded,
    AttemptPlanned,
    MdProgressed,
    MdStreamed,
    PotentialPublished,
    TaskPlanned,
)
from mlip_autopipec.campaign.exploring import (
    explore,
    explored,
    harvest,
    unexplored_conditions,
)
from mlip_autopipec.campaign.payloads import HarvestPayload
from mlip_autopipec.campaign.results import VisitJudged
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.science.judgement import JudgedErrors
from mlip_autopipec.testing import simulated_plan

PLAN = simulated_plan()
COLD, HOT = PLAN.exploration.conditions


def finished(state: CampaignState, task: Task, result: dict[str, Any]) -> None:
    state.apply(TaskPlanned(task))
    state.apply(AttemptPlanned(task.id, 1))
    state.apply(AttemptEnded(task.id, 1, Outcome(result), "done"))


def generated() -> CampaignState:
    state = CampaignState()
    start = atoms_to_json(bulk("Cu", cubic=True))
    finished(state, Task("generate", {"seed": 0}), {"accepted": 5, "ground_state": start})
    return state


def publish(state: CampaignState, name: str, *errors: JudgedErrors) -> None:
    fit = Task("train", {"labels": [], "round": name})
    finished(state, fit, {})
    metrics = {"conditions": [item.to_json() for item in errors]}
    reference = PotentialRef(name, f"potentials/{name}", "pacemaker", ("Cu",), 1, metrics)
    state.apply(PotentialPublished(fit.id, reference))


def visit_all(state: CampaignState, potential: str, *, clean: bool = True) -> None:
    """Every visit that the rule asks for, ended with ``potential``."""
    while tasks := explore(PLAN, state):
        for task in tasks:
            finished(state, task, {"clean": clean, "potential": potential, "samples": 40})


def judge(state: CampaignState, **unknown: int) -> HarvestPayload:
    """The harvest that the rule asks for, with so many unknown frames at each condition."""
    (task,) = harvest(PLAN, state)
    asked = HarvestPayload.from_json(task.payload)
    told = []
    for name in asked.visits:
        record = state.tasks[name]
        condition = record.task.payload["condition"]["name"]
        told.append(
            VisitJudged(
                visit=name,
                condition=condition,
                potential=asked.potential.rpartition("/")[2],
                complete=record.result["clean"],
                frames=40,
                unknown=unknown.get(condition.replace("-", "_"), 0),
            ).to_json()
        )
    finished(state, task, {"candidates": [], "explored": told})
    return asked


def names(tasks: list[Task]) -> list[str]:
    return [task.payload["condition"]["name"] for task in tasks]


def test_a_condition_is_explored_when_its_whole_run_met_nothing_unknown() -> None:
    state = generated()
    publish(state, "000")
    assert names(explore(PLAN, state)) == [COLD.name, HOT.name]
    visit_all(state, "000")
    assert not explored(PLAN, state, COLD), "nobody has judged the frames yet"
    told = judge(state, **{f"_{HOT.name}".lstrip("_"): 5})
    assert len(told.visits) == 2
    assert explored(PLAN, state, COLD)
    assert unexplored_conditions(PLAN, state) == [HOT.name]


def test_one_frame_in_forty_is_more_than_the_share_that_may_be_unknown() -> None:
    state = generated()
    publish(state, "000")
    visit_all(state, "000")
    judge(state, **{COLD.name: 1})
    assert not explored(PLAN, state, COLD)
    lenient = replace_share(0.03)
    assert explored(lenient, state, COLD)


def replace_share(share: float) -> Any:
    convergence = PLAN.convergence.model_dump(mode="json") | {"unknown_share": share}
    return simulated_plan(convergence=convergence)


def test_a_run_that_broke_explores_nothing() -> None:
    state = generated()
    publish(state, "000")
    visit_all(state, "000", clean=False)
    judge(state)
    assert unexplored_conditions(PLAN, state) == [COLD.name, HOT.name]
    assert not explore(PLAN, state), "it is not repeated with the same potential"


def test_what_one_potential_explored_counts_for_that_one_alone() -> None:
    state = generated()
    publish(state, "000")
    visit_all(state, "000")
    judge(state)
    assert not unexplored_conditions(PLAN, state)
    publish(state, "001")
    assert unexplored_conditions(PLAN, state) == [COLD.name, HOT.name]
    assert explored(PLAN, state, COLD, "000"), "it stays true of the potential that made it"
    assert names(explore(PLAN, state)) == [COLD.name, HOT.name]


def test_every_visit_has_a_seed_of_its_own() -> None:
    state, seeds = generated(), list[int]()
    for number in range(4):
        publish(state, f"{number:03d}")
        tasks = explore(PLAN, state)
        seeds += [task.payload["seed"] for task in tasks]
        for task in tasks:
            finished(state, task, {"clean": True, "potential": f"{number:03d}"})
    assert len(seeds) == len(set(seeds)) == 8


def test_beside_a_fit_md_moves_on_until_the_new_potential_is_there() -> None:
    state = generated()
    publish(state, "000")
    visit_all(state, "000")
    judge(state)
    state.apply(TaskPlanned(Task("train", {"labels": ["a"], "round": 1})))
    (task,) = explore(PLAN, state)
    assert task.payload["serve"] == "000", "the potential that is about to be replaced"
    assert names([task]) == [HOT.name]
    state.apply(TaskPlanned(task))
    assert not explore(PLAN, state), "one is enough"


def test_nothing_is_judged_before_every_condition_was_visited() -> None:
    state = generated()
    publish(state, "000")
    first, second = explore(PLAN, state)
    finished(state, first, {"clean": True, "potential": "000", "samples": 40})
    assert not harvest(PLAN, state)
    state.apply(TaskPlanned(second))
    state.apply(AttemptPlanned(second.id, 1))
    assert not harvest(PLAN, state)
    state.apply(MdStreamed(second.id, 1, 0, "broken.json", gamma=50.0, step=9, potential="000"))
    state.apply(MdProgressed(second.id, 1, 0, step=9, state="waiting", potential="000"))
    (task,) = harvest(PLAN, state)
    asked = HarvestPayload.from_json(task.payload)
    assert asked.visits == (first.id,)
    assert asked.files == (f"tasks/{second.id}/attempt-1/broken.json",)


def test_frames_are_drawn_by_chance_where_errors_are_not_small_for_sure() -> None:
    state = generated()
    small = JudgedErrors(
        name=COLD.name,
        n=PLAN.convergence.on_policy_labels,
        energy_rmse_mev_per_atom=1.0,
        energy_rmse_mev_per_atom_high=2.0,
        force_rmse_mev_per_a=20.0,
        force_rmse_mev_per_a_high=30.0,
    )
    large = replace(small, name=HOT.name, force_rmse_mev_per_a_high=500.0)
    publish(state, "000", small, large)
    visit_all(state, "000")
    asked = judge(state)
    assert dict(asked.on_policy) == {HOT.name: PLAN.rules.on_policy_per_visit}
    publish(state, "001", replace(small, n=small.n - 1), replace(large, n=0))
    visit_all(state, "001")
    assert set(judge(state).on_policy) == {COLD.name, HOT.name}


def test_margins_are_explored_but_nothing_is_drawn_there() -> None:
    margin = HOT.model_copy(update={"role": "margin"})
    exploration = PLAN.exploration.model_dump(mode="json")
    exploration["conditions"] = [
        COLD.model_dump(mode="json"),
        margin.model_dump(mode="json"),
    ]
    plan = simulated_plan(exploration=exploration)
    state = generated()
    publish(state, "000")
    visit_all(state, "000")
    (task,) = harvest(plan, state)
    assert set(HarvestPayload.from_json(task.payload).on_policy) == {COLD.name}


@pytest.mark.parametrize("calls", [7, 9, 12, 40])
def test_a_harvest_asks_for_no_more_labels_than_the_budget_has(calls: int) -> None:
    plan = simulated_plan(budget={"dft_calls": calls, "wall_minutes": 60})
    state = generated()
    publish(state, "000")
    visit_all(state, "000")
    (task,) = harvest(plan, state)
    asked = HarvestPayload.from_json(task.payload)
    left = calls - plan.validation.calls
    assert asked.count + sum(asked.on_policy.values()) <= max(0, left)
    assert asked.count >= 0
    (closing,) = harvest(plan, state, closing=True)
    asked = HarvestPayload.from_json(closing.payload)
    assert asked.count == 0 and not asked.on_policy, "at the end it only judges"
    assert asked.visits
