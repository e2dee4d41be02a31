"""What the default DFT settings cost and how far their forces are from converged ones.

    python benchmarks/dft_settings.py [--systems Si Al NaCl H2O] [--family NAME] [--folder FOLDER]

Two displaced structures of each system are labelled with the settings that ``mlip-auto dft``
derives, with a coarser and a finer variant of them, and with a tight reference (cutoff 1.3 times
the highest hint of the family, half the k-point spacing). The table gives CPU seconds per label,
the largest and the root mean square force error over both, and the error of their energy difference
per atom. Calculations are kept in FOLDER, so a second call only prints.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.commands.dft_check.series import label_in
from mlip_autopipec.commands.label.method import derive_dft
from mlip_autopipec.commands.label.structures import as_calculated
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.science.dft_series import probe_pair

SYSTEMS = {
    "Si": lambda: bulk("Si", "diamond", a=5.469),
    "Al": lambda: bulk("Al", "fcc", a=4.04, cubic=True),
    "NaCl": lambda: bulk("NaCl", "rocksalt", a=5.70),
    "H2O": lambda: molecule("H2O"),
}


def variants(method: Json, family: str, elements: list[str], periodic: bool) -> dict[str, Json]:
    """Name -> method, the reference last."""
    cutoff, dual, spacing = (
        float(method["cutoff_ry"]),
        float(method["rho_cutoff_ry"]) / float(method["cutoff_ry"]),
        float(method["kspacing_per_a"]),
    )
    tight_ry = 1.3 * max(pseudos.cutoffs(family, element)[2] for element in elements)

    def changed(cutoff_ry: float, spacing_per_a: float) -> Json:
        even = 2.0 * round(cutoff_ry / 2)
        return {
            **method,
            "cutoff_ry": even,
            "rho_cutoff_ry": dual * even,
            "kspacing_per_a": round(spacing_per_a, 4),
        }

    found = {"default": method, "cutoff x 0.85": changed(0.85 * cutoff, spacing)}
    if periodic:
        found |= {
            "k-spacing x 1.5": changed(cutoff, 1.5 * spacing),
            "k-spacing x 0.75": changed(cutoff, 0.75 * spacing),
        }
    return {**found, "reference": changed(tight_ry, 0.5 * spacing)}


def labelled(job: LabelJob, folder: Path) -> tuple[Label, float]:
    """The label and the CPU seconds that its calculation took."""
    costs = folder / f"{content_hash(job.to_json())}-cpu.json"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    label = label_in(folder, job, walltime_s=7200, cores=1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not isinstance(label, Label):
        raise SystemExit(f"{job.atoms.get_chemical_formula()}: {label.kind}: {label.message}")
    if not costs.exists():
        write_json(costs, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return label, float(read_json(costs))


def rows(name: str, atoms: Atoms, family: str, folder: Path) -> list[dict[str, Any]]:
    structure = as_calculated(atoms).atoms
    elements = sorted(set(structure.get_chemical_symbols()))
    method = derive_dft([structure], wishes={"family": family}).dft.label_method()
    pair = probe_pair(structure, seed=1)
    table = variants(method, family, elements, bool(any(structure.pbc)))
    labels = {
        key: [labelled(LabelJob(one, changed), folder) for one in pair]
        for key, changed in table.items()
    }
    tight = [label for label, _ in labels["reference"]]
    found = []
    for key, both in labels.items():
        errors = np.concatenate(
            [(one.forces - ref.forces).ravel() for (one, _), ref in zip(both, tight, strict=True)]
        )
        difference = (both[0][0].energy_ev - both[1][0].energy_ev) - (
            tight[0].energy_ev - tight[1].energy_ev
        )
        found.append(
            {
                "system": name,
                "settings": key,
                "cutoff": table[key]["cutoff_ry"],
                "spacing": table[key]["kspacing_per_a"],
                "cpu": sum(seconds for _, seconds in both) / 2,
                "largest": 1000 * float(np.abs(errors).max()),
                "rms": 1000 * float(np.sqrt((errors**2).mean())),
                "energy": 1000 * difference / len(structure),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost and force error of the default DFT settings")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--family", default=pseudos.DEFAULT_FAMILY)
    parser.add_argument("--folder", type=Path, default=Path("dft_settings"))
    options = parser.parse_args()
    print(f"{options.family}, one core, CPU seconds per label\n")
    print(
        "| system | settings | cutoff Ry | k-spacing 1/Å | CPU s | max force error meV/Å | rms | ΔE"
        " error meV/atom |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in options.systems:
        for row in rows(name, SYSTEMS[name](), options.family, options.folder):
            print(
                f"| {row['system']} | {row['settings']} | {row['cutoff']:g} | {row['spacing']:g} |"
                f" {row['cpu']:.1f} | {row['largest']:.1f} | {row['rms']:.1f} |"
                f" {row['energy']:+.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
