"""What the stop rules are told of a campaign, and which potential it hands out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from world import World, plan_for_tests

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.base.tasks import Outcome, Task
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.events import AttemptEnded, AttemptPlanned, TaskPlanned
from mlip_autopipec.campaign.payloads import ValidatePayload
from mlip_autopipec.campaign.releasing import released
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.campaign.stopping import verdict
from mlip_autopipec.science.judgement import JudgedErrors

COLD = "300K"


def errors(n: int = 6, energy: float = 1.5, force: float = 25.0) -> list[Json]:
    """Small for sure at both conditions, but for what is given of the first."""
    good = JudgedErrors(
        name="900K",
        n=6,
        energy_rmse_mev_per_atom=1.0,
        energy_rmse_mev_per_atom_high=1.5,
        force_rmse_mev_per_a=20.0,
        force_rmse_mev_per_a_high=25.0,
    )
    told = replace(
        good,
        name=COLD,
        n=n,
        energy_rmse_mev_per_atom_high=energy,
        force_rmse_mev_per_a_high=force,
    )
    return [told.to_json(), good.to_json()]


@pytest.mark.parametrize(
    ("change", "red"),
    [
        ({}, set()),
        ({"conditions": errors(force=1e6)}, {f"error_size {COLD} force"}),
        ({"conditions": errors(energy=1e6)}, {f"error_size {COLD} energy"}),
        ({"conditions": errors(n=1)}, {f"error_size {COLD} labels"}),
        ({"conditions": errors()[1:]}, {f"error_size {COLD} labels"}),
        ({"test": {"force_rmse_mev_per_a": 1e6}}, set()),
    ],
)
def test_each_error_of_a_potential_reaches_its_own_rule(change: Json, red: set[str]) -> None:
    plan = plan_for_tests()
    state = World(plan).run()

    def failed() -> set[str]:
        return {
            f"{check.kind} {check.name}" for check in verdict(plan, state).checks if not check.met
        }

    assert failed() == set()
    last = state.potentials[-1]
    state.potentials[-1] = replace(last, metrics={**last.metrics, **change})
    assert failed() == red


def test_a_potential_that_does_not_pass_the_gate_ends_no_campaign() -> None:
    class Explodes(World):
        def gate(self, record: TaskRecord) -> Json:
            if not record.task.payload.get("gate"):
                return {}
            checks = [{"name": "motion", "passed": False, "text": "atoms fell together"}]
            return {"gate": {"passed": False, "checks": checks}}

    state = Explodes(plan_for_tests()).run()
    assert state.end is not None and state.end.end_state != "converged"
    assert "atoms fell together" in state.end.reason


def test_the_verdict_is_asked_again_when_the_budget_is_used() -> None:
    """The wall time ends while the last labels are made: the fit of them is judged like any."""
    ends = set()
    for minutes in range(20, 60, 2):
        plan = plan_for_tests(budget={"dft_calls": 200, "wall_minutes": minutes})
        state = World(plan, minutes_per_task=1.0).run()
        assert state.end is not None
        closing = any(record.status == "cancelled" for record in state.tasks.values())
        ends.add((state.end.end_state, closing))
    assert ("converged", True) in ends, "converged although a budget had spoken"


def potential(name: str, *conditions: Json, trainer: str = "pacemaker") -> PotentialRef:
    metrics = {"conditions": list(conditions)}
    return PotentialRef(name, f"potentials/{name}", trainer, ("Cu",), 1, metrics)


def gated(state: CampaignState, name: str, *, passed: bool) -> None:
    payload = ValidatePayload(f"potentials/{name}", {}, None, gate=True).to_json()
    task = Task("validate", payload)
    state.apply(TaskPlanned(task))
    state.apply(AttemptPlanned(task.id, 1))
    checks = [{"name": "motion", "passed": passed, "text": "told"}]
    result: dict[str, Any] = {"gate": {"passed": passed, "checks": checks}}
    state.apply(AttemptEnded(task.id, 1, Outcome(result), "done"))


def test_the_newest_is_handed_out_unless_an_earlier_one_is_clearly_better() -> None:
    plan, state = plan_for_tests(), CampaignState()
    assert released(plan, state) is None
    state.potentials = [potential("000"), potential("001")]
    assert released(plan, state).name == "001", "nothing is known of either"
    state.potentials = [
        potential("000", *errors(force=20.0)),
        potential("001", *errors(force=90.0)),
    ]
    assert released(plan, state).name == "001", "both within the targets of 100 meV/Å"
    state.potentials[1] = potential("001", *errors(force=108.0))
    assert released(plan, state).name == "001", "by chance"
    state.potentials[1] = potential("001", *errors(force=150.0))
    assert released(plan, state).name == "000"
    state.potentials.append(potential("002", *errors()[1:]))
    assert released(plan, state).name == "000", "an error that is not known is no small one"


def test_what_fails_the_gate_is_not_handed_out_where_there_is_another() -> None:
    plan, state = plan_for_tests(), CampaignState()
    state.potentials = [potential("000", *errors(force=80.0)), potential("001", *errors())]
    gated(state, "001", passed=False)
    assert released(plan, state).name == "000"
    gated(state, "000", passed=False)
    assert released(plan, state).name == "001", "all fail: the newest, and the report says so"


def test_a_converged_campaign_hands_out_the_potential_that_converged() -> None:
    plan = plan_for_tests()
    state = World(plan).run()
    assert state.end is not None and state.end.end_state == "converged"
    last = state.potentials[-1]
    assert released(plan, state) == last
    better = [{**row, "force_rmse_mev_per_a_high": 1.0} for row in last.metrics["conditions"]]
    earlier = replace(state.potentials[0], trainer=last.trainer, metrics={"conditions": better})
    state.potentials[0] = earlier
    assert released(plan, state) == last, "an earlier one with smaller errors was not explored"


def test_a_quick_potential_is_handed_out_only_where_no_other_was_made() -> None:
    plan, state = plan_for_tests(), CampaignState()
    state.potentials = [potential("000", *errors(force=90.0)), potential("001", trainer="linear")]
    assert released(plan, state).name == "000"
    state.potentials = [potential("000", *errors(), trainer="linear")]
    assert released(plan, state).name == "000"
