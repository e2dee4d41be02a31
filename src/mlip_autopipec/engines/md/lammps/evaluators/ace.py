"""ACE potentials inside LAMMPS, by pyace: energy, forces and virial at every step.

The extrapolation grade is computed where it is asked for (Lysogorskiy et al., Phys. Rev. Materials
7, 043801, 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.engines.md.lammps.evaluators import Forces
from mlip_autopipec.science.baseline import Zbl

__all__ = ["AceEvaluator"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]


class AceEvaluator:
    """A potential folder (``potential.yaml``, ``guard.yaml``, ``potential.asi``) ready for
    evaluation.

    The recursive evaluator gives forces, the small guard basis gamma where it is asked for. Folders
    from before the guard have the active set of the potential's own basis. Raises InputError when a
    file or an element is not there.
    """

    def __init__(self, folder: Path, elements: Sequence[str]) -> None:
        try:
            from pyace.basis import ACEBBasisSet
            from pyace.calculator import ACECalculator
            from pyace.catomicenvironment import ACEAtomicEnvironment
            from pyace.evaluator import ACEBEvaluator, ACERecursiveEvaluator
        except ImportError as error:
            raise MissingProgramError(
                "python-ace", "pip install 'mlip-autopipec[pacemaker]'"
            ) from error
        for name in ("potential.yaml", "potential.asi"):
            if not (folder / name).exists():
                raise InputError("no such file in the potential's folder", file=folder / name)
        self.folder = folder
        self.baseline = Zbl.load(folder)
        self._basis = ACEBBasisSet(str(folder / "potential.yaml"))
        known = {
            str(name): int(index) for name, index in dict(self._basis.elements_to_index_map).items()
        }
        missing = sorted(set(elements) - set(known))
        if missing:
            raise InputError(
                "the potential does not know these elements", file=folder, value=missing
            )
        self.species: NDArray[np.int64] = np.array([known[name] for name in elements])
        self.cutoff_a = float(self._basis.cutoffmax)
        guard = folder / "guard.yaml"
        self._guard_basis = ACEBBasisSet(str(guard)) if guard.exists() else self._basis
        self._guard_evaluator = ACEBEvaluator(self._guard_basis)
        self._guard_evaluator.load_active_set(str(folder / "potential.asi"))
        self._guard = ACECalculator()
        self._guard.set_evaluator(self._guard_evaluator)
        self._plain_basis = self._basis.to_ACECTildeBasisSet()
        self._plain = ACERecursiveEvaluator(self._plain_basis)
        self._calculator = ACECalculator()
        self._calculator.set_evaluator(self._plain)
        self._new_environment = ACEAtomicEnvironment
        self._environment = ACEAtomicEnvironment()

    def set_neighbours(
        self, types: IntArray, origins: list[int], neighbours: list[list[int]]
    ) -> None:
        """``types`` (index into the elements) and ``origins`` of atoms and ghosts; neighbours of
        the atoms.
        """
        # A new object each time: the setters of one with another number of ghosts free the wrong
        # rows and crash.
        self._environment = self._new_environment()
        self._environment.species_type = self.species[types].tolist()
        self._environment.origins = list(origins)
        self._environment.neighbour_list = neighbours

    def compute(self, positions: FloatArray, *, graded: bool) -> Forces:
        """``positions`` (atoms then ghosts, 3) in Å; gamma per atom when ``graded``."""
        self._environment.x = positions.tolist()
        self._calculator.compute(self._environment)
        if graded:
            self._guard.compute(self._environment, compute_projections=True)
        return Forces(
            energy_ev=float(self._calculator.energy),
            forces=np.array(self._calculator.forces),
            virial=np.array(self._calculator.virial),
            gamma=np.array(self._guard.gamma_grade) if graded else None,
        )
