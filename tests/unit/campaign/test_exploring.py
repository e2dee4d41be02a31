"""Which conditions MD has passed, and what it does next."""

from __future__ import annotations

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.tasks import Outcome, Task
from mlip_autopipec.campaign.events import (
    AttemptEnded,
    AttemptPlanned,
    PotentialPublished,
    TaskPlanned,
)
from mlip_autopipec.campaign.exploring import explore, passed, unpassed_conditions
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.testing import simulated_plan

PLAN = simulated_plan()
COLD, HOT = PLAN.exploration.conditions


def finished(state: CampaignState, task: Task, result: dict[str, object]) -> None:
    state.apply(TaskPlanned(task))
    state.apply(AttemptPlanned(task.id, 1))
    state.apply(AttemptEnded(task.id, 1, Outcome(result), "done"))


def generated() -> CampaignState:
    state = CampaignState()
    finished(state, Task("generate", {"seed": 0}), {"accepted": 5})
    return state


def publish(state: CampaignState, name: str, trainer: str = "pacemaker") -> None:
    fit = Task("train", {"labels": [], "round": name})
    finished(state, fit, {})
    reference = PotentialRef(name, f"potentials/{name}", trainer, ("Cu",), 1, {})
    state.apply(PotentialPublished(fit.id, reference))


def visit(state: CampaignState, potential: str, *, clean: bool) -> None:
    """The next visit that the rule asks for at 300 K, which ended with ``potential``."""
    task = next(t for t in explore(PLAN, state) if t.payload["condition"]["name"] == COLD.name)
    finished(state, task, {"clean": clean, "potential": potential})


def test_a_clean_run_counts_for_the_potential_that_made_it() -> None:
    state = generated()
    publish(state, "000")
    assert unpassed_conditions(PLAN, state) == [COLD.name, HOT.name]
    visit(state, "000", clean=True)
    assert passed(PLAN, state, COLD)
    assert unpassed_conditions(PLAN, state) == [HOT.name]


def test_a_clean_run_counts_for_as_many_potentials_as_rounds_are_looked_back_on() -> None:
    assert PLAN.convergence.rounds == 2
    state = generated()
    publish(state, "000")
    visit(state, "000", clean=True)
    publish(state, "001")
    assert passed(PLAN, state, COLD), "the round before is looked back on"
    publish(state, "002")
    assert not passed(PLAN, state, COLD), "neither of the last two potentials made that run"
    wanted = [task.payload["condition"]["name"] for task in explore(PLAN, state)]
    assert COLD.name in wanted, "so it is visited again"


def test_a_clean_run_of_another_kind_of_potential_does_not_count() -> None:
    state = generated()
    publish(state, "000", trainer="linear")
    visit(state, "000", clean=True)
    publish(state, "001", trainer="pacemaker")
    assert not passed(PLAN, state, COLD)


def test_an_unclean_run_is_not_repeated_with_the_same_potential() -> None:
    state = generated()
    publish(state, "000")
    visit(state, "000", clean=False)
    assert not passed(PLAN, state, COLD)
    assert [task.payload["condition"]["name"] for task in explore(PLAN, state)] == [HOT.name]
    publish(state, "001")
    names = [task.payload["condition"]["name"] for task in explore(PLAN, state)]
    assert names == [COLD.name, HOT.name]


def test_every_visit_has_a_seed_of_its_own() -> None:
    state, seeds = generated(), list[int]()
    for number in range(4):
        publish(state, f"{number:03d}")
        tasks = explore(PLAN, state)
        seeds += [task.payload["seed"] for task in tasks]
        for task in tasks:
            finished(state, task, {"clean": False, "potential": f"{number:03d}"})
    assert len(seeds) == len(set(seeds)) == 8
