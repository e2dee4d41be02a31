"""How many DFT calls may still be planned."""

from __future__ import annotations

from mlip_autopipec.base.tasks import Task
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.events import AttemptPlanned, TaskPlanned
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.testing import simulated_plan

PLAN = simulated_plan(budget={"dft_calls": 30, "wall_minutes": 60})
VALIDATION = PLAN.validation.calls  # cells of the equation of state, at most


def planned(state: CampaignState, purpose: str, number: int) -> Task:
    task = Task("label", {"purpose": purpose, "job": {"number": number}, "candidate": {}})
    state.apply(TaskPlanned(task))
    return task


def test_the_calls_of_the_validation_are_kept_free_until_they_are_planned() -> None:
    state = CampaignState()
    assert room(PLAN, state) == 30 - VALIDATION
    for number in range(VALIDATION):
        planned(state, "validate", number)
    assert room(PLAN, state) == 30 - VALIDATION, "planned, they count as calls that are queued"


def test_queued_calls_and_every_attempt_count_once() -> None:
    state = CampaignState()
    tasks = [planned(state, "train", number) for number in range(4)]
    assert room(PLAN, state) == 30 - VALIDATION - 4
    state.apply(AttemptPlanned(tasks[0].id, 1))
    assert room(PLAN, state) == 30 - VALIDATION - 4, "queued before, made now"
