"""Loose relaxation of what was built by hand: the first steps down the forces, or apart where atoms
overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.data import covalent_radii
from ase.filters import FrechetCellFilter
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS

from mlip_autopipec.science.contacts import BUILT_LIMIT
from mlip_autopipec.science.lattices import bare

__all__ = ["loosely_relaxed", "separated"]


def separated(atoms: Atoms, *, min_contact: float = BUILT_LIMIT + 0.02, sweeps: int = 25) -> Atoms:
    """Pairs nearer than ``min_contact`` sums of covalent radii moved apart along their bond, half
    each, until none is.

    Geometry alone, for an atom put where there is too little room; may stop early after ``sweeps``.
    """
    moved = bare(atoms)
    radii = covalent_radii[moved.numbers]
    for _ in range(sweeps):
        i, j, distance, vector = neighbor_list("ijdD", moved, cutoff=min_contact * radii)
        overlap = min_contact * (radii[i] + radii[j]) - distance
        if len(distance) == 0:
            break
        # Both (i, j) and (j, i) are listed: each moves its first atom by half the overlap and a
        # little more.
        step = vector / np.maximum(distance, 1e-3)[:, None] * (0.5 * overlap + 0.005)[:, None]
        np.add.at(moved.positions, i, -step)
    return moved


def loosely_relaxed(
    atoms: Atoms,
    calculator: Calculator | None,
    steps: int,
    *,
    volume: bool = False,
    max_force_ev_per_a: float = 0.1,
) -> Atoms:
    """A few steps of BFGS down the surrogate's forces, with ``volume`` also toward zero pressure at
    constant shape.

    Without a calculator, with ``steps`` <= 0, or when the surrogate fails, the structure as it was.
    """
    if calculator is None or steps <= 0:
        return atoms
    moving = bare(atoms)
    moving.calc = calculator
    target: Any = (
        FrechetCellFilter(moving, hydrostatic_strain=True)
        if volume and moving.pbc.all()
        else moving
    )
    try:
        BFGS(target, logfile=None, maxstep=0.1).run(fmax=max_force_ev_per_a, steps=steps)
    except CalculationFailed:
        return atoms
    return bare(moving) if np.isfinite(moving.positions).all() else atoms
