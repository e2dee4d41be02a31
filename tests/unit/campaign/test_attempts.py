"""What follows from a failed attempt: tried again, repaired or given up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ase.build import bulk

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import LOST, PERSON, STOPPED, Failure, Outcome, Task, TaskKind
from mlip_autopipec.campaign.attempts import MAX_ERRORS, MAX_LOST, judge_attempt
from mlip_autopipec.campaign.events import AttemptEnded, AttemptPlanned, TaskPlanned
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.testing import simulated_plan

PLAN = simulated_plan()
UNCONVERGED = Failure("scf_not_converged", "no convergence")
VANISHED = Failure(LOST, "killed")


class Ladder:
    """A repair with as many rungs as are asked for; remembers which failures it was shown."""

    def __init__(self, rungs: int) -> None:
        self.rungs, self.shown = rungs, list[tuple[str, ...]]()

    def __call__(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        self.shown.append(tuple(failure.kind for failure in failures))
        rung = len(failures)
        return job.with_numerics(mixing_beta=0.7 / 2**rung) if rung <= self.rungs else None


def planned(kind: TaskKind = "label") -> tuple[CampaignState, str]:
    atoms = bulk("Cu", cubic=True)
    job = LabelJob(atoms, PLAN.dft.label_method())
    candidate = Candidate(atoms, Provenance("rattle", "g")).to_json()
    payload = {"candidate": candidate, "job": job.to_json(), "purpose": "train"}
    task = Task(kind, payload)
    state = CampaignState()
    state.apply(TaskPlanned(task))
    return state, task.id


def attempt(state: CampaignState, task: str, outcome: Outcome, repair: Ladder) -> AttemptEnded:
    """One more attempt of the task that ends so."""
    record = state.tasks[task]
    state.apply(AttemptPlanned(task, len(record.attempts) + 1))
    event = judge_attempt(PLAN, record, outcome, repair)
    state.apply(event)
    return event


def failed(failure: Failure) -> Outcome:
    return Outcome(None, failure)


@pytest.mark.parametrize("harmless", [LOST, STOPPED])
def test_vanished_and_stopped_workers_use_up_no_rung_of_the_ladder(harmless: str) -> None:
    state, task = planned()
    ladder = Ladder(rungs=2)
    ended = [
        attempt(state, task, failed(Failure(kind, "")), ladder)
        for kind in (harmless, harmless, "scf_not_converged", harmless, harmless, harmless)
    ]
    assert [event.verdict for event in ended] == ["retry"] * 6
    assert state.tasks[task].payload["job"]["numerics"] == {"mixing_beta": 0.35}
    last = [attempt(state, task, failed(UNCONVERGED), ladder) for _ in range(2)]
    assert ladder.shown == [("scf_not_converged",) * number for number in (1, 2, 3)]
    assert [event.verdict for event in last] == ["retry", "quarantined"]
    assert state.tasks[task].payload["job"]["numerics"] == {"mixing_beta": 0.175}


def test_a_label_is_given_up_after_the_attempts_of_the_plan() -> None:
    state, task = planned()
    ladder = Ladder(rungs=100)
    verdicts = [
        attempt(state, task, failed(UNCONVERGED), ladder).verdict
        for _ in range(PLAN.dft.max_attempts)
    ]
    assert verdicts == ["retry"] * (PLAN.dft.max_attempts - 1) + ["quarantined"]


def test_vanished_workers_are_tried_again_from_what_they_left_but_not_for_ever() -> None:
    state, task = planned()
    ended = [attempt(state, task, failed(VANISHED), Ladder(1)) for _ in range(MAX_LOST + 1)]
    assert [event.verdict for event in ended] == ["retry"] * MAX_LOST + ["quarantined"]
    assert all(event.salvage for event in ended)


def test_what_the_user_stopped_is_never_given_up() -> None:
    state, task = planned("train")
    stopped = failed(Failure(STOPPED, "stopped by the user"))
    verdicts = [attempt(state, task, stopped, Ladder(0)).verdict for _ in range(3 * MAX_LOST)]
    assert set(verdicts) == {"retry"}


@pytest.mark.parametrize("kind", ["train", "explore", "harvest", "label"])
def test_an_error_is_tried_once_more(kind: TaskKind) -> None:
    state, task = planned(kind)
    broken = failed(Failure("error", "ZeroDivisionError"))
    attempt(state, task, failed(VANISHED), Ladder(9))
    ended = [attempt(state, task, broken, Ladder(9)) for _ in range(MAX_ERRORS)]
    assert [event.verdict for event in ended] == ["retry"] * (MAX_ERRORS - 1) + ["quarantined"]
    assert [event.next_payload for event in ended] == [None] * MAX_ERRORS


def test_what_only_a_person_can_mend_is_given_up_at_once() -> None:
    state, task = planned()
    event = attempt(state, task, failed(Failure(PERSON, "pw.x was not found")), Ladder(9))
    assert event.verdict == "quarantined"


def test_a_finished_attempt_is_done() -> None:
    state, task = planned()
    label = Label(-1.0, np.zeros((4, 3)), np.zeros(6), "hash", 5, 1.0)
    event = attempt(state, task, Outcome(label.to_json()), Ladder(9))
    assert (event.verdict, event.next_payload, event.salvage) == ("done", None, False)


def test_every_started_label_attempt_counts_against_the_budget_and_nothing_else_does() -> None:
    state, task = planned()
    for _ in range(3):
        attempt(state, task, failed(UNCONVERGED), Ladder(9))
    assert state.dft_calls == 3
    other, fit = planned("train")
    attempt(other, fit, failed(VANISHED), Ladder(9))
    assert other.dft_calls == 0
