"""Vacancies: one atom taken out of a supercell, relaxed loosely by the surrogate, then rattled."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.optimize import BFGS

from mlip_autopipec.science.generation.context import Context, bare, rattled, supercell
from mlip_autopipec.types import Candidate, Provenance

__all__ = ["vacancies"]


def vacancies(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 16,
    copies: int = 3,
    relax_steps: int = 15,
    sigma_min_a: float = 0.03,
    sigma_max_a: float = 0.15,
    **_: object,
) -> list[Candidate]:
    """Supercells of at most ``max_atoms`` atoms without one atom, ``copies`` rattled copies of each.

    The removed atom is drawn at random (species take turns by chance of their number). A relaxed vacancy with its
    copies is one group. Starts too large for the limit are left out.
    """
    made: list[Candidate] = []
    index = 0
    while context.starts and len(made) < count:
        start = context.starts[index % len(context.starts)]
        wanted = min(max_atoms, context.max_atoms)
        cell = supercell(start.atoms, wanted)
        if len(cell) < 4 or len(cell) > context.max_atoms:
            if index >= len(context.starts) and not made:
                break
            index += 1
            continue
        removed = int(rng.integers(len(cell)))
        hole = bare(cell)
        del hole[removed]
        hole = _loosely_relaxed(hole, context, relax_steps)
        for _copy in range(min(copies, count - len(made))):
            sigma = float(rng.uniform(sigma_min_a, sigma_max_a))
            parameters = {"rattle_a": round(sigma, 6), "atoms": len(hole), "removed": str(cell.symbols[removed])}
            provenance = Provenance(
                "vacancy", f"vacancy:{context.seed}:{index}", parameters, start.provenance.group, context.seed
            )
            made.append(Candidate(rattled(hole, sigma, rng), provenance))
        index += 1
    return made


def _loosely_relaxed(atoms: Atoms, context: Context, steps: int) -> Atoms:
    """A few steps down the surrogate's forces: the neighbours fall toward the hole (or away from it)."""
    if context.calculator is None or steps <= 0:
        return atoms
    moving = bare(atoms)
    moving.calc = context.calculator
    BFGS(moving, logfile=None, maxstep=0.1).run(fmax=0.1, steps=steps)
    return bare(moving)
