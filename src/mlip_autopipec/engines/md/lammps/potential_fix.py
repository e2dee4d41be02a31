"""An evaluator of potentials hung into a LAMMPS instance through ``fix external pf/callback``.

``pair_style zero`` makes LAMMPS build the neighbour list; the callback hands positions of atoms and
ghosts to the evaluator and gives energy, forces and virial back. Every ``gamma_every`` steps the
extrapolation grade is computed too. One process only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.engines.md.lammps.evaluators import Evaluator, Forces

__all__ = ["PotentialFix"]

FloatArray = NDArray[np.float64]
SANE_FORCE_EV_PER_A = 200.0
"""Larger forces mean that atoms sit on each other: no thermal motion reaches them."""

_NEIGHBOUR_MASK = 0x1FFFFFFF  # LAMMPS keeps flags of bonded neighbours in the upper bits


class PotentialFix:
    """Registers the callback and keeps what it saw.

    ``on_gamma(step, gamma per atom in order of ids)`` is called at every grading; returning a text
    stops the run at once with that reason. ``halted`` holds the reason, ``step`` and ``gamma`` the
    last grading.
    """

    name = "potential"

    def __init__(
        self,
        lmp: Any,
        evaluator: Evaluator,
        gamma_every: int,
        on_gamma: Callable[[int, FloatArray], str | None] | None = None,
    ) -> None:
        self._lmp, self._every, self._on_gamma = lmp, gamma_every, on_gamma
        self.evaluator = evaluator
        self.halted: str | None = None
        self.error: BaseException | None = None
        self.gamma: FloatArray | None = None
        self.energy_ev = 0.0
        self._builds = -1
        lmp.command(f"fix {self.name} all external pf/callback 1 1")
        lmp.command(f"fix_modify {self.name} energy yes virial yes")
        lmp.fix_external_set_vector_length(self.name, 1)
        lmp.set_fix_external_callback(self.name, self._callback, None)

    def use(self, evaluator: Evaluator) -> None:
        """Exchange the potential; positions and velocities stay."""
        self.evaluator = evaluator
        self.reset()

    def reset(self) -> None:
        """To be called before each ``run``: its set-up builds a neighbour list that LAMMPS' counter
        does not show.
        """
        self._builds = -1
        self.halted = None

    def halt(self, reason: str) -> None:
        """Stop the run after this step."""
        if self.halted is None:
            self.halted = reason
        self._lmp.force_timeout()

    def _callback(
        self, _caller: object, step: int, count: int, tags: Any, _x: Any, forces: Any
    ) -> None:
        # LAMMPS swallows exceptions of a callback and runs on with the old forces: keep it and stop
        # the run.
        try:
            self._step(int(step), int(count), tags, forces)
        except BaseException as error:  # re-raised by Simulation.run
            self.error = error
            self.halt("error")

    def _step(self, step: int, count: int, tags: Any, out: Any) -> None:
        total = self._lmp.extract_setting("nall")
        positions = self._lmp.numpy.extract_atom("x", nelem=total, dim=3)
        builds = int(self._lmp.get_thermo("nbuild"))
        if builds != self._builds:
            self._take_neighbours(count, total)
            self._builds = builds
        if not np.isfinite(positions).all():
            out[:] = 0.0
            self.halt("positions are not numbers")
            return
        graded = step % self._every == 0
        result: Forces = self.evaluator.compute(positions, graded=graded)
        if not self._sane(result.forces):
            if not graded:  # where does it extrapolate? asked before the run ends
                result = self.evaluator.compute(positions, graded=True)
            self._hand_over_gamma(step, tags, result.gamma)
            self.halt("forces are beyond reason")
        elif graded:
            self._hand_over_gamma(step, tags, result.gamma)
        out[:] = np.nan_to_num(result.forces)
        self.energy_ev = result.energy_ev
        self._lmp.fix_external_set_energy_global(self.name, result.energy_ev)
        # an evaluator's virial is -sum(r_ij f_ij): opposite to LAMMPS
        self._lmp.fix_external_set_virial_global(self.name, (-result.virial).tolist())

    @staticmethod
    def _sane(forces: FloatArray) -> bool:
        largest = float(np.abs(forces).max()) if forces.size else 0.0
        return largest < SANE_FORCE_EV_PER_A  # False for NaN, too

    def _hand_over_gamma(self, step: int, tags: Any, gamma: FloatArray | None) -> None:
        if gamma is None:
            return
        by_id = np.empty_like(gamma)
        by_id[np.asarray(tags) - 1] = np.nan_to_num(gamma, nan=1e9, posinf=1e9)
        self.gamma = by_id
        self._lmp.fix_external_set_vector(self.name, 1, float(by_id.max()))
        reason = self._on_gamma(step, by_id) if self._on_gamma else None
        if reason:
            self.halt(reason)

    def _take_neighbours(self, count: int, total: int) -> None:
        lmp = self._lmp
        types = lmp.numpy.extract_atom("type", nelem=total, dim=1)
        tags = np.asarray(lmp.numpy.extract_atom("id", nelem=total, dim=1))
        local = np.empty(count + 1, dtype=np.int64)
        local[tags[:count]] = np.arange(count)
        neighbours: list[list[int]] = [[] for _ in range(count)]
        for index, found in lmp.numpy.get_neighlist(lmp.find_pair_neighlist("zero")):
            neighbours[index] = (found & _NEIGHBOUR_MASK).tolist()
        self.evaluator.set_neighbours(np.asarray(types) - 1, local[tags].tolist(), neighbours)
