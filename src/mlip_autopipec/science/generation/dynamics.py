"""Short Langevin runs with the surrogate, as the MD strategies need them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.md.langevin import Langevin

from mlip_autopipec.science.lattices import bare

__all__ = ["Run", "steps_in", "timestep_fs"]

# Langevin: 50 fs, so that a short run reaches its temperature.
FRICTION_PER_FS = 0.02


def timestep_fs(atoms: Atoms) -> float:
    """2 fs; 1 fs with elements lighter than fluorine, 0.5 fs with hydrogen."""
    lightest = float(atoms.get_masses().min())
    if lightest < 3:
        return 0.5
    return 1.0 if lightest < 18 else 2.0


def steps_in(atoms: Atoms, time_ps: float) -> int:
    """Steps of :func:`timestep_fs` in that time, at least one."""
    return max(1, round(1000 * time_ps / timestep_fs(atoms)))


class Run:
    """Langevin dynamics at constant volume, in pieces of which each may have its own temperature.

    The friction (0.02 / fs) is strong on purpose: structures are wanted, not transport. The centre
    of mass drifts.
    ``alive`` becomes False when the surrogate fails, a number is not finite or the kinetic
    temperature exceeds five times the wanted one; the frames made before are good.
    """

    def __init__(
        self, start: Atoms, calculator: object, temperature_k: float, rng: np.random.Generator
    ) -> None:
        self.atoms = bare(start)
        self.atoms.calc = calculator
        self.rng = rng
        self.alive = True
        spread = np.sqrt(self.atoms.get_masses() * units.kB * temperature_k)
        self.atoms.set_momenta(rng.standard_normal((len(start), 3)) * spread[:, None])
        self._dynamics = Langevin(
            self.atoms,
            timestep_fs(start) * units.fs,
            temperature_K=temperature_k,
            friction=FRICTION_PER_FS / units.fs,
            rng=rng,
            fixcm=False,
        )

    def steps(self, count: int, temperature_k: float) -> bool:
        """Make ``count`` steps at ``temperature_k``; False when the run has died."""
        if not self.alive:
            return False
        self._dynamics.set_temperature(temperature_K=temperature_k)
        try:
            self._dynamics.run(count)
        except CalculationFailed:
            self.alive = False
            return False
        hot = self.atoms.get_temperature() > 5 * max(temperature_k, 300.0)
        self.alive = bool(np.isfinite(self.atoms.positions).all()) and not hot
        return self.alive

    def frames(
        self, count: int, every: int, temperature_k: float, told: Callable[[int], None]
    ) -> list[Atoms]:
        """``count`` frames, ``every`` steps apart, wrapped into the cell; ``told`` hears the steps
        made.
        """
        made: list[Atoms] = []
        for _ in range(count):
            if not self.steps(every, temperature_k):
                break
            frame = bare(self.atoms)
            frame.wrap()
            made.append(frame)
            told(every)
        return made
