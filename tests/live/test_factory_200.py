"""200 mixed labels with the real pw.x, a fifth of the calculations harmed, and the driver killed 20
times.

``MLIP_LIVE_LABELS`` and ``MLIP_LIVE_KILLS`` make it smaller, ``MLIP_LIVE_CORES`` wider. What is
done to a fifth of the calculations stands in ``harmful_pw.sh`` (root must run this: it mounts a
small file system). The figures are printed (-s) and written to ``figures.txt`` and ``figures.json``
in the test's folder.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import read, write

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.dft_check.series import label_in
from mlip_autopipec.commands.label import healing_table

LABELS = int(os.environ.get("MLIP_LIVE_LABELS", "200"))
KILLS = int(os.environ.get("MLIP_LIVE_KILLS", "20"))
CORES = os.environ.get("MLIP_LIVE_CORES", "2")
PATIENCE_S = float(os.environ.get("MLIP_LIVE_PATIENCE_S", "10800"))
IMPOSSIBLE = 2  # structures with two atoms on one place, which must be given up
SETTINGS = {
    "cutoff_ry": 24,
    "kspacing_per_a": 0.8,
    "degauss_ry": 0.02,
    "conv_thr_ry_per_atom": 1e-8,
    "walltime_s": 600,
}
FAULTS = {"killed", "lost", "truncated", "disk", "timeout"}
COMPARED = 2  # harmed calculations of each kind that are done again in peace


def structures(count: int) -> list[Atoms]:
    """Small rattled and strained cells of Si, Al, NaCl and Fe, and bent water molecules, all
    different.
    """
    rng = np.random.default_rng(5)
    found: list[Atoms] = []
    makers = [
        lambda: bulk("Si"),
        lambda: bulk("Al") * (1, 1, rng.integers(1, 3)),
        lambda: bulk("NaCl", "rocksalt", a=5.69),
        lambda: bulk("Fe"),
        lambda: molecule("H2O"),
    ]
    weights = [0.35, 0.3, 0.15, 0.12, 0.08]
    for index in rng.choice(len(makers), size=count - IMPOSSIBLE, p=weights):
        atoms = makers[index]()
        if atoms.pbc.any():
            atoms.set_cell(atoms.cell.array * rng.uniform(0.96, 1.05), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.03, size=atoms.positions.shape)
        found.append(atoms)
    for number in range(IMPOSSIBLE):
        atoms = bulk("Si", cubic=True)
        atoms.positions[1] = atoms.positions[0] + [0.1 + 0.05 * number, 0.0, 0.0]
        found.append(atoms)
    return found


@dataclass
class Drivers:
    """``mlip-auto dft``, one process after the other, and the CPU time that they used
    themselves.
    """

    folder: Path
    cpu_s: float = 0.0
    kills: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        options = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
        command = [
            sys.executable,
            "-m",
            "mlip_autopipec.cli.main",
            "dft",
            "cells.extxyz",
            "--cores",
            CORES,
            *options,
        ]
        pw = Path(__file__).with_name("harmful_pw.sh")
        environment = {**os.environ, "MLIP_PW": str(pw), "LEDGER": str(self.folder / "ledger.txt")}
        with (self.folder / "driver.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=environment
            )

    def kill(self) -> None:
        used = psutil.Process(self.process.pid).cpu_times()
        self.cpu_s += used.user + used.system
        self.process.kill()
        self.process.wait()
        self.kills += 1

    def settled(self) -> int:
        return len(list(self.folder.glob("dft/tasks/*/*/outcome.json")))


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Drivers, float]:
    """The folder after the last driver has ended, its drivers, and the wall time in s."""
    assert os.geteuid() == 0, "a full disk is a small file system, which root alone may mount"
    folder = tmp_path_factory.mktemp("factory").resolve()
    write(folder / "cells.extxyz", structures(LABELS))
    rng, begun = random.Random(2), time.time()
    drivers = Drivers(folder)
    drivers.start()
    for mark in sorted(rng.uniform(0.02, 0.95) * LABELS for _ in range(KILLS)):
        while drivers.settled() < mark and drivers.process.poll() is None:
            assert time.time() - begun < PATIENCE_S, (
                f"{drivers.settled()} attempts after {PATIENCE_S:.0f} s"
            )
            time.sleep(0.05)
        time.sleep(rng.uniform(0.0, 2.0))
        if drivers.process.poll() is not None:
            break  # a test below says so
        drivers.kill()
        drivers.start()
    code = drivers.process.wait(timeout=max(1.0, begun + PATIENCE_S - time.time()))
    assert code == 6, (folder / "driver.log").read_text()[-3000:]  # not all became labels
    return folder, drivers, time.time() - begun


def ledger(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "ledger.txt").read_text().splitlines()]


def test_figures(survivor: tuple[Path, Drivers, float]) -> None:
    folder, drivers, wall_s = survivor
    summary = read_json(folder / "dft" / "summary.json")
    cpu_s = drivers.cpu_s + 3600 * summary["core_hours"]
    figures: Json = {
        "structures": summary["structures"],
        "labels": summary["labelled"],
        "quarantined": summary["quarantined"],
        "calculations": summary["calculations"],
        "harmed": dict(Counter(words[3] for words in ledger(folder) if words[0] == "start")),
        "driver kills": drivers.kills,
        "wall, minutes": round(wall_s / 60, 1),
        # Without attempts that were lost and the last driver, which cannot be asked any more.
        "CPU, minutes": round(cpu_s / 60, 1),
        "CPU of drivers, minutes": round(drivers.cpu_s / 60, 1),
        "core-hours lost": round(summary["core_hours_lost"], 4),
        "formulas": dict(
            Counter(str(f.symbols) for f in read(folder / "dft" / "labels.extxyz", ":"))
        ),
    }
    lines = [f"{key:24} {value}" for key, value in figures.items()]
    text = "\n".join([*lines, healing_table.table(healing_table.report(folder / "dft"))])
    (folder / "figures.txt").write_text(f"{text}\n")
    (folder / "figures.json").write_text(
        json.dumps({**figures, "classes": summary["failures"]}, indent=1)
    )
    print(f"\n{text}\n({folder}/figures.txt)")
    assert drivers.kills == KILLS


def test_every_structure_is_a_label_or_given_up(survivor: tuple[Path, Drivers, float]) -> None:
    root = survivor[0] / "dft"
    summary = read_json(root / "summary.json")
    assert summary["end_state"] == "complete" and summary["left"] == 0
    assert summary["labelled"] + summary["quarantined"] == LABELS == summary["structures"]
    given_up = read_json(root / "quarantine.json")
    assert [item["class"] for item in given_up] == ["geometry"] * IMPOSSIBLE


def test_a_fifth_was_harmed_in_every_way(survivor: tuple[Path, Drivers, float]) -> None:
    harmed = Counter(
        words[3] for words in ledger(survivor[0]) if words[0] == "start" and words[3] != "none"
    )
    assert harmed.total() == -(-(LABELS - IMPOSSIBLE) // 5)
    assert set(harmed) == FAULTS or LABELS < 30
    assert not [words for words in ledger(survivor[0]) if words[0] == "end" and words[4] == "99"], (
        "mount failed"
    )


def test_nothing_is_missing_and_nothing_is_there_twice(
    survivor: tuple[Path, Drivers, float],
) -> None:
    root = survivor[0] / "dft"
    begun = Counter((words[1], words[2]) for words in ledger(survivor[0]) if words[0] == "start")
    assert max(begun.values()) == 1  # no attempt was begun twice
    spoilt = ("truncated", "disk")  # pw.x says that all is well there
    good = [
        words
        for words in ledger(survivor[0])
        if words[0] == "end" and words[4] == "0" and words[3] not in spoilt
    ]
    finished = Counter(words[1] for words in good)
    assert set(finished.values()) == {1}
    names = [row.name for row in connect(root / "dataset.db", use_lock_file=False).select()]
    frames = [frame.info["name"] for frame in read(root / "labels.extxyz", ":")]
    assert len(names) == len(set(names)) == len(frames) == LABELS - IMPOSSIBLE
    assert set(frames) == set(names) == set(finished)


def test_harmed_calculations_have_the_labels_of_unharmed_ones(
    survivor: tuple[Path, Drivers, float],
) -> None:
    root = survivor[0] / "dft"
    method = read_json(root / "summary.json")["method"]
    frames = {frame.info["name"]: frame for frame in read(root / "labels.extxyz", ":")}
    seen = Counter[str]()
    for word, task, _, fault, *_ in ledger(survivor[0]):
        if word != "start" or fault == "none" or seen[fault] == COMPARED:
            continue
        seen[fault] += 1
        frame = frames[task]
        again = label_in(survivor[0] / "again", LabelJob(frame, method), walltime_s=600, cores=1)
        assert isinstance(again, Label), again
        assert frame.get_potential_energy() == pytest.approx(again.energy_ev, abs=1e-5), (
            task,
            fault,
        )
        assert np.abs(frame.get_forces() - again.forces).max() < 0.005, (task, fault)


def test_iron_is_calculated_with_spin(survivor: tuple[Path, Drivers, float]) -> None:
    inputs = [path.read_text() for path in (survivor[0] / "dft").glob("tasks/*/*/pw.in")]
    iron = [text for text in inputs if "Fe.upf" in text]
    assert iron and all(
        "nspin = 2" in text and "starting_magnetization(1) = 0.25" in text for text in iron
    )
    moments = [
        frame.info["total_magnetization"]
        for frame in read(survivor[0] / "dft" / "labels.extxyz", ":")
        if "Fe" in frame.symbols and "total_magnetization" in frame.info
    ]
    assert moments and max(moments) > 0.1


def test_no_process_and_no_file_system_is_left(survivor: tuple[Path, Drivers, float]) -> None:
    folder = str(survivor[0])
    assert not [
        p for p in psutil.process_iter(["cwd"]) if str(p.info["cwd"] or "").startswith(folder)
    ]
    assert folder not in Path("/proc/mounts").read_text()
