"""What the stop rules are told of a campaign."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import World, plan_for_tests

from mlip_autopipec.campaign.stopping import verdict

# Of the last potential of four.
CHANGE = "error_change 003"


def errors(energy: float, force: float) -> dict[str, float]:
    return {"energy_rmse_mev_per_atom": energy, "force_rmse_mev_per_a": force}


@pytest.mark.parametrize(
    ("change", "red"),
    [
        ({}, set()),
        ({"test": errors(1.0, 1e6)}, {"error_size force", CHANGE}),
        ({"test": errors(1e6, 20.0)}, {"error_size energy"}),
        ({"previous_test": errors(1.0, 1e6)}, {CHANGE}),
        ({"train": errors(1e6, 1e6)}, set()),
    ],
)
def test_each_error_of_a_potential_reaches_its_own_rule(change, red):
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
