"""Which queued tasks are started: by priority, then age, as many as cores are free."""

from __future__ import annotations

from mlip_autopipec.base.tasks import Task, TaskKind
from mlip_autopipec.campaign.events import AttemptPlanned, MdProgressed, TaskPlanned
from mlip_autopipec.campaign.schedule import startable
from mlip_autopipec.campaign.state import CampaignState


def queued(*tasks: tuple[TaskKind, int, int]) -> tuple[CampaignState, list[str]]:
    """A state with tasks of these kinds, cores and priorities, and their ids in that order."""
    state, names = CampaignState(), []
    for number, (kind, cores, priority) in enumerate(tasks):
        payload = {"number": number, "purpose": "train", "job": {}}
        task = Task(kind, payload, cores=cores, priority=priority)
        state.apply(TaskPlanned(task))
        names.append(task.id)
    return state, names


def chosen(state: CampaignState, cores: int) -> list[str]:
    return [record.task.id for record in startable(state, cores)]


def test_smaller_priority_first_and_the_older_of_two_alike() -> None:
    state, (old, young, urgent) = queued(("label", 1, 50), ("label", 1, 50), ("train", 1, 4))
    assert chosen(state, 3) == [urgent, old, young]
    assert chosen(state, 1) == [urgent]


def test_no_more_cores_are_used_than_there_are() -> None:
    state, names = queued(*[("label", 2, 50)] * 3)
    assert chosen(state, 4) == names[:2]
    assert chosen(state, 5) == names[:2]
    state.apply(AttemptPlanned(names[0], 1))
    assert chosen(state, 5) == names[1:2]
    assert chosen(state, 3) == []


def test_a_small_task_fills_what_a_large_one_leaves() -> None:
    state, (first, large, small) = queued(("label", 2, 1), ("label", 3, 2), ("label", 1, 3))
    assert chosen(state, 3) == [first, small]
    assert chosen(state, 6) == [first, large, small]


def test_a_task_larger_than_the_machine_runs_alone() -> None:
    state, (large, small) = queued(("label", 8, 1), ("label", 1, 2))
    assert chosen(state, 2) == [large]
    state.apply(AttemptPlanned(small, 1))
    assert chosen(state, 2) == []


def test_md_that_waits_for_a_potential_leaves_its_core() -> None:
    state, (md, label) = queued(("explore", 1, 5), ("label", 1, 50))
    state.apply(AttemptPlanned(md, 1))
    assert chosen(state, 1) == []
    state.apply(MdProgressed(md, 1, 10, step=100, state="waiting"))
    assert chosen(state, 1) == [label]
