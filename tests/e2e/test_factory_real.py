"""``mlip-auto dft`` with the real pw.x: mixed structures, one that fails and is healed, one that is
given up.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import read, write

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("factory-real")]

#: The first attempt of the silicon cell dies as if the kernel had run out of memory; all others are
#: left alone.
WRAPPER = """#!/bin/sh
case "$PWD" in */attempt-1) grep -q "Si.upf" pw.in && kill -9 $$ ;; esac
exec pw.x "$@"
"""
OPTIONS = (
    "--cores",
    "2",
    "--set",
    "cutoff_ry=16",
    "--set",
    "kspacing_per_a=0.9",
    "--set",
    "conv_thr_ry_per_atom=1e-7",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("factory-real")
    silicon = bulk("Si")
    silicon.rattle(0.05, seed=1)
    overlapping = bulk("Al", cubic=True)
    overlapping.positions[1] = overlapping.positions[0] + [0.2, 0, 0]
    hydrogen = molecule("H2")
    write(root / "crystals.extxyz", [silicon, bulk("Al"), overlapping])
    write(root / "h2.xyz", hydrogen)
    wrapper = root / "pw-that-dies.sh"
    wrapper.write_text(WRAPPER)
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IEXEC)
    return root


def call(folder: Path, *words: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "mlip_autopipec.cli.main", "dft", *words, "--json"],
        cwd=folder,
        env={**os.environ, "MLIP_PW": str(folder / "pw-that-dies.sh")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_mixed_structures_are_labelled_healed_or_given_up(folder: Path) -> None:
    code, summary = call(folder, "crystals.extxyz", "h2.xyz", *OPTIONS)
    assert code == 6, summary
    assert (summary["end_state"], summary["labelled"], summary["quarantined"]) == ("complete", 3, 1)
    frames = {str(frame.symbols): frame for frame in read(folder / "dft" / "labels.extxyz", ":")}
    assert set(frames) == {"Si2", "Al", "H2"}
    silicon, hydrogen = frames["Si2"], frames["H2"]
    assert -240 < silicon.get_potential_energy() < -200  # twice silicon with four valence electrons
    assert np.abs(silicon.get_forces().sum(axis=0)).max() < 5e-3
    assert np.abs(silicon.get_forces()).max() > 0.05
    assert silicon.get_stress().shape == (6,)
    assert not hydrogen.pbc.any() and "stress" not in hydrogen.calc.results
    assert -33 < hydrogen.get_potential_energy() < -28
    assert frames["Al"].get_forces() == pytest.approx(np.zeros((1, 3)), abs=1e-4)
    assert len({frame.info["method_hash"] for frame in frames.values()}) == 1
    assert connect(folder / "dft" / "dataset.db", use_lock_file=False).count() == 3


def test_the_report_says_what_was_healed(folder: Path) -> None:
    _, found = call(folder, "report", "dft")
    classes = {row["class"]: row for row in found["classes"]}  # type: ignore[attr-defined]
    assert (classes["interrupted"]["met"], classes["interrupted"]["healed"]) == (1, 1)
    assert (classes["geometry"]["met"], classes["geometry"]["quarantined"]) == (1, 1)
    (lost,) = json.loads((folder / "dft" / "quarantine.json").read_text())
    assert lost["formula"] == "Al4" and "0.200 Å apart" in lost["message"]


def test_a_second_call_starts_no_program(folder: Path) -> None:
    before = sorted((folder / "dft" / "tasks").glob("*/*"))
    code, summary = call(folder, "crystals.extxyz", "h2.xyz", *OPTIONS)
    assert (code, summary["labelled"]) == (6, 3)
    assert sorted((folder / "dft" / "tasks").glob("*/*")) == before
