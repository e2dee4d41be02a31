"""What evaluates the potentials of each family inside LAMMPS: one file a family, one table.

A trainer names the family of its potentials. A family of this table, of an entry point in the group
``mlip_autopipec.lammps_evaluator``, or ``module:Class`` of an evaluator that a trainer brings in
its own folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.plugins import Plugins
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.potential_folder import fit_folder
from mlip_autopipec.science.baseline import Zbl

__all__ = ["EVALUATORS", "Evaluator", "Forces", "LeavesBaseline", "evaluator_of", "require"]

FloatArray = NDArray[np.float64]

EVALUATORS = Plugins(
    "evaluator for LAMMPS",
    "exploration.engine",
    "mlip_autopipec.lammps_evaluator",
    {"ace": "mlip_autopipec.engines.md.lammps.evaluators.ace:AceEvaluator"},
)


@dataclass(frozen=True, slots=True)
class Forces:
    """Energy (eV); forces (n, 3) in eV/Å; virial (6,) in eV, -sum(r_ij f_ij), in the order xx yy zz
    xy xz yz; gamma (n,), the extrapolation grade of each atom, where it was asked for.
    """

    energy_ev: float
    forces: FloatArray
    virial: FloatArray
    gamma: FloatArray | None


class Evaluator(Protocol):
    """A potential ready for LAMMPS' neighbour list; made as ``Class(folder, elements)``.

    ``cutoff_a``: neighbours out to here (Å).
    """

    cutoff_a: float

    def set_neighbours(self, types: Any, origins: list[int], neighbours: list[list[int]]) -> None:
        """``types`` (index into the elements) and ``origins`` of atoms and ghosts; neighbours of
        the atoms.
        """
        ...

    def compute(self, positions: Any, *, graded: bool) -> Forces:
        """Of ``positions`` (atoms then ghosts, 3) in Å; with gamma of each atom when ``graded``."""
        ...


@runtime_checkable
class LeavesBaseline(Protocol):
    """Capability of an evaluator whose potential was fitted to what a baseline leaves: LAMMPS adds
    it. ``baseline``: None where there is none.
    """

    baseline: Zbl | None


def require(family: str) -> None:
    """Raises InputError, with the families that can be run, when this one cannot."""
    if ":" not in family and family not in EVALUATORS.known():
        raise InputError(
            "LAMMPS cannot evaluate the potentials of this trainer",
            key=EVALUATORS.key,
            value=family,
            hint=f"known: {', '.join(sorted(EVALUATORS.known()))}, or module:Class of an evaluator",
        )
    EVALUATORS.find(family)


def evaluator_of(folder: Path, trainer: str, elements: Sequence[str]) -> Evaluator:
    """The potential in ``folder`` for LAMMPS, by the family of the trainer that made it."""
    family = registry.trainer(trainer).family
    require(family)
    return cast(Evaluator, EVALUATORS.find(family)(fit_folder(folder), elements))
