"""The seam: buffer atoms that meet strangers across the cutout's faces are relaxed until nothing
there is absurd.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from ase.optimize import FIRE

from mlip_autopipec.science.embedding.core import evaluate
from mlip_autopipec.science.embedding.model import IntArray

__all__ = ["Seam", "relax_seam"]

# A seam that needs more is not a seam but a reconstruction.
_MAX_STEPS = 60
# Small, since the potential extrapolates there.
_MAX_STEP_A = 0.05


@dataclass(frozen=True)
class Seam:
    """A cutout after its seam was looked at: largest buffer force before and after (eV/Å), steps,
    largest move (Å).
    """

    atoms: Atoms
    force_before_ev_per_a: float
    force_after_ev_per_a: float
    steps: int
    moved_a: float


def relax_seam(
    atoms: Atoms, fixed: IntArray, buffer: IntArray, calculator: Calculator, force_ev_per_a: float
) -> Seam:
    """Relax every atom outside ``fixed`` until no force on a ``buffer`` atom exceeds
    ``force_ev_per_a``.

    FIRE with small steps; the best configuration seen is kept, so a relaxation that makes things
    worse (an extrapolating potential) changes nothing.
    """
    start = atoms.copy()
    first = _largest(evaluate(start, calculator).forces, buffer)
    free = np.setdiff1d(np.arange(len(atoms)), fixed)
    if first <= force_ev_per_a or len(free) == 0:
        return Seam(start, first, first, 0, 0.0)
    work = atoms.copy()
    work.calc = calculator
    work.set_constraint(FixAtoms(indices=fixed))
    best, best_positions, steps = first, atoms.positions.copy(), 0
    with FIRE(work, logfile=None, maxstep=_MAX_STEP_A) as optimizer:
        for _ in optimizer.irun(fmax=1e-3, steps=_MAX_STEPS):
            forces = work.get_forces(apply_constraint=False)
            largest = _largest(forces, buffer)
            if not np.isfinite(forces).all():
                break
            steps = optimizer.nsteps
            if largest < best:
                best, best_positions = largest, work.positions.copy()
            if best <= force_ev_per_a or largest > 3 * first:
                break
    moved = np.linalg.norm(best_positions - atoms.positions, axis=1)
    start.positions = best_positions
    return Seam(start, first, best, steps, float(moved.max()))


def _largest(forces: np.ndarray, rows: IntArray) -> float:
    return float(np.linalg.norm(forces[rows], axis=1).max()) if len(rows) else 0.0
