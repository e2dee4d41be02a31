"""What a campaign makes of fits that fail: the fast trainer stands in for the released one."""

from __future__ import annotations

from collections.abc import Callable

from world import World, plan_for_tests

from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.campaign.releasing import released
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.report.fits import failed_fits

SAID = "the fit ended with exit code 1: ValueError: Only fully periodic cells are supported"


def failing(trainer: str, when: Callable[[int], bool] = lambda fit: True) -> World:
    """A world in which those fits by ``trainer`` fail whose number ``when`` tells."""

    def fail(record: TaskRecord) -> Outcome | None:
        asked = record.task.payload
        if record.task.kind == "train" and asked["trainer"] == trainer and when(asked["round"]):
            return Outcome(None, Failure("fit_failed", SAID))
        return None

    return World(plan_for_tests(), fail)


def fits(state: CampaignState) -> list[tuple[str, str]]:
    return [(r.task.payload["trainer"], r.status) for r in state.of_kind("train")]


def test_the_fast_trainer_stands_in_for_a_released_one_that_fails() -> None:
    world = failing("pacemaker")
    state = world.run()
    assert state.end is not None and state.end.end_state == "converged"
    lost = [record for record in state.of_kind("train") if record.status == "quarantined"]
    assert len(lost) == world.plan.rules.failed_fits, "given up, and not tried for ever"
    for record in lost:
        following = state.of_kind("train")[state.of_kind("train").index(record) + 1]
        assert following.task.payload["trainer"] == "linear"
        assert set(record.task.payload["labels"]) <= set(following.task.payload["labels"])
    assert {item.trainer for item in state.potentials} == {"linear"}
    best = released(world.plan, state)
    assert best is not None and best.trainer == "linear"
    told = failed_fits(world.plan, state)
    assert len(told) == len(lost)
    assert all(SAID in line and line.endswith("; linear stands in for it") for line in told)


def test_a_released_trainer_that_fits_again_is_the_released_one_again() -> None:
    world = failing("pacemaker", lambda number: number == 1)
    state = world.run()
    assert fits(state)[:3] == [("linear", "done"), ("pacemaker", "quarantined"), ("linear", "done")]
    assert state.end is not None and state.end.end_state == "converged"
    best = released(world.plan, state)
    assert best is not None and best.trainer == "pacemaker"


def test_nothing_is_fitted_twice_by_the_same_trainer() -> None:
    for world in (failing("pacemaker"), failing("pacemaker", lambda number: number % 2 == 1)):
        asked = [
            (record.task.payload["trainer"], tuple(record.task.payload["labels"]))
            for record in world.run().of_kind("train")
        ]
        assert len(asked) == len(set(asked))


def test_a_budget_that_ends_after_a_failed_fit_leaves_the_fast_potential() -> None:
    world = failing("pacemaker")
    world.plan = plan_for_tests(budget={"dft_calls": 20, "wall_minutes": 60})
    world.unknown_until = 10**6
    state = world.run()
    assert state.end is not None and state.end.end_state == "budget_exhausted"
    assert fits(state)[-1] == ("linear", "done")
    learned = {label for r in state.of_kind("train") for label in r.task.payload["labels"]}
    assert learned == {r.task.id for r in state.labels("train") if r.status == "done"}
    assert any(
        r.task.payload["potential"] == state.potentials[-1].folder
        for r in state.of_kind("validate")
    )


def test_a_person_is_asked_when_the_fast_trainer_fails_too() -> None:
    state = failing("linear").run()
    assert state.end is not None and state.end.end_state == "needs_attention"
    assert state.end.reason == f"training failed: {SAID}"


def test_a_person_is_asked_when_later_fits_fail_by_every_trainer() -> None:
    def fail(record: TaskRecord) -> Outcome | None:
        late = record.task.kind == "train" and record.task.payload["round"] > 0
        return Outcome(None, Failure("fit_failed", SAID)) if late else None

    state = World(plan_for_tests(), fail).run()
    assert state.end is not None and state.end.end_state == "needs_attention"
    assert state.end.reason == f"training failed 2 times in a row: {SAID}"
    assert [name for name, _ in fits(state)] == [
        "linear", "pacemaker", "linear", "pacemaker", "linear",
    ]  # fmt: skip
