"""The check of the screen: what it rejected is labelled, judged, paid for, and never learned."""

from __future__ import annotations

import pytest
from ase.build import bulk
from world import World, plan_for_tests

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.auditing import AUDIT, hit_rate_of
from mlip_autopipec.campaign.events import AttemptPlanned
from mlip_autopipec.campaign.schedule import PRIORITY_VALIDATION_LABEL
from mlip_autopipec.campaign.state import TaskRecord
from mlip_autopipec.config.plan import Plan

FOUND = {"n_accepted": 24, "force_correlation": 0.9, "geometry_only": False}


class Screened(World):
    """Each generating task offers three rejected structures, all different."""

    geometry_only = False

    def answer(self, record: TaskRecord) -> Json:
        if record.task.kind == "generate":
            offered = [self.rejected(record.order, i) for i in range(3)]
            return {**super().answer(record), "audit": offered, "geometry_only": self.geometry_only}
        return FOUND if record.task.kind == "hit_rate" else super().answer(record)

    @staticmethod
    def rejected(order: int, i: int) -> Json:
        atoms = bulk("Cu", cubic=True)
        atoms.positions[0, 1] += 0.3 + 0.1 * i + 0.01 * order
        return Candidate(
            atoms, Provenance("rattle", f"r{order}-{i}", {"audit": "large force"})
        ).to_json()


def _plan(initial: int = 24, calls: int = 400, minutes: float = 600) -> Plan:
    plan = plan_for_tests(budget={"dft_calls": calls, "wall_minutes": minutes})
    return plan.model_copy(
        update={"selection": plan.selection.model_copy(update={"initial_count": initial})}
    )


def _fails(kind: str, purpose: str | None = None):  # type: ignore[no-untyped-def]
    def fail(record: TaskRecord) -> Outcome | None:
        mine = record.task.kind == kind and record.task.payload.get("purpose") == purpose
        return Outcome(None, Failure("scf_not_converged", "wild")) if mine else None

    return fail


def test_a_twentieth_of_the_first_labels_is_audited_and_at_most_three() -> None:
    for initial, expected in ((8, 1), (50, 3)):
        state = Screened(_plan(initial)).run()
        assert [record.status for record in state.labels(AUDIT)] == ["done"] * expected


@pytest.fixture(scope="module")
def world() -> Screened:
    ended = Screened(_plan())
    ended.run()
    return ended


def test_audited_labels_are_never_trained_on_nor_validated_with(world: Screened) -> None:
    state = world.state
    audited = {record.task.id for record in state.labels(AUDIT)}
    assert state.end is not None and state.end.end_state == "converged" and audited
    for record in state.tasks.values():
        if record.task.kind != "hit_rate":
            assert not audited & set(record.task.needs)
        if record.task.kind == "train":
            assert not audited & set(record.task.payload["labels"])


def test_they_wait_for_everything_that_the_first_fit_waits_for(world: Screened) -> None:
    state = world.state
    begun = [event.task_id for event in world.log if isinstance(event, AttemptPlanned)]
    audited = [begun.index(record.task.id) for record in state.labels(AUDIT)]
    first = state.of_kind("hit_rate")[0].task.payload["accepted"]
    assert len(first) == 24 and max(begun.index(name) for name in first) < min(audited)
    assert max(begun.index(record.task.id) for record in state.labels("validate")) < min(audited)
    assert all(record.task.priority > PRIORITY_VALIDATION_LABEL for record in state.labels(AUDIT))


def test_the_surrogate_is_judged_once_by_the_first_labels_and_the_audited_ones(
    world: Screened,
) -> None:
    state = world.state
    (record,) = state.of_kind("hit_rate")
    selected = {r.task.id for r in state.labels("train")[:24]}
    assert set(record.task.payload["accepted"]) == selected
    assert record.task.payload["audited"] == [r.task.id for r in state.labels(AUDIT)]
    assert set(record.task.needs) == selected | set(record.task.payload["audited"])
    assert hit_rate_of(state) == FOUND


def test_the_budget_of_dft_calls_pays_for_them() -> None:
    found = []
    for calls in (10, 15, 17, 20):
        world = Screened(_plan(8, calls))
        world.unknown_until = 10**6
        state = world.run()
        assert state.dft_calls <= calls
        assert len(state.labels("validate")) == 7
        found.append(len(state.labels(AUDIT)))
    # Of ten calls nine are kept for the validation; the two that it does not need come free later.
    assert found == [1, 1, 1, 1]


def test_the_draw_follows_from_the_plan_alone(world: Screened) -> None:
    again = Screened(_plan()).run().labels(AUDIT)
    assert [r.task.id for r in again] == [r.task.id for r in world.state.labels(AUDIT)]
    assert len(again) == 2


def test_rejected_structures_that_dft_cannot_do_are_no_trouble_but_an_answer() -> None:
    state = Screened(_plan(8), _fails("label", AUDIT)).run()
    assert state.end is not None and state.end.end_state == "converged"
    (audited,) = state.labels(AUDIT)
    assert audited.status == "quarantined"
    assert state.of_kind("hit_rate")[0].task.payload["audited"] == [audited.task.id]


def test_a_campaign_that_runs_out_of_time_gives_them_up_and_still_judges_the_surrogate() -> None:
    world = Screened(_plan(8, minutes=30), minutes_per_task=1.0)
    world.unknown_until = 10**6
    state = world.run()
    assert state.end is not None and state.end.end_state == "budget_exhausted"
    assert state.of_kind("hit_rate")[0].status == "done"
    assert all(record.ended for record in state.labels(AUDIT))


def test_without_a_surrogate_there_is_nothing_to_judge() -> None:
    world = Screened(_plan(8))
    world.geometry_only = True
    assert not world.run().of_kind("hit_rate")


def test_a_comparison_that_fails_does_not_stop_the_campaign() -> None:
    state = Screened(_plan(8), _fails("hit_rate")).run()
    assert state.end is not None and state.end.end_state == "converged"
    assert hit_rate_of(state) is None
