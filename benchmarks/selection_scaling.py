"""Fingerprints and farthest points of large pools: time, scaling and memory, beside the FPS of
skmatter.

``python benchmarks/selection_scaling.py [N...]`` (1000 10000 100000) makes an extended XYZ file of
N disordered Al-Cu cells of 16 atoms, runs ``select_file`` on it twice (with an empty table of
fingerprints, then with a full one, to tell SOAP and picking apart), and picks the same 200 with
skmatter from the same rows. Each step runs in a process of its own, so that its peak memory is its
own. Single-threaded. The exponent is that of CPU time over N between the two largest sizes. Needs 1
GB of temporary disk for N = 100,000, and skmatter: ``pip install --no-deps skmatter==0.4.1`` (it
asks for scikit-learn below 1.9, but works with 1.9).
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase.build import bulk

PICKS = 200
LIMIT_MB = 2000


def write_pool(file: Path, count: int) -> None:
    """Random fcc Al-Cu alloys of 16 atoms: any composition, volume within 24 %, displacements up to
    a melt's.
    """
    rng = np.random.default_rng(count)
    with file.open("w") as stream:
        for _ in range(count):
            atoms = bulk("Al", "fcc", a=3.85 * rng.uniform(0.96, 1.04), cubic=True) * (1, 2, 2)
            atoms.numbers[rng.permutation(16)[: rng.integers(0, 17)]] = 29
            strain = rng.normal(scale=0.02, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
            atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.35), size=(16, 3))
            ase.io.write(stream, atoms, format="extxyz")


def ours(folder: Path) -> dict[str, Any]:
    """``select_file`` on the pool, with whatever fingerprints there are already."""
    from mlip_autopipec.base.progress import Progress
    from mlip_autopipec.selecting import file as select_file

    result = select_file(
        folder / "pool.xyz",
        PICKS,
        method="fps",
        out=folder / "out.xyz",
        cache=folder / "cache",
        progress=Progress(io.StringIO()),
    )
    return {"indices": list(result.indices)}


def _rows(folder: Path) -> Any:
    """The fingerprints of the pool as ``select_file`` left them."""
    (rows,) = (folder / "cache").glob("*/rows.f32")
    count = sum(1 for _ in (rows.parent / "index.bin").read_bytes()[::32])
    return np.memmap(rows, "<f4", mode="r").reshape(count, -1)


def picking(folder: Path) -> dict[str, Any]:
    """Farthest points alone, from the table."""
    from mlip_autopipec.science.selection import farthest_points

    rows = _rows(folder)
    begun = time.process_time()
    picks = farthest_points(rows, PICKS)
    return {"indices": picks, "picking_s": time.process_time() - begun, "columns": rows.shape[1]}


def skmatter(folder: Path) -> dict[str, Any]:
    """Farthest points by skmatter, from the same first one; it wants the rows in memory, in double
    precision.
    """
    from skmatter.sample_selection import FPS

    rows = np.asarray(_rows(folder), dtype=float)
    first = json.loads((folder / "picking.json").read_text())["indices"][0]
    begun = time.process_time()
    found = FPS(n_to_select=PICKS, initialize=first).fit(rows)
    return {
        "indices": [int(i) for i in found.selected_idx_],
        "picking_s": time.process_time() - begun,
    }


STEPS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "first": ours, "again": ours, "picking": picking, "skmatter": skmatter,
}  # fmt: skip


def run_step(step: str, folder: Path) -> dict[str, Any]:
    """A step in a process of its own; adds ``cpu_s`` and ``peak_mb`` of that process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, __file__, "--step", step, str(folder)], check=True, env=environment
    )
    found: dict[str, Any] = json.loads((folder / f"{step}.json").read_text())
    return found


def child(step: str, folder: Path) -> None:
    import resource

    found = STEPS[step](folder)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found |= {"cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}
    (folder / f"{step}.json").write_text(json.dumps(found))


def main(sizes: list[int]) -> int:
    if importlib.util.find_spec("skmatter") is None:
        print("skmatter is missing: pip install --no-deps skmatter==0.4.1", file=sys.stderr)
        return 2
    times: dict[str, list[float]] = {"SOAP": [], "FPS": [], "skmatter": []}
    good = True
    print(
        f"{'N':>7}  {'SOAP ms each':>12}  {'FPS s':>7}  {'skmatter s':>10}  {'peak MB':>7} "
        f" {'skmatter MB':>11}  picks"
    )
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="mlip-selection-") as name:
            folder = Path(name)
            write_pool(folder / "pool.xyz", size)
            found = {step: run_step(step, folder) for step in STEPS}
        soap = found["first"]["cpu_s"] - found["again"]["cpu_s"]
        alike = (
            found["picking"]["indices"] == found["skmatter"]["indices"] == found["first"]["indices"]
        )
        for key, value in (("SOAP", soap), ("FPS", found["picking"]["picking_s"]),
                           ("skmatter", found["skmatter"]["picking_s"])):  # fmt: skip
            times[key].append(value)
        good &= alike and found["first"]["peak_mb"] < LIMIT_MB
        print(
            f"{size:7d}  {1000 * soap / size:12.2f}  {times['FPS'][-1]:7.2f} "
            f" {times['skmatter'][-1]:10.2f}  {found['first']['peak_mb']:7.0f} "
            f" {found['skmatter']['peak_mb']:11.0f}  {'identical' if alike else 'DIFFERENT'}"
            f" ({found['picking']['columns']} columns)",
            flush=True,
        )
    if len(sizes) > 1:
        decades = math.log(sizes[-1] / sizes[-2])
        for key, values in times.items():
            print(f"{key}: CPU time goes with N^{math.log(values[-1] / values[-2]) / decades:.2f}")
    print(f"{'within' if good else 'NOT within'} {LIMIT_MB} MB with the picks of skmatter")
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        child(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(main([int(word) for word in sys.argv[1:]] or [1000, 10_000, 100_000]))
