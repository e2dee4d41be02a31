"""A driver on a scheduler, to be killed: ``python driver_process.py campaign|labels FOLDER
EXECUTOR-AS-JSON``.

``campaign`` is the simulated active-learning loop, ``labels`` the factory with copper cells and a
slow simulated DFT.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ase import Atoms
from ase.build import bulk

from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.active_learning import run_campaign
from mlip_autopipec.commands.label.options import Options
from mlip_autopipec.commands.label.plan import plan_for, tasks_of
from mlip_autopipec.commands.label.structures import as_calculated
from mlip_autopipec.commands.label.work import Labelling
from mlip_autopipec.config.plan import ExecutorPlan
from mlip_autopipec.runtime.driver import carry_out
from mlip_autopipec.runtime.executors.registry import opened
from mlip_autopipec.testing import simulated_plan

CELLS = 24


def copper(count: int = CELLS) -> list[Atoms]:
    """Rattled cells of four atoms, no two of them alike."""
    found = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        found.append(atoms)
    return found


def campaign(root: Path, executor: Json) -> None:
    plan = simulated_plan(initial=10, executor=executor)
    with opened(plan, root) as chosen:
        run_campaign(plan, {}, root, executor=chosen)


def labels(root: Path, executor: Json) -> None:
    cells = copper()
    plan = plan_for(cells, Options(engine="slow_dft:SlowDft"))
    plan = plan.model_copy(update={"executor": ExecutorPlan(**executor)})
    tasks, sources = tasks_of(plan, [as_calculated(atoms) for atoms in cells])
    carry_out(Labelling(plan, tasks, sources), root)


if __name__ == "__main__":
    {"campaign": campaign, "labels": labels}[sys.argv[1]](
        Path(sys.argv[2]), json.loads(sys.argv[3])
    )
