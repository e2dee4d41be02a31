"""Throughput of the screen: structures per second and core, for every surrogate that is installed
here.

``python benchmarks/screening.py [N] [PROCESSES]``: N (100) rattled cells of 16 and of 32 atoms each
(SiC), in PROCESSES (1) processes of one thread, as the product shares them out. ``load s``: until
every process has its model and has evaluated one structure; the other columns begin after that.
``CPU ms`` is processor time for each structure, the figure to trust on a machine that does other
things too.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import psutil
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.engines import registry
from mlip_autopipec.proposing.pool import SurrogatePool
from mlip_autopipec.science.screening import Evaluation, Limits, evaluate
from mlip_autopipec.testing.contracts.surrogate import meet

SHAPES = {16: (2, 1, 1), 32: (2, 2, 1)}


def structures(n_atoms: int, count: int) -> list[Atoms]:
    """Strained, rattled silicon carbide, all different."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(count):
        atoms = bulk("SiC", "zincblende", a=4.36, cubic=True) * SHAPES[n_atoms]
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))), scale_atoms=True
        )
        atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
        made.append(atoms)
    return made


def cpu_s() -> float:
    """Processor time of this process and all below it (a surrogate may have an interpreter of its
    own).
    """
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def loaded(engine: str) -> Calculator:
    return registry.surrogate(engine).calculator()


def first(
    atoms: Atoms,
    folder: str,
    processes: int,
    calculator: Calculator,
    report: Callable[[float], None],
) -> Evaluation:
    found = evaluate(atoms, calculator, Limits())
    meet(folder, processes)
    return found


def measure(engine: str, n_atoms: int, count: int, processes: int) -> None:
    todo = structures(n_atoms, count)
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        SurrogatePool(partial(loaded, engine), processes, lambda *_: None) as pool,
    ):
        pool.run("load", first, [(todo[0], folder, processes)] * processes)
        begun, cpu_before_s = time.monotonic(), cpu_s()
        found = pool.evaluate("screen", partial(evaluate, limits=Limits()), todo)
        wall_s, used_s = time.monotonic() - begun, cpu_s() - cpu_before_s
    accepted = sum(evaluation.reason is None for evaluation in found)
    line = f"{engine:9s} {n_atoms:6d} {begun - start:7.1f} {count / wall_s / processes:18.1f}"
    print(f"{line} {1e3 * used_s / count:8.0f} {accepted:5d}/{count}", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{processes} processes\nsurrogate  atoms  load s  structures/s/core   CPU ms  accepted")
    for engine in registry.known("surrogate"):
        try:
            registry.surrogate(engine).require()
        except MissingProgramError as absent:
            print(f"{engine:9s} {absent}")
            continue
        for n_atoms in SHAPES:
            measure(engine, n_atoms, count, processes)


if __name__ == "__main__":
    main()
