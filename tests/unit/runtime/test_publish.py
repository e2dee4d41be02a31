"""A fit that ended becomes a potential of the run."""

from __future__ import annotations

from mlip_autopipec.base.tasks import Outcome, Task
from mlip_autopipec.campaign.results import TrainResult
from mlip_autopipec.campaign.state import Attempt, TaskRecord
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.publish import place
from mlip_autopipec.testing import simulated_plan


def test_the_potential_says_what_its_task_answered(tmp_path):
    plan, task = simulated_plan(), Task("train", {})
    answer = TrainResult("linear", {"test": {"n_structures": 3}}, 17).to_json()
    record = TaskRecord(task, 0, "done", attempts=[Attempt(1, outcome=Outcome(answer))])
    made = tmp_path / layout.attempt_folder(task.id, 1) / "potential"
    made.mkdir(parents=True)
    (made / "weights").write_text("1 2 3")

    found = place(tmp_path, plan, record, 4)

    assert found == place(tmp_path, plan, record, 4)
    assert (found.trainer, found.labels) == ("linear", 17)
    assert found.metrics == {"test": {"n_structures": 3}}
    assert found.elements == plan.material.elements
    assert found.name == f"004-{task.id.removeprefix('train-')}"
    assert (tmp_path / found.folder / "weights").read_text() == "1 2 3"
