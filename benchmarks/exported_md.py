"""Does the exported LAMMPS input hold? 1 ps NVT and 1 ps NVE on the exported cell: atoms left,
energy drift.

``python benchmarks/exported_md.py runs/Si/result [TEMPERATURE_K]`` runs ``in.lammps`` of a finished
campaign as it is, through the pair style that ``make plugin`` compiles, and prints one line.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from mlip_autopipec.engines.md.lammps.plugin.launch import run_lammps


def main(result: Path, temperature_k: float) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "result"
        shutil.copytree(result, folder)
        arguments = [
            "-in",
            "in.lammps",
            "-var",
            "temperature",
            f"{temperature_k:g}",
            "-screen",
            "none",
        ]
        code = run_lammps(arguments, folder)
        log = (folder / "log.lammps").read_text()
    left, count = re.findall(r"^atoms: (\d+) of (\d+)", log, re.MULTILINE)[-1]
    drift = re.findall(r"^energy drift: (\S+)", log, re.MULTILINE)[-1]
    print(
        f"{temperature_k:g} K: {left} of {count} atoms left, drift {float(drift):.4f} meV/atom/ps,"
        f" exit code {code}"
    )
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 600.0))
