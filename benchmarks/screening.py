"""Throughput of the screen: structures per second and core, for every surrogate that is installed here.

``python benchmarks/screening.py [N] [WORKERS]``: N (100) rattled cells of 16 and of 32 atoms each (SiC), in WORKERS (1)
processes of one thread. The time runs from the first evaluation to the last: loading a model is a column of its own.
``CPU ms`` is processor time for each structure, the figure to trust on a machine that does other things too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
import psutil
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.engines import registry
from mlip_autopipec.errors import MissingProgramError
from mlip_autopipec.runtime.screening import evaluate_stream
from mlip_autopipec.science.screening import Limits

SHAPES = {16: (2, 1, 1), 32: (2, 2, 1)}


def structures(n_atoms: int, count: int) -> Iterator[Atoms]:
    """Strained, rattled silicon carbide, all different."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        atoms = bulk("SiC", "zincblende", a=4.36, cubic=True) * SHAPES[n_atoms]
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
        yield atoms


def descendants_cpu_s() -> float:
    """Processor time of all processes below this one (a surrogate may have an interpreter of its own)."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        times = process.cpu_times()
        total += times.user + times.system
    return total


def measure(engine: str, n_atoms: int, count: int, workers: int) -> None:
    warm = 2 * workers  # the first ones wait for the models to be loaded
    stream = evaluate_stream(structures(n_atoms, count + warm), engine, Limits(), workers=workers, total=count + warm)
    start = time.monotonic()
    begun = cpu_s = 0.0
    accepted = 0
    for index, evaluation in stream:
        accepted += evaluation.reason is None
        if index == warm - 1:
            begun, cpu_s = time.monotonic(), descendants_cpu_s()
        elif index == warm + count - 1:
            cpu_s = descendants_cpu_s() - cpu_s
    wall_s = time.monotonic() - begun
    line = f"{engine:9s} {n_atoms:6d} {begun - start:7.1f} {count / wall_s / workers:18.1f} {1e3 * cpu_s / count:8.0f}"
    print(f"{line} {accepted:5d}/{count + warm}", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{workers} workers\nsurrogate  atoms  load s  structures/s/core   CPU ms  accepted")
    for engine in registry.known("surrogate"):
        try:
            registry.surrogate(engine).require()
        except MissingProgramError as absent:
            print(f"{engine:9s} {absent}")
            continue
        for n_atoms in SHAPES:
            measure(engine, n_atoms, count, workers)


if __name__ == "__main__":
    main()
