"""Explore: molecular dynamics with the current potential at one condition, as a long task.

Payload ``{"condition", "visit", "seed"}``; ``needs[0]`` is a generate task, whose ``start.json`` gives the crystal.
The result is that of the MD engine; candidates are streamed into the attempt folder while it runs.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import spglib
from ase import Atoms

from mlip_autopipec.config.plan import Condition, Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import MdJob
from mlip_autopipec.errors import CampaignStateError
from mlip_autopipec.files import read_json
from mlip_autopipec.runtime import layout
from mlip_autopipec.types import Candidate, Failure, Outcome, TaskSpec

__all__ = ["conventional_cell", "run", "supercell"]

SNAPSHOT = "snapshot.json"
VACUUM_A = 8.0


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Start cell, job, engine. A snapshot of a dead attempt is taken over."""
    condition = Condition.model_validate(spec.payload["condition"])
    job = MdJob(
        start=_start_cell(spec, plan.exploration.md_atoms),
        elements=plan.material.elements,
        ensemble=condition.ensemble,
        temperature_k=condition.temperature_k,
        pressure_gpa=condition.pressure_gpa,
        timestep_fs=plan.exploration.timestep_fs,
        clean_ps=plan.exploration.clean_ps,
        max_ps=plan.exploration.max_ps,
        gamma_select=plan.exploration.gamma_select,
        gamma_break=plan.exploration.gamma_break,
        gamma_every=plan.exploration.gamma_every,
        max_candidates_per_potential=plan.exploration.max_candidates_per_potential,
        wait_s=plan.exploration.wait_s,
        seed=int(spec.payload["seed"]),
        pointer=layout.pointer_file(Path(spec.root)),
    )
    _take_over(spec, folder)
    result = registry.md_engine(plan.exploration.engine).run(job, folder)
    return Outcome(None, failure=result) if isinstance(result, Failure) else Outcome(result)


def _start_cell(spec: TaskSpec, md_atoms: int) -> Atoms:
    path = spec.input_folder(spec.task.needs[0]) / "start.json"
    starts = read_json(path)
    if not starts:
        raise CampaignStateError(f"{path} holds no start structure")
    return supercell(Candidate.from_json(starts[0]).atoms, md_atoms)


def _take_over(spec: TaskSpec, folder: Path) -> None:
    if spec.salvage is None or (folder / SNAPSHOT).exists():
        return
    earlier = Path(spec.root) / spec.salvage / SNAPSHOT
    if earlier.exists():
        shutil.copy2(earlier, folder / SNAPSHOT)


def conventional_cell(atoms: Atoms, symprec_a: float = 0.01) -> Atoms:
    """The standardised conventional cell (spglib); the structure itself when spglib finds no symmetry."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.standardize_cell(cell, to_primitive=False, no_idealize=False, symprec=symprec_a)
    if found is None:
        return Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    lattice, scaled, numbers = found
    return Atoms(numbers=numbers, scaled_positions=scaled, cell=lattice, pbc=True)


def supercell(atoms: Atoms, md_atoms: int) -> Atoms:
    """The repetition of the conventional cell nearest to ``md_atoms`` atoms and, among those, nearest to a cube.

    A structure that is not periodic everywhere is put into a box with 8 Å of vacuum along its free directions instead;
    a molecule, which may turn in any way, into a cube with 16 Å to spare beyond its largest distance.
    """
    if not atoms.pbc.any():
        cube = Atoms(atoms.symbols, positions=atoms.positions)
        cube.set_cell(np.eye(3) * (float(atoms.get_all_distances().max()) + 2 * VACUUM_A))
        cube.center()
        cube.pbc = True
        return cube
    if not atoms.pbc.all():
        boxed = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        for axis in np.flatnonzero(~atoms.pbc):
            boxed.center(vacuum=VACUUM_A, axis=int(axis))
        boxed.pbc = True
        return boxed
    unit = conventional_cell(atoms)
    heights = unit.cell.volume / np.linalg.norm(np.cross(unit.cell[[1, 2, 0]], unit.cell[[2, 0, 1]]), axis=1)

    def cost(repeats: tuple[int, ...]) -> float:
        sides = heights * np.array(repeats)
        # a factor 1.5 in shape weighs as much as one in size
        return float(abs(np.log(len(unit) * np.prod(repeats) / md_atoms)) + np.log(sides.max() / sides.min()))

    most = max(1, round(md_atoms / len(unit)))
    shapes = [n for n in itertools.product(range(1, min(most, 12) + 1), repeat=3) if np.prod(n) <= 2 * most]
    grown: Atoms = unit.repeat(min(shapes, key=cost))
    return grown
