"""What the factory itself costs: N structures whose calculation takes no time, through plan, log,
folders and outputs.

``python benchmarks/factory_overhead.py [N] [SLOTS]`` prints a line for N/10 and one for N (10,000
when not given), so that anything that grows faster than N shows. SLOTS (2): calculations side by
side; few slots are the harder case, because the driver then goes round more often. Wall time, on
whatever disk the temporary folder lies on.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.commands.dft import label_atoms
from mlip_autopipec.commands.label.options import Options
from mlip_autopipec.runtime.executors.ports import JobRequest


class Instant:
    """Reports a made-up label at once, as a worker would have."""

    def submit(self, request: JobRequest) -> str:
        spec = json.loads((request.folder / "spec.json").read_text())
        count = len(spec["payload"]["job"]["atoms"]["numbers"])
        label = Label(-1.0, np.full((count, 3), 0.1), np.zeros(6), "none", 1, 0.0)
        outcome = {"result": label.to_json(), "failure": None, "wall_s": 0.0, "cpu_s": 0.0}
        (request.folder / "outcome.json").write_text(json.dumps(outcome))
        return request.name

    def poll(self, ids: Iterable[str]) -> Mapping[str, bool]:
        return dict.fromkeys(ids, False)

    def cancel(self, ids: Iterable[str]) -> None:
        return None


def structures(count: int) -> list[Atoms]:
    """Rattled cells of eight atoms, all different."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        atoms = bulk("Si", cubic=True)
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        found.append(atoms)
    return found


def measure(count: int, slots: int) -> None:
    """Label once, then again (nothing left to do), and print what both cost."""
    cells = structures(count)
    options = Options(engine="mlip_autopipec.testing:SimulatedDft", cores=slots)
    with tempfile.TemporaryDirectory(prefix="mlip-overhead-") as folder:
        times = []
        for _ in range(2):
            begun, used = time.perf_counter(), time.process_time()
            summary = label_atoms(
                cells,
                Path(folder) / "dft",
                options,
                progress=Progress(io.StringIO()),
                executor=Instant(),
            )
            times.append((time.perf_counter() - begun, time.process_time() - used))
            assert summary.labelled == count, summary
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (wall, cpu), (again, _) = times
    print(
        f"{count:6d} structures, {slots} at a time: {1000 * wall / count:.2f} ms each (CPU"
        f" {1000 * cpu / count:.2f}), second call {again:.1f} s, peak memory {memory:.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    side_by_side = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    measure(max(1, total // 10), side_by_side)
    measure(total, side_by_side)
