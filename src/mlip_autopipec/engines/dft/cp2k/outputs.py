"""What a finished CP2K left behind -> Label, or the Failure that its files show.

Everything is in the printed output: the energy with 15 digits, forces with 12 (atomic units), the
stress in GPa. Three things were measured before this was written (CP2K 2023.1, silicon, 3000 K of
electronic temperature): ``ENERGY| Total FORCE_EVAL`` holds the entropic term and is the energy
whose slope the forces are, and the stress is printed positive under compression. A run whose SCF
cycle did not converge, or ended at the time limit, still prints energy and forces and ends with
exit code 0. On a finite grid forces do not add up to zero; the net force per atom is as large as
the error of the forces (carbon monoxide, 300 to 800 Ry: 7 to 61 meV/Å for errors of 5 to 49), so
that a large one is a failure, and a small one is shared out over the atoms.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.dft.checks import label_problem
from mlip_autopipec.engines.dft.cp2k.failures import classify, fail
from mlip_autopipec.engines.dft.cp2k.programs import BOHR_A, HARTREE_EV, OUTPUT

__all__ = ["GRID_FORCE_EV_PER_A", "Results", "parse_folder", "read_output"]

GRID_FORCE_EV_PER_A = 0.01
"""Largest net force per atom that is put down to the grid."""
#: Positions are printed to 1e-6 Å, cells to 1e-3 Å.
_POSITION_TOLERANCE_A, _CELL_TOLERANCE_A = 1e-4, 1e-3
#: Of the largest force: what is about to be refused as a geometry is not put down to the grid.
_GRID_SHARE = 0.01
_SIGNS = r"^ ENERGY\||SCF run|PROGRAM ENDED"
_GPA_PER_EV_A3 = 160.21766208
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

_NUMBER = r"([-+]?\d\S*|[-+]?NaN|[-+]?Infinity|\*+)"
_THREE = rf"{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}"
_ENERGY = re.compile(r"^ ENERGY\| Total FORCE_EVAL \( QS \) energy \S+:?\s+(\S+)", re.MULTILINE)
_CELL = re.compile(rf"^ CELL\| Vector [abc] \[angstrom\]:?\s+{_THREE}", re.MULTILINE)
_ATOM = re.compile(rf"^\s+\d+\s+\d+\s+([A-Z][a-z]?)\s+\d+\s+{_THREE}\s+\S+\s+\S+$", re.MULTILINE)
_FORCE = re.compile(rf"^\s+\d+\s+\d+\s+[A-Z][a-z]?\s+{_THREE}\s*$", re.MULTILINE)
_STRESS = re.compile(rf"^ STRESS\|\s+[xyz]\s+{_THREE}", re.MULTILINE)
_CONVERGED = re.compile(r"SCF run converged in\s+(\d+) steps")
_SPIN = re.compile(r"# Total charge and spin\s+\S+\s+\S+\s+\S+\s+(\S+)")
_WALL = re.compile(r"^ CP2K\s+\d+\s+\S+\s+\S+\s+\S+\s+\S+\s+(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Results:
    """Content of the output in eV and Å. ``energy_ev`` is E-TS; ``forces`` (n, 3); ``stress`` (6,),
    ASE's sign and order, None where none was printed; ``scf_steps`` None: not converged.
    """

    scf_steps: int | None
    energy_ev: float
    symbols: tuple[str, ...]
    positions: FloatArray
    cell: FloatArray
    forces: FloatArray
    stress: FloatArray | None
    total_magnetization: float
    wall_s: float


def parse_folder(folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
    """The label, when every sign of success is there; else what went wrong.

    Success: exit code 0 (or unseen), ``PROGRAM ENDED``, a converged SCF cycle, forces and stress
    there, the structure that was asked for (modulo lattice vectors), a net force that the grid
    explains, and what every label has to pass.
    """
    path = folder / OUTPUT
    text = path.read_text(errors="replace") if path.is_file() else ""
    ended = "PROGRAM ENDED AT" in text and "[ABORT]" not in text
    if exit_code not in (0, None) or not ended or not _CONVERGED.search(text):
        return classify(folder, exit_code)
    try:
        results = read_output(text)
    except ValueError as error:
        return fail("interrupted", f"the output cannot be read: {error}", folder, "PROGRAM ENDED")
    problem = _problem(results, job)
    if problem is not None:
        return fail(*problem, folder, _SIGNS)
    label = Label(
        energy_ev=results.energy_ev,
        forces=results.forces - results.forces.mean(axis=0),
        stress=results.stress,
        method_hash=job.method_hash,
        scf_steps=results.scf_steps or 0,
        wall_s=results.wall_s,
        total_magnetization=results.total_magnetization,
    )
    wrong = label_problem(label, job)
    return label if wrong is None else fail(wrong.kind, wrong.message, folder, _SIGNS)


def read_output(text: str) -> Results:
    """Numbers of one printed output. Raises ValueError when one is missing."""
    energy = _ENERGY.search(text)
    if energy is None:
        raise ValueError("no total energy")
    atoms = _ATOM.findall(_after(text, "ATOMIC COORDINATES IN ANGSTROM"))
    forces = _array(_FORCE.findall(_after(text, "ATOMIC FORCES in [a.u.]")))
    stress = _array(_STRESS.findall(_after(text, "Analytical stress tensor [GPa]"))[:3])
    steps, spin, wall = _CONVERGED.search(text), _SPIN.search(text), _WALL.search(text)
    return Results(
        scf_steps=None if steps is None else int(steps[1]),
        energy_ev=_number(energy[1]) * HARTREE_EV,
        symbols=tuple(row[0] for row in atoms),
        positions=_array([row[1:] for row in atoms]),
        cell=_array(_CELL.findall(text)[:3]),
        forces=forces * (HARTREE_EV / BOHR_A),
        stress=_voigt(stress) if stress.shape == (3, 3) else None,
        total_magnetization=_number(spin[1]) if spin else 0.0,
        wall_s=_number(wall[1]) if wall else 0.0,
    )


def _after(text: str, heading: str) -> str:
    """What stands below the last ``heading``; nothing without one."""
    return text.rpartition(heading)[2] if heading in text else ""


def _number(word: str) -> float:
    """A column that ran over is no number."""
    return math.nan if "*" in word else float(word)


def _array(rows: list[tuple[str, ...]]) -> FloatArray:
    return np.array([[_number(word) for word in row] for row in rows]).reshape(-1, 3)


def _voigt(printed_gpa: FloatArray) -> FloatArray:
    """ASE's stress, (6,) eV/Å³ and positive under tension, from CP2K's (3, 3) GPa, positive under
    compression.
    """
    tensor = -(printed_gpa + printed_gpa.T) / 2 / _GPA_PER_EV_A3
    return np.array([tensor[i, j] for i, j in _VOIGT])


def _problem(results: Results, job: LabelJob) -> tuple[str, str] | None:
    """The first of the sanity checks that fails, as kind and message."""
    if len(results.forces) != len(job.atoms) or (results.stress is None and all(job.atoms.pbc)):
        return "interrupted", "forces or stress are missing in the output"
    if not _same_structure(results, job):
        return "input", "the output is of another structure than the one asked for"
    net = float(np.linalg.norm(results.forces.mean(axis=0)))
    largest = float(np.linalg.norm(results.forces, axis=1).max())
    if net > max(GRID_FORCE_EV_PER_A, _GRID_SHARE * largest):
        return "grid_too_coarse", f"net force {net:.1e} eV/Å per atom"
    return None


def _same_structure(results: Results, job: LabelJob) -> bool:
    """Elements, cell and positions as asked for, positions modulo lattice vectors."""
    wanted = job.atoms
    if results.symbols != tuple(wanted.get_chemical_symbols()) or results.cell.shape != (3, 3):
        return False
    if np.abs(results.cell - wanted.cell.array).max() > _CELL_TOLERANCE_A:
        return False
    shift = np.linalg.solve(wanted.cell.array.T, (results.positions - wanted.positions).T).T
    residual = (shift - np.round(shift)) @ wanted.cell.array
    return math.sqrt(float((residual**2).sum(axis=1).max())) < _POSITION_TOLERANCE_A
