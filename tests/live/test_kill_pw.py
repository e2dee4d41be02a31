"""Kill -9 of driver, workers and everything, with the real pw.x at work: no finished calculation is
repeated.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
from ase.db import connect

from mlip_autopipec.base.files import read_json

SCRIPT = """
import sys
from pathlib import Path
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.commands.active_learning import run_campaign
from mlip_autopipec.testing import simulated_plan
family = "PseudoDojo/0.5/PBE/SR/standard"
plan = simulated_plan(
    "aluminium",
    material={"formula": "Al", "fractions": {"Al": 1.0}},
    dft={
        "engine": "quantum_espresso",
        "method": {
        "pseudo_family": family,
        "pseudos": {"Al": pseudos.locate(family, "Al").name},
        "pseudo_sha256": {"Al": pseudos.family_facts(family).elements["Al"].sha256},
        "functional": "PBE", "cutoff_ry": 20, "rho_cutoff_ry": 80, "conv_thr_ry_per_atom": 1e-7,
        "kspacing_per_a": 0.8, "kmesh_shifted": False, "smearing": "mv", "degauss_ry": 0.01,
        "spin_polarized": False, "starting_moments": {},
        },
    },
    embedding={"max_dft_atoms": 4, "core_radius_a": 1.0, "buffer_a": 1.0, "environment_a": 2.0},
    budget={"dft_calls": 24, "wall_minutes": 20},
)
run_campaign(plan, {}, Path(sys.argv[1]), tick_s=0.1)
"""
KILLS = 10


def start(root: Path) -> subprocess.Popen[bytes]:
    with (root.parent / "driver.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(root)], stdout=log, stderr=log, env=dict(os.environ)
        )


def ours(root: Path, word: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = " ".join(process.info["cmdline"] or [])
        if word in command and (str(root) in command or str(root) in str(process.info["cwd"])):
            found.append(process)
    return found


def test_kill_at_random_moments_with_pw(tmp_path: Path) -> None:
    root = tmp_path / "run"
    rng, kills = random.Random(3), Counter[str]()
    driver = start(root)
    # The subject is pw.x: let generation and selection pass.
    while len(list((root / "tasks").glob("label-*/attempt-*/outcome.json"))) < 9:
        assert driver.poll() is None
        time.sleep(0.5)
    while sum(kills.values()) < KILLS and driver.poll() is None:
        time.sleep(rng.uniform(3.0, 15.0))
        target = rng.choice(["driver", "worker", "pw.x", "everything"])
        victims = {"worker": ours(root, "mlip_autopipec.tasks"), "pw.x": ours(root, "pw.x")}.get(
            target, []
        )
        if target == "everything":
            victims = [*ours(root, "mlip_autopipec.tasks"), *ours(root, "pw.x")]
        if target in ("driver", "everything"):
            driver.kill()
            driver.wait()
        for victim in victims:
            if victim.is_running():
                victim.kill()
        kills[target] += 1
        if target in ("driver", "everything"):
            driver = start(root)
    driver.wait(timeout=1200)
    summary = read_json(root / "result" / "summary.json")
    assert summary["end_state"] is not None

    finished = Counter(
        out.parent.parent.name
        for out in (root / "tasks").glob("label-*/attempt-*/pw.out")
        if "JOB DONE" in out.read_text() and "convergence has been achieved" in out.read_text()
    )
    assert finished and max(finished.values()) == 1
    names = [row.name for row in connect(root / "dataset.db", use_lock_file=False).select()]
    assert len(names) == len(set(names)) == len(finished)
    assert not ours(root, "pw.x")
