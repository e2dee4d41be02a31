"""What the cases on schedulers are made of: drivers to kill, real labels, and ways to look on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil
import slow_dft
from ase import Atoms
from ase.build import bulk
from ase.db import connect

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Outcome, Task, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.state import CampaignState, fold
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.executors.parsl.orphans import run_label
from mlip_autopipec.runtime.executors.parsl.queues import Queue
from mlip_autopipec.runtime.executors.ports import Executor, JobRequest
from mlip_autopipec.runtime.heartbeat import block_of
from mlip_autopipec.runtime.store import EventStore
from mlip_autopipec.testing import simulated_plan

HERE = Path(__file__).parent
FAMILY = pseudos.DEFAULT_FAMILY
PATIENCE_S = float(os.environ.get("MLIP_LIVE_PATIENCE_S", "1800"))


@dataclass(frozen=True)
class Scheduler:
    """A scheduler under test. ``outage``: while it is entered, the scheduler answers nobody."""

    executor: Json
    queue: Queue
    outage: Callable[[], AbstractContextManager[None]]

    def blocks(self, root: Path, *, running: bool = False) -> list[str]:
        """Blocks of a run folder in the queue."""
        jobs = self.queue.jobs() or {}
        ours = [
            job
            for job, facts in jobs.items()
            if run_label(root) in facts.name and (facts.running or not running)
        ]
        return sorted(ours, key=int)


@dataclass(frozen=True)
class Run:
    """A run folder with a driver that can be killed; ``kind`` as :mod:`driver_process` knows it."""

    folder: Path
    kind: str
    executor: Json

    @property
    def root(self) -> Path:
        return self.folder / "run"

    @property
    def ledger(self) -> Path:
        """A line for every finished calculation."""
        return self.folder / "ledger.txt"

    @property
    def starts(self) -> Path:
        """A line for every calculation that began (``labels`` alone)."""
        return self.folder / "starts.txt"

    def environment(self) -> dict[str, str]:
        """The two ledgers, and the way to ``slow_dft``; blocks inherit these variables."""
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {
            "MLIP_TESTING_LEDGER": str(self.ledger),
            slow_dft.STARTS: str(self.starts),
            "PYTHONPATH": path,
        }

    def drive(self) -> subprocess.Popen[bytes]:
        script = str(HERE / "driver_process.py")
        command = [sys.executable, script, self.kind, str(self.root), json.dumps(self.executor)]
        with (self.folder / "driver.log").open("ab") as log:
            return subprocess.Popen(
                command, env={**os.environ, **self.environment()}, stdout=log, stderr=log
            )

    def log(self) -> str:
        return (self.folder / "driver.log").read_text()[-3000:]

    def outcomes(self) -> int:
        """Label attempts that ended."""
        return len(list((self.root / "tasks").glob(f"label-*/attempt-*/{layout.OUTCOME}")))

    def at_work(self, blocks: Collection[str]) -> list[Path]:
        """Attempts whose calculation runs in one of these blocks."""
        begun = (
            [Path(line) for line in self.starts.read_text().split()] if self.starts.exists() else []
        )
        return [
            one for one in begun if not (one / layout.OUTCOME).exists() and block_of(one) in blocks
        ]

    def state(self) -> CampaignState:
        """What the log says; no driver may live."""
        store = EventStore(self.root / layout.DATABASE)
        try:
            return fold(event for _, event in store.load())
        finally:
            store.close()

    def leftovers(self) -> list[str]:
        """Command lines of processes that still work for it (an interchange reads a folder below
        it).
        """
        lines = [
            " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
        ]
        return [line for line in lines if str(self.root) in line and "pytest" not in line]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s for: {what}"
        time.sleep(0.5)


def check_labels(run: Run) -> None:
    """No finished calculation was done twice, none was lost, and every label is in the data set
    once.
    """
    done = Counter(run.ledger.read_text().split())
    assert {name: count for name, count in done.items() if count > 1} == {}
    planned = [record for record in run.state().of_kind("label") if record.status != "cancelled"]
    assert planned and all(record.status in ("done", "quarantined") for record in planned)
    names = Counter(
        row.name for row in connect(run.root / layout.DATASET, use_lock_file=False).select()
    )
    assert names == Counter({record.task.id: 1 for record in planned if record.status == "done"})
    assert len(done) == len(names)


# --- real labels
# --------------------------------------------------------------------------------------------------


def real_plan(cores: int = 1, **changes: object) -> Plan:
    """A plan whose labels are real and cost a second."""
    dft = {
        "engine": "quantum_espresso",
        "method": {
            "pseudo_family": FAMILY,
            "pseudos": {"Al": pseudos.locate(FAMILY, "Al").name},
            "pseudo_sha256": {"Al": pseudos.family_facts(FAMILY).elements["Al"].sha256},
            "functional": "PBE",
            "cutoff_ry": 20,
            "rho_cutoff_ry": 80,
            "kspacing_per_a": 0.8,
            "kmesh_shifted": False,
            "smearing": "mv",
            "degauss_ry": 0.01,
            "spin_polarized": False,
            "starting_moments": {},
        },
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


def prepare(plan: Plan, root: Path, structures: Sequence[Atoms]) -> list[JobRequest]:
    """The attempts that a driver would hand to its executor, one for each structure."""
    root.mkdir(parents=True, exist_ok=True)
    (root / layout.PLAN_JSON).write_text(plan.model_dump_json())
    requests = []
    for index, atoms in enumerate(structures):
        candidate = Candidate(atoms, Provenance("strain", f"cell-{index}"))
        job = LabelJob(atoms, plan.dft.label_method(), kmesh=(2, 2, 2))
        payload: Json = {
            "candidate": candidate.to_json(),
            "job": job.to_json(),
            "purpose": "train",
            "index": index,
        }
        task = Task("label", payload, cores=plan.dft.cores)
        folder = root / layout.attempt_folder(task.id, 1)
        folder.mkdir(parents=True)
        spec = TaskSpec(
            task=task, attempt=1, root=str(root), payload=payload, inputs={}, salvage=None
        )
        write_json(folder / layout.SPEC, spec.to_json())
        command = (sys.executable, "-m", "mlip_autopipec.tasks", str(folder))
        requests.append(JobRequest(f"{task.id}.1", command, folder, task.cores))
    return requests


def await_labels(executor: Executor, requests: Sequence[JobRequest], times: int = 1) -> list[Label]:
    """Submit each request (``times`` times), and wait until all have their outcomes and their jobs
    have ended.
    """
    jobs = [executor.submit(request) for request in requests for _ in range(times)]

    def all_ended() -> bool:
        live = any(executor.poll(jobs).values())
        return not live and all((request.folder / layout.OUTCOME).exists() for request in requests)

    wait_until(all_ended, f"{len(requests)} labels in {requests[0].folder.parents[2]}")
    found = []
    for request in requests:
        outcome = Outcome.from_json(read_json(request.folder / layout.OUTCOME))
        assert outcome.result is not None, outcome.failure
        found.append(Label.from_json(outcome.result))
    return found
