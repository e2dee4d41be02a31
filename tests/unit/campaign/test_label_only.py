"""Labels without a campaign: what is started, when it ends, and the table of its failures."""

from __future__ import annotations

from typing import Any

import pytest

from mlip_autopipec.base.tasks import Failure, Outcome, Task
from mlip_autopipec.campaign.commands import EndCampaign, PlanTask
from mlip_autopipec.campaign.events import AttemptEnded, AttemptPlanned, Event, TaskPlanned
from mlip_autopipec.campaign.label_only import decide_labels, startable_attempts
from mlip_autopipec.campaign.state import CampaignState, fold
from mlip_autopipec.config.label_plan import LabelBudget, LabelPlan
from mlip_autopipec.config.plan import ExecutorPlan
from mlip_autopipec.report.failures import failure_rows
from mlip_autopipec.report.rows import Cure
from mlip_autopipec.testing import simulated_plan

PLAN = LabelPlan(
    name="dft",
    elements=("Cu",),
    budget=LabelBudget(dft_calls=3),
    executor=ExecutorPlan(cores=2),
    dft=simulated_plan().dft,
)
TASKS = [Task("label", {"job": {"number": number}, "purpose": "train"}) for number in range(3)]


def ended(
    task: Task,
    verdict: Any,
    failure: Failure | None = None,
    attempt: int = 1,
    cure: str | None = None,
) -> list[Event]:
    outcome = Outcome({} if failure is None else None, failure, cpu_s=360.0)
    return [
        AttemptPlanned(task.id, attempt),
        AttemptEnded(task.id, attempt, outcome, verdict, cure=cure),
    ]


def state_after(*events: Event) -> CampaignState:
    return fold([*(TaskPlanned(task) for task in TASKS), *events])


def test_missing_structures_are_planned_and_a_finished_set_ends() -> None:
    assert decide_labels(PLAN, TASKS, CampaignState(), 0) == [PlanTask(task) for task in TASKS]
    assert decide_labels(PLAN, [], state_after(), 0) == []
    lost = Failure("geometry", "atoms overlap")
    state = state_after(
        *ended(TASKS[0], "done"), *ended(TASKS[1], "quarantined", lost), *ended(TASKS[2], "done")
    )
    assert decide_labels(PLAN, [], state, 0) == [
        EndCampaign("converged", "2 labelled, 1 quarantined")
    ]


def test_a_budget_counts_repairs_and_lets_running_ones_end() -> None:
    again = Failure("scf_not_converged", "no")
    state = state_after(
        *ended(TASKS[0], "retry", again, cure="beta"), *ended(TASKS[0], "done", attempt=2)
    )
    assert startable_attempts(PLAN, state, 0) == 1
    state.apply(AttemptPlanned(TASKS[1].id, 1))
    assert startable_attempts(PLAN, state, 0) == 0
    assert decide_labels(PLAN, [], state, 0) == []
    state.apply(ended(TASKS[1], "done")[1])
    (end,) = decide_labels(PLAN, [], state, 0)
    assert (
        isinstance(end, EndCampaign)
        and end.end_state == "budget_exhausted"
        and "1 structures left" in end.reason
    )


def test_what_a_person_must_mend_stops_everything_once_nothing_runs() -> None:
    state = state_after(
        AttemptPlanned(TASKS[0].id, 1),
        *ended(TASKS[1], "quarantined", Failure("person", "no pw.x")),
    )
    assert startable_attempts(PLAN, state, 0) == 0
    assert decide_labels(PLAN, [], state, 0) == []
    state.apply(ended(TASKS[0], "done")[1])
    assert decide_labels(PLAN, [], state, 0) == [EndCampaign("needs_attention", "no pw.x")]


def test_the_table_of_failures_counts_cures_and_core_hours() -> None:
    unconverged, killed = Failure("scf_not_converged", "no"), Failure("interrupted", "killed")
    state = state_after(
        *ended(TASKS[0], "retry", unconverged, 1, "beta=0.3"),
        *ended(TASKS[0], "retry", unconverged, 2, "beta=0.1"),
        *ended(TASKS[0], "done", None, 3),
        *ended(TASKS[1], "retry", killed, 1, "same again"),
        *ended(TASKS[1], "quarantined", unconverged, 2),
        *ended(TASKS[2], "retry", Failure("stopped", "by the user"), 1),
    )
    first, second = failure_rows(state)
    assert (
        first.kind,
        first.met,
        first.tasks,
        first.healed,
        first.quarantined,
    ) == ("scf_not_converged", 3, 2, 1, 1)
    assert first.cures == (
        Cure(cure="beta=0.3", tried=1, worked=0),
        Cure(cure="beta=0.1", tried=1, worked=1),
    )
    assert first.core_hours_lost == pytest.approx(0.3)
    assert (second.kind, second.cures) == (
        "interrupted",
        (Cure(cure="same again", tried=1, worked=0),),
    )


def test_questions_to_the_state_do_not_walk_over_all_tasks() -> None:
    """Every status has its own index, kept by the fold alone; it must agree with the tasks
    themselves.
    """
    state = state_after(
        *ended(TASKS[0], "done"), *ended(TASKS[2], "retry", Failure("lost", "gone"))
    )
    for status in ("queued", "running", "done", "quarantined"):
        slow = {name for name, record in state.tasks.items() if record.status == status}
        assert {record.task.id for record in state.with_status(status)} == slow
        assert state.count(status) == len(slow)
    assert [record.task.id for record in state.queue()] == [TASKS[1].id, TASKS[2].id]
    assert state.dft_calls == 2
