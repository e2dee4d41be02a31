"""What one decision of a campaign costs as its labels grow in number.

``python benchmarks/decide_scaling.py [LABELS...]`` (100 1000 3000) folds the events of a campaign
that was offered so many candidates and has labelled half of them, and times ``decide``, which the
driver calls after every event: CPU time, the best of fifteen calls. No process, no disk. The
exponent is that of the times over the number of labels, between the smallest and the largest.
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np
from ase.build import bulk

from mlip_autopipec.base.structures import Candidate, Provenance, atoms_to_json
from mlip_autopipec.base.tasks import Outcome, Task
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.commands import PlanTask
from mlip_autopipec.campaign.decide import decide
from mlip_autopipec.campaign.events import AttemptEnded, AttemptPlanned, TaskPlanned
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.testing import simulated_plan

REPEATS = 15


def candidate(number: int) -> Json:
    """A rattled cell of eight copper atoms."""
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (1, 1, 2)
    atoms.positions += np.random.default_rng(number).normal(scale=0.05, size=(len(atoms), 3))
    return Candidate(atoms, Provenance("rattle", f"start-{number}", seed=number)).to_json()


def answer(plan: Plan, task: Task, labels: int) -> Json | None:
    """The result of a task; None for one that still runs."""
    start = atoms_to_json(bulk("Cu", "fcc", a=3.6))
    match task.kind:
        case "generate":
            return {"ground_state": start, "candidates": labels}
        case "select":
            return {"candidates": [candidate(number) for number in range(labels)]}
        case "label":
            done = hash(task.id) % 2 == 0 and task.payload["purpose"] == "train"
            return {"energy_ev": 0.0, "forces": [[0.0] * 3] * 8} if done else None
    return None


def state_with(plan: Plan, labels: int) -> CampaignState:
    """A campaign of which every label is planned and every second one made."""
    state = CampaignState()
    while commands := decide(plan, state, 0.0):
        tasks = [command.task for command in commands if isinstance(command, PlanTask)]
        for task in tasks:
            state.apply(TaskPlanned(task))
            state.apply(AttemptPlanned(task.id, 1))
            result = answer(plan, task, labels)
            if result is not None:
                state.apply(AttemptEnded(task.id, 1, Outcome(result), "done"))
    return state


def seconds(plan: Plan, state: CampaignState) -> float:
    begun = time.process_time()
    assert decide(plan, state, 0.0) == []
    return time.process_time() - begun


def main() -> None:
    sizes = [int(item) for item in sys.argv[1:]] or [100, 1000, 3000]
    best = []
    for labels in sizes:
        plan = simulated_plan(
            initial=labels, budget={"dft_calls": 10 * labels, "wall_minutes": 60_000}
        )
        state = state_with(plan, labels)
        times = [seconds(plan, state) for _ in range(REPEATS)]
        best.append(min(times))
        print(f"{labels:6d} labels: {1e3 * best[-1]:8.2f} ms a decision")
    if len(sizes) > 1:
        power = math.log(best[-1] / best[0]) / math.log(sizes[-1] / sizes[0])
        print(f"exponent over the number of labels: {power:.2f}")


if __name__ == "__main__":
    main()
