"""What the live tests of Slurm and of the PBS stand-ins have in common: a campaign, real labels, and how to look on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from ase import Atoms
from ase.build import bulk
from ase.db import connect

from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.files import read_json, write_json
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.executors.ports import Executor, JobRequest
from mlip_autopipec.runtime.store import EventStore
from mlip_autopipec.testing import simulated_plan
from mlip_autopipec.types import Candidate, Json, Label, LabelJob, Outcome, Provenance, Task, TaskSpec

FAMILY = pseudos.DEFAULT_FAMILY
PATIENCE_S = float(os.environ.get("MLIP_LIVE_PATIENCE_S", "1800"))


def start_driver(root: Path, executor: Json, ledger: Path) -> subprocess.Popen[bytes]:
    """A driver of the simulated campaign in a process of its own."""
    script = Path(__file__).with_name("campaign_driver.py")
    with (root.parent / "driver.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(script), str(root), json.dumps(executor)],
            env={**os.environ, "MLIP_TESTING_LEDGER": str(ledger)},
            stdout=log,
            stderr=log,
        )


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s for: {what}"
        time.sleep(0.5)


def outcomes(root: Path, kind: str = "label") -> list[Path]:
    return sorted((root / "tasks").glob(f"{kind}-*/attempt-*/{layout.OUTCOME}"))


def leftovers(root: Path) -> list[str]:
    """Command lines of processes that still work for the run folder (its interchange reads a folder below it)."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(root) in command and "pytest" not in command:
            found.append(command)
    return found


def check_campaign(root: Path, ledger: Path) -> None:
    """It converged; no finished calculation was done twice; every label is in the data set once."""
    assert read_json(root / "result" / "summary.json")["end_state"] == "converged"
    done = Counter(ledger.read_text().split())
    assert {name: count for name, count in done.items() if count > 1} == {}
    store = EventStore(root / layout.DATABASE)
    state = CampaignState()
    for _, event in store.load():
        state.apply(event)
    store.close()
    planned = [record for record in state.of_kind("label") if record.status != "cancelled"]
    assert planned and all(record.status in ("done", "quarantined") for record in planned)
    names = Counter(row.name for row in connect(root / layout.DATASET, use_lock_file=False).select())
    assert names == Counter({record.task.id: 1 for record in planned if record.status == "done"})
    assert len(done) == len(names)


def real_plan(cores: int = 1, **changes: object) -> Plan:
    """A plan whose labels are real and cost a second."""
    dft = {
        "engine": "quantum_espresso",
        "pseudo_family": FAMILY,
        "pseudos": {"Al": pseudos.locate(FAMILY, "Al").name},
        "pseudo_sha256": {"Al": "not checked here"},
        "cutoff_ry": 20,
        "rho_cutoff_ry": 80,
        "kspacing_per_a": 0.8,
        "kmesh_shifted": False,
        "walltime_s": 600,
        "cores": cores,
    }
    material = {"formula": "Al", "fractions": {"Al": 1.0}}
    return simulated_plan("aluminium", material=material, dft=dft, **changes)


def strained(count: int) -> list[Atoms]:
    """Aluminium cells of one and two atoms, no two of them alike."""
    found = []
    for index in range(count):
        atoms = bulk("Al", "fcc", a=3.9 + 0.02 * index) * (1, 1, 1 + index % 2)
        atoms.rattle(0.02, seed=index)
        found.append(atoms)
    return found


def labels(plan: Plan, executor: Executor, root: Path, structures: Sequence[Atoms]) -> list[Label]:
    """Label the structures through ``executor`` as a driver would, and wait for all."""
    root.mkdir(parents=True, exist_ok=True)
    (root / layout.PLAN_JSON).write_text(plan.model_dump_json())
    folders, jobs = [], []
    for index, atoms in enumerate(structures):
        candidate = Candidate(atoms, Provenance("strain", f"cell-{index}"))
        job = LabelJob(atoms, plan.dft.method(), kmesh=(2, 2, 2))
        payload: Json = {"candidate": candidate.to_json(), "job": job.to_json(), "purpose": "train", "index": index}
        task = Task("label", payload, cores=plan.dft.cores)
        folder = root / layout.attempt_folder(task.id, 1)
        folder.mkdir(parents=True)
        spec = TaskSpec(task=task, attempt=1, root=str(root), payload=payload, inputs={}, salvage=None)
        write_json(folder / layout.SPEC, spec.to_json())
        command = (sys.executable, "-m", "mlip_autopipec.runtime.worker", str(folder))
        jobs.append(executor.submit(JobRequest(f"{task.id}.1", command, folder, task.cores)))
        folders.append(folder)

    def all_ended() -> bool:
        executor.poll(jobs)
        return all((folder / layout.OUTCOME).exists() for folder in folders)

    wait_until(all_ended, f"{len(folders)} labels in {root}")
    found = []
    for folder in folders:
        outcome = Outcome.from_json(read_json(folder / layout.OUTCOME))
        assert outcome.result is not None, outcome.failure
        found.append(Label.from_json(outcome.result))
    return found
