"""Kill -9 of the DFT factory at random moments: nothing finished is lost or calculated twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write
from killing import kill, label_names, launch, times_done, workers

from mlip_autopipec.base.files import read_json

KILLS, STRUCTURES = 14, 24
pytestmark = pytest.mark.xdist_group("factory-crash")


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "mlip_autopipec.cli.main",
        "dft",
        "cells.extxyz",
        "--out",
        "dft",
        "--cores",
        "2",
    ]
    command += ["--engine", "mlip_autopipec.testing:SimulatedDft"]
    return launch(command, folder / "ledger.txt", folder / "driver.log", cwd=folder)


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder whose driver, one worker, or everything was killed again and again, and then left to
    end.
    """
    folder = tmp_path_factory.mktemp("factory").resolve()
    cells = []
    for seed in range(STRUCTURES):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        cells.append(atoms)
    write(folder / "cells.extxyz", cells)
    rng, kills = random.Random(11), 0
    driver = start(folder)
    while kills < KILLS and driver.poll() is None:
        time.sleep(rng.uniform(0.3, 2.0))
        target = rng.choice(["driver", "driver", "worker", "everything"])
        if target != "worker":
            driver.kill()
            driver.wait()
        if target != "driver":
            for victim in workers(folder)[: 1 if target == "worker" else None]:
                kill(victim)
        kills += 1
        if target != "worker":
            driver = start(folder)
    assert driver.wait(timeout=300) in (0, 6), (folder / "driver.log").read_text()[-3000:]
    return folder, kills


def test_kills_were_made(survivor: tuple[Path, int]) -> None:
    assert survivor[1] >= KILLS // 2


def test_every_structure_is_a_label_or_given_up(survivor: tuple[Path, int]) -> None:
    summary = read_json(survivor[0] / "dft" / "summary.json")
    assert summary["end_state"] == "complete"
    assert summary["labelled"] + summary["quarantined"] == STRUCTURES == summary["structures"]


def test_no_finished_calculation_was_done_twice(survivor: tuple[Path, int]) -> None:
    done = times_done(survivor[0] / "ledger.txt")
    assert set(done.values()) == {1}
    assert len(done) == read_json(survivor[0] / "dft" / "summary.json")["labelled"]


def test_database_and_file_hold_each_label_once(survivor: tuple[Path, int]) -> None:
    root = survivor[0] / "dft"
    names = label_names(root / "dataset.db")
    frames = [frame.info["name"] for frame in read(root / "labels.extxyz", ":")]
    assert (
        len(set(names)) == len(names) == len(frames) == read_json(root / "summary.json")["labelled"]
    )
    assert set(names) == set(frames)


def test_the_same_call_again_does_nothing(survivor: tuple[Path, int]) -> None:
    ledger = (survivor[0] / "ledger.txt").read_text()
    driver = start(survivor[0])
    assert driver.wait(timeout=120) in (0, 6)
    assert (survivor[0] / "ledger.txt").read_text() == ledger
