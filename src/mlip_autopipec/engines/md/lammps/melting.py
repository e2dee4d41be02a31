"""Melts a start cell with the potential itself, and tells when what moves is a liquid.

A perfect crystal 15 % above its melting point stays a crystal for many picoseconds, so a liquid is
made well above it, cooled to its temperature, and counted only once its atoms have left their
places there.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.engines.ports import MdJob

__all__ = ["Displacements", "Melting"]

FloatArray = NDArray[np.float64]

# Root mean square displacement over the edge of the cube that holds one atom. In a superheated
# small crystal two moments differ by up to 0.35; liquid aluminium comes this far in half a
# picosecond.
LIQUID_RATIO = 0.6
HEATING_PS = 2.0  # at one temperature, until it is raised
SETTLING_PS = 5.0  # in which a liquid's atoms have left their places, else it is frozen
HOTTER = 1.2  # times the temperature that did not melt it
HOTTEST = 2.5  # times where heating began: then it does not melt
# After cooling, before displacements at the condition's own temperature count.
COOLING_PS = 0.5
# Times that a cell which froze is melted again before the potential is called solid there.
TRIES = 3


class Displacements:
    """How far atoms have come since a moment, periodic images and drift taken out."""

    def __init__(self) -> None:
        self._last: FloatArray | None = None
        self._moved = np.zeros((0, 3))

    def restart(self) -> None:
        self._last = None

    def add(self, atoms: Atoms) -> None:
        """A later moment, before any atom has come half a cell further."""
        places = atoms.get_scaled_positions(wrap=False)
        if self._last is None:
            self._moved = np.zeros(places.shape)
        else:
            step = places - self._last
            self._moved += (step - np.round(step)) @ atoms.cell.array
        self._last = places

    def ratio(self, atoms: Atoms) -> float:
        """Root mean square displacement over the edge of the cube that holds one atom."""
        if self._last is None:
            return 0.0
        moved = self._moved - self._moved.mean(axis=0)
        edge = (atoms.get_volume() / len(atoms)) ** (1 / 3)
        return float(np.sqrt((moved**2).sum(axis=1).mean()) / edge)


class Melting:
    """The way of a job to its liquid; ``liquid`` from the start where nothing is to be melted.

    ``ensemble`` and ``temperature_k``: at which it has to move now.
    """

    def __init__(self, job: MdJob) -> None:
        self._job = job
        self._displacements = Displacements()
        self.begin(0)

    def begin(self, step: int) -> None:
        """From a cell that may be a crystal."""
        self._tries = TRIES
        self._enter("liquid" if self._job.melt_k is None else "heating", step)
        self._heat_k = self._job.melt_k or 0.0

    def doubt(self, step: int) -> None:
        """Another potential is in force: what was liquid may freeze."""
        self._tries = TRIES
        if self.stage == "liquid" and self._job.melt_k is not None:
            self._enter("settling", step)

    @property
    def liquid(self) -> bool:
        return self.stage == "liquid"

    @property
    def ensemble(self) -> str:
        return "nvt" if self.stage == "heating" else self._job.ensemble

    @property
    def temperature_k(self) -> float:
        return self._heat_k if self.stage == "heating" else self._job.temperature_k

    def watch(self, step: int, atoms: Atoms) -> None:
        """Every few steps."""
        if self._job.melt_k is None:
            return
        if self.stage == "settling" and self._ps(step) < COOLING_PS:
            return
        self._displacements.add(atoms)

    def advance(self, step: int, atoms: Atoms) -> str | None:
        """Called between short runs of a job that melts; the reason why it is no liquid and will
        not be one, or None.
        """
        moved = self._displacements.ratio(atoms) > LIQUID_RATIO
        if self.stage == "heating":
            if moved and self._ps(step) >= HEATING_PS / 2:
                self._enter("settling", step)
            elif self._ps(step) >= HEATING_PS:
                self._heat_k *= HOTTER
                if self._heat_k > HOTTEST * (self._job.melt_k or 0.0):
                    return f"it does not melt at {self._heat_k / HOTTER:.0f} K"
                self._enter("heating", step)
        elif self.stage == "liquid":
            if self._ps(step) >= SETTLING_PS:
                if not moved:
                    return f"it froze at {self._job.temperature_k:.0f} K"
                self._enter("liquid", step)
        elif moved:
            self._enter("liquid", step)
        elif self._ps(step) >= COOLING_PS + SETTLING_PS:
            self._tries -= 1
            if self._tries <= 0:
                return f"it freezes at {self._job.temperature_k:.0f} K"
            self._enter("heating", step)
        return None

    def _enter(self, stage: Literal["heating", "settling", "liquid"], step: int) -> None:
        self.stage, self._since = stage, step
        self._displacements.restart()

    def _ps(self, step: int) -> float:
        return (step - self._since) * self._job.timestep_fs / 1000.0
