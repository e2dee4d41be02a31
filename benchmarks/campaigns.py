"""Whole campaigns, one row each: does it converge, at what cost, and was the estimate right?

``python benchmarks/campaigns.py OUT INPUT... [--seeds 1 2 3]`` runs ``mlip-auto run`` on each input
file with each seed, one after the other, in ``OUT/<name>-<seed>``, and prints a row for each as it
ends. An ``INPUT`` that is no file is taken as ``material:``. A run that has ended is only read. The
rows also lie in ``OUT/campaigns.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

COLUMNS = (
    "name", "seed", "end_state", "dft_calls", "expected_calls", "minutes", "expected_minutes",
    "energy_high", "force_high", "lattice_off_%", "bulk_off_%", "potentials", "swaps", "cutouts",
)  # fmt: skip


def question(given: str) -> dict[str, Any]:
    """The content of an input file, or of one that names a material alone."""
    path = Path(given)
    return dict(yaml.safe_load(path.read_text())) if path.is_file() else {"material": given}


def run(asked: dict[str, Any], name: str, seed: int, out: Path) -> dict[str, Any]:
    """One campaign, and its row."""
    folder = out / f"{name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    file, summary = folder / "input.yaml", folder / "runs" / name / "result" / "summary.json"
    file.write_text(yaml.safe_dump({**asked, "seed": seed, "name": name}))
    program = [sys.executable, "-m", "mlip_autopipec.cli"]
    plan = subprocess.run(
        [*program, "plan", file.name, "--json"], cwd=folder, capture_output=True, check=True
    )
    if not summary.is_file():
        with (folder / "log.txt").open("a") as log:
            command = [*program, "run", file.name]
            subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=False)
    return row(json.loads(summary.read_text()), json.loads(plan.stdout)["estimate"], name, seed)


def row(found: dict[str, Any], expected: dict[str, Any], name: str, seed: int) -> dict[str, Any]:
    """What is printed of a campaign: the largest of the upper ends of its errors where it was
    asked, and how far it is from its own DFT.
    """
    asked = [item for item in found["conditions"] if item["role"] == "asked"]

    def highest(key: str) -> float | None:
        values = [item[key] for item in asked]
        return None if not values or None in values else max(values)

    def off(key: str) -> float | None:
        pair = found[key]
        known = pair["potential"] is not None and pair["dft"]
        return 100 * (pair["potential"] / pair["dft"] - 1) if known else None

    values = (
        name, seed, found["end_state"], found["dft_calls"], expected["dft_calls"],
        found["wall_s"] / 60, expected["wall_minutes"],
        highest("energy_rmse_mev_per_atom_high"), highest("force_rmse_mev_per_a_high"),
        off("lattice_constant_a"), off("bulk_modulus_gpa"),
        found["potentials"], found["swaps"], found["cutouts"],
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    rows = []
    print(" ".join(COLUMNS), flush=True)
    for given in options.inputs:
        asked = question(given)
        name = asked.get("name") or str(asked.get("material", Path(given).parent.name))
        for seed in options.seeds:
            rows.append(run(asked, name, seed, options.out))
            text = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in rows[-1].values())
            print(" ".join(text), flush=True)
            (options.out / "campaigns.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
