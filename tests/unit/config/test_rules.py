"""The numbers by which the loop decides: in the plan, yet plans from before they were go on."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from mlip_autopipec.config.derive.fixed import FIXED
from mlip_autopipec.config.label_plan import read_plan
from mlip_autopipec.config.plan import Plan, Rules
from mlip_autopipec.testing import simulated_plan


def test_a_stored_plan_keeps_the_hash_by_which_its_log_knows_it(stored_run: Path) -> None:
    plan = read_plan(stored_run / "plan.json")
    assert isinstance(plan, Plan)
    assert "rules" not in json.loads((stored_run / "plan.json").read_text())
    log = sqlite3.connect(stored_run / "campaign.db")
    rows = log.execute("SELECT data FROM events WHERE kind = 'DriverStarted'").fetchall()
    log.close()
    assert {json.loads(row[0])["plan_hash"] for row in rows} == {plan.hash}


def test_another_rule_is_another_plan() -> None:
    plan = simulated_plan()
    assert simulated_plan(rules={"cold_every": 4}).hash == plan.hash
    assert simulated_plan(rules={"cold_every": 5}).hash != plan.hash


def test_a_plan_tells_every_rule_and_why() -> None:
    told = simulated_plan().model_dump(mode="json")["rules"]
    assert set(told) == set(Rules.model_fields)
    assert {key for key in FIXED if key.startswith("rules.")} == {f"rules.{key}" for key in told}
