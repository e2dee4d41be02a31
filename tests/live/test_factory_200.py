"""200 mixed labels with the real pw.x, faults in a fifth of the runs, and the driver killed 20 times.

``MLIP_LIVE_LABELS`` and ``MLIP_LIVE_KILLS`` make it smaller. pw.x is started through a script that harms the first
attempt of every fifth calculation (chosen by a hash of its input): kill -9 in the middle, a truncated XML, a full disk
(a file system of 16 kB, so root must run this; pw.x 6.7 then says JOB DONE and returns 0, with an empty XML), a wall
time that is too short. Figures are printed at the end (-s).
"""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from ase import Atoms
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import read, write

from mlip_autopipec.files import read_json

LABELS = int(os.environ.get("MLIP_LIVE_LABELS", "200"))
KILLS = int(os.environ.get("MLIP_LIVE_KILLS", "20"))
CORES = os.environ.get("MLIP_LIVE_CORES", "2")
IMPOSSIBLE = 2  # structures with two atoms on one place, which must be given up
SETTINGS = {"cutoff_ry": 14, "kspacing_per_a": 1.2, "conv_thr_ry_per_atom": 1e-6, "walltime_s": 600}

# Faults are chosen by the digest of the input without its wall time, so that a run can be told again.
PW = r"""#!/bin/bash
name=$(basename "$(dirname "$PWD")"); attempt=$(basename "$PWD")
digest=$(grep -v max_seconds pw.in | cksum | cut -d' ' -f1)
fault=none
if [ "$attempt" = attempt-1 ] && [ $((digest % 5)) = 0 ]; then
  case $(((digest / 5) % 4)) in 0) fault=killed;; 1) fault=truncated;; 2) fault=disk;; 3) fault=timeout;; esac
fi
echo "start $name $attempt $fault" >> "$LEDGER"
case $fault in
  killed) pw.x "$@" & child=$!; sleep 0.7; kill -9 $child 2>/dev/null; kill -9 $$;;
  disk) mkdir out && mount -t tmpfs -o size=16k tmpfs out || exit 99
    pw.x "$@"; code=$?; cp -r out left; umount out; cp -r left/. out; rm -r left;;
  timeout) sed -i 's/max_seconds = .*/max_seconds = 0.2/' pw.in; pw.x "$@"; code=$?;;
  *) pw.x "$@"; code=$?;;
esac
if [ $fault = truncated ]; then
  for xml in out/p.xml out/p.save/data-file-schema.xml; do
    [ -f $xml ] && head -c 3000 $xml > $xml.cut && mv $xml.cut $xml
  done
fi
echo "end $name $attempt $fault $code" >> "$LEDGER"
exit $code
"""


def structures(count: int) -> list[Atoms]:
    """Small rattled and strained cells of Si, Al, NaCl and Fe, and bent water molecules, all different."""
    rng = np.random.default_rng(5)
    found: list[Atoms] = []
    makers = [
        lambda: bulk("Si"),
        lambda: bulk("Al"),
        lambda: bulk("NaCl", "rocksalt", a=5.69),
        lambda: bulk("Fe", cubic=False),
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


def start(folder: Path) -> subprocess.Popen[bytes]:
    options = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "mlip_autopipec.cli", "dft", "cells.extxyz", "--cores", CORES, *options]
    with (folder / "driver.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, "MLIP_PW": str(folder / "pw.sh"), "LEDGER": str(folder / "ledger.txt")},
        )


def settled(root: Path) -> int:
    return len(list(root.glob("tasks/*/*/outcome.json")))


def test_200_labels(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    write(folder / "cells.extxyz", structures(LABELS))
    (folder / "pw.sh").write_text(PW)
    (folder / "pw.sh").chmod((folder / "pw.sh").stat().st_mode | stat.S_IEXEC)
    rng, kills, begun = random.Random(2), 0, time.time()
    driver = start(folder)
    marks = sorted(rng.uniform(0.02, 0.95) * LABELS for _ in range(KILLS))
    while kills < KILLS and driver.poll() is None:
        if settled(folder / "dft") >= marks[kills] or time.time() - begun > 3600:
            time.sleep(rng.uniform(0.0, 2.0))
            driver.kill()
            driver.wait()
            kills += 1
            driver = start(folder)
        time.sleep(0.05)
    code = driver.wait(timeout=7200)
    log = (folder / "driver.log").read_text()
    assert code in (0, 6), log[-3000:]
    check(folder, kills, time.time() - begun)


def check(folder: Path, kills: int, wall_s: float) -> None:
    root = folder / "dft"
    summary = read_json(root / "summary.json")
    ledger = [line.split() for line in (folder / "ledger.txt").read_text().splitlines()]
    faults = Counter(words[3] for words in ledger if words[0] == "start")
    classes = {row["class"]: (row["met"], row["healed"], row["quarantined"]) for row in summary["failures"]}
    figures = {
        "labels": summary["labelled"], "quarantined": summary["quarantined"], "driver_kills": kills,
        "faults": dict(faults), "classes": classes, "calculations": summary["calculations"],
        "core_hours": round(summary["core_hours"], 3), "core_hours_lost": round(summary["core_hours_lost"], 3),
        "wall_minutes": round(wall_s / 60, 1),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))

    assert kills == KILLS
    assert summary["end_state"] == "complete" and summary["left"] == 0
    assert summary["labelled"] + summary["quarantined"] == LABELS == summary["structures"]
    lost = read_json(root / "quarantine.json")
    assert [item["class"] for item in lost if item["class"] != "geometry"] == []
    assert len(lost) == IMPOSSIBLE
    # Every fault was met and none of them twice; what was not harmed was calculated once.
    assert set(faults) == {"none", "killed", "truncated", "disk", "timeout"} or LABELS < 100
    finished = Counter(
        words[1] for words in ledger if words[0] == "end" and words[3] not in ("truncated", "disk") and words[4] == "0"
    )
    assert set(finished.values()) == {1} and len(finished) == summary["labelled"]
    names = [row.name for row in connect(root / "dataset.db", use_lock_file=False).select()]
    frames = read(root / "labels.extxyz", ":")
    assert len(names) == len(set(names)) == len(frames) == summary["labelled"]
    assert {frame.info["name"] for frame in frames} == set(names) == set(finished)
    iron = [path.read_text() for path in root.glob("tasks/*/*/pw.in") if "Fe.upf" in path.read_text()]
    assert iron and all("nspin = 2" in text and "starting_magnetization(1) = 0.25" in text for text in iron)
    ours = [p for p in psutil.process_iter(["cwd"]) if str(p.info["cwd"] or "").startswith(str(folder))]
    assert not ours
