"""One running LAMMPS system: made from atoms and velocities, run in segments, read back as
frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.engines.md.lammps.evaluators import Evaluator, LeavesBaseline
from mlip_autopipec.engines.md.lammps.library import open_lammps
from mlip_autopipec.engines.md.lammps.potential_fix import PotentialFix
from mlip_autopipec.science.baseline import Zbl

__all__ = ["Dynamics", "Frame", "Simulation", "UnphysicalMotionError", "maxwell_velocities"]

FloatArray = NDArray[np.float64]

SKIN_A = 0.7
THERMOSTAT_PS = 0.1
BAROSTAT_PS = 1.0
BAR_PER_GPA = 1.0e4
_VELOCITY_TO_A_PER_PS = 1000.0 * units.fs  # ASE's velocity unit is Å/(Å sqrt(amu/eV))
_LOST = (
    "Lost atoms",
    "Non-numeric",
    "out of range atoms",
    "too far outside",
    "Too many neighbor bins",
    "negative box",
)


class UnphysicalMotionError(Exception):
    """The trajectory cannot go on: atoms lost, coordinates that are not numbers."""


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Ensemble nve, nvt (Langevin) or npt (Langevin with a barostat); seeds the thermostat.

    ``cell_motion`` of npt: iso (volume), aniso (the three axes) or tri (axes and angles).
    """

    ensemble: str
    temperature_k: float
    pressure_gpa: float
    timestep_fs: float
    seed: int
    cell_motion: str = "iso"


@dataclass(frozen=True, slots=True)
class Frame:
    """A moment: atoms wrapped into the cell, velocities (n, 3) Å/ps in the order of ids."""

    step: int
    atoms: Atoms
    velocities: FloatArray


def maxwell_velocities(atoms: Atoms, temperature_k: float, rng: np.random.Generator) -> FloatArray:
    """Maxwell-Boltzmann velocities (n, 3) in Å/ps without net momentum, scaled to exactly
    ``temperature_k``.
    """
    masses = atoms.get_masses()[:, None]
    velocities: FloatArray = rng.normal(size=(len(atoms), 3)) * np.sqrt(
        units.kB * temperature_k / masses
    )
    if len(atoms) == 1:
        return np.zeros((1, 3))
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    kinetic = 0.5 * float((masses * velocities**2).sum())
    wanted = 0.5 * (3 * len(atoms) - 3) * units.kB * temperature_k
    scaled: FloatArray = velocities * np.sqrt(wanted / kinetic) * _VELOCITY_TO_A_PER_PS
    return scaled


def _baseline(evaluator: Evaluator) -> Zbl | None:
    return evaluator.baseline if isinstance(evaluator, LeavesBaseline) else None


class Simulation:
    """A periodic system under one potential.

    ``elements`` fixes the atom types. ``on_gamma``: see :class:`PotentialFix`. ``first_step``
    continues a count of steps. The cell is turned into LAMMPS' lower triangular form, so frames
    come back in a rotated system of axes. Raises InputError for a structure that is not periodic in
    three directions.
    """

    def __init__(
        self,
        atoms: Atoms,
        velocities: FloatArray,
        elements: tuple[str, ...],
        dynamics: Dynamics,
        evaluator: Evaluator,
        *,
        gamma_every: int = 10,
        on_gamma: Callable[[int, FloatArray], str | None] | None = None,
        first_step: int = 0,
        log: Path | None = None,
    ) -> None:
        if not atoms.pbc.all():
            raise InputError("molecular dynamics needs a cell that is periodic in three directions")
        self.elements, self.dynamics = elements, dynamics
        self._symbols = atoms.get_chemical_symbols()
        self._masses = atomic_masses[atoms.numbers]
        self._lmp = open_lammps(log)
        self._create(atoms, velocities)
        self._pair(evaluator)
        self._lmp.command(f"reset_timestep {first_step}")
        self._lmp.command(f"timestep {dynamics.timestep_fs / 1000.0}")
        self.potential = PotentialFix(self._lmp, evaluator, gamma_every, on_gamma)
        self._integrate()
        self._lmp.command("thermo_style custom step temp pe etotal press vol")
        self._lmp.command("thermo_modify lost error")
        self._lmp.command("thermo 0")

    def _create(self, atoms: Atoms, velocities: FloatArray) -> None:
        cell, rotation = atoms.cell.standard_form()
        fractional = atoms.get_scaled_positions(wrap=True) % 1.0
        positions = fractional @ cell.array
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = (map(float, row) for row in cell.array)
        box = f"0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r}"
        for line in (
            "units metal",
            "atom_style atomic",
            "atom_modify map array",
            "boundary p p p",
            "newton on",
            "box tilt large",
            f"region cell prism {box} units box",
            f"create_box {len(self.elements)} cell",
            f"neighbor {SKIN_A} bin",
            "neigh_modify every 1 delay 0 check yes",
        ):
            self._lmp.command(line)
        for number, element in enumerate(self.elements, start=1):
            self._lmp.command(f"mass {number} {atomic_masses[atomic_numbers[element]]}")
        types = [self.elements.index(symbol) + 1 for symbol in self._symbols]
        made = self._lmp.create_atoms(
            len(atoms),
            list(range(1, len(atoms) + 1)),
            types,
            positions.ravel().tolist(),
            v=(velocities @ rotation.T).ravel().tolist(),
        )
        if made != len(atoms):
            raise RuntimeError(f"LAMMPS took {made} of {len(atoms)} atoms")

    def _pair(self, evaluator: Evaluator) -> None:
        """Neighbours for the evaluator, and the baseline that its potential leaves to LAMMPS."""
        style, baseline = f"zero {evaluator.cutoff_a} full", _baseline(evaluator)
        lines = [f"pair_style {style}", "pair_coeff * *"]
        if baseline is not None:
            lines = baseline.lammps_lines(style, "", self.elements)
        for line in lines:
            self._lmp.command(line)

    def _integrate(self) -> None:
        dynamics, lmp = self.dynamics, self._lmp
        temperature, pressure = dynamics.temperature_k, dynamics.pressure_gpa * BAR_PER_GPA
        if dynamics.ensemble == "npt":
            lmp.command(
                f"fix motion all nph {dynamics.cell_motion} {pressure} {pressure} {BAROSTAT_PS}"
                f" ptemp {temperature}"
            )
        elif dynamics.ensemble in ("nvt", "nve"):
            lmp.command("fix motion all nve")
        else:
            raise InputError(
                "unknown ensemble", key="ensemble", value=dynamics.ensemble, hint="nve, nvt or npt"
            )
        if dynamics.ensemble != "nve":
            seed = 1 + dynamics.seed % 900_000_000
            lmp.command(
                f"fix heat all langevin {temperature} {temperature} {THERMOSTAT_PS} {seed} zero yes"
            )

    def drive(self, dynamics: Dynamics) -> None:
        """Go on in another ensemble or at another temperature; positions and velocities stay."""
        if self.dynamics.ensemble != "nve":
            self._lmp.command("unfix heat")
        self._lmp.command("unfix motion")
        self.dynamics = dynamics
        self._integrate()

    @property
    def step(self) -> int:
        return int(self._lmp.extract_global("ntimestep"))

    def run(self, steps: int) -> None:
        """Run up to ``steps``; fewer when the fix halted (see ``potential.halted``).

        Raises UnphysicalMotionError when LAMMPS gives up on the trajectory, and whatever the
        callback raised.
        """
        self.potential.reset()
        self._lmp.command("timer timeout off")
        try:
            self._lmp.command(f"run {steps} post no")
        except Exception as error:
            if self.potential.error is None and any(sign in str(error) for sign in _LOST):
                raise UnphysicalMotionError(str(error).strip().splitlines()[0]) from error
            if self.potential.error is None:
                raise
        if self.potential.error is not None:
            raise self.potential.error

    def swap(self, evaluator: Evaluator) -> None:
        """Put another potential in place: same instance, positions, velocities and thermostat."""
        before = self.potential.evaluator
        apart = abs(evaluator.cutoff_a - before.cutoff_a) > 1e-9
        if apart or _baseline(evaluator) != _baseline(before):
            self._pair(evaluator)
        self.potential.use(evaluator)

    def thermo(self, keyword: str) -> float:
        """A thermodynamic keyword of LAMMPS (temp K, pe and etotal eV, press bar, vol Å³)."""
        return float(self._lmp.get_thermo(keyword))

    def temperature_k(self) -> float:
        """Kinetic temperature, computed here: asking LAMMPS inside a step would leave it a
        half-step value.
        """
        velocities = self.velocities_a_per_ps() / _VELOCITY_TO_A_PER_PS
        kinetic = 0.5 * float((self._masses[:, None] * velocities**2).sum())
        return 2.0 * kinetic / (max(1, 3 * len(velocities) - 3) * units.kB)

    def atoms(self) -> Atoms:
        """The atoms as they stand, in the order of ids. Usable inside the callback."""
        lmp = self._lmp
        positions = self._by_id("x")
        low, high, xy, yz, xz, _, _ = lmp.extract_box()
        lx, ly, lz = (high[i] - low[i] for i in range(3))
        cell = [[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]]
        atoms = Atoms(self._symbols, positions=positions - np.array(low), cell=cell, pbc=True)
        if np.isfinite(positions).all():
            atoms.wrap()
        return atoms

    def frame(self) -> Frame:
        """The present moment."""
        return Frame(self.step, self.atoms(), self.velocities_a_per_ps())

    def velocities_a_per_ps(self) -> FloatArray:
        """Velocities (n, 3) in Å/ps, in the order of ids."""
        return self._by_id("v")

    def forces(self) -> FloatArray:
        """Forces (n, 3) in eV/Å of the last step, in the order of ids."""
        return self._by_id("f")

    def _by_id(self, name: str) -> FloatArray:
        """A vector per atom, copied, in the order of ids."""
        count = self._lmp.extract_setting("nlocal")
        order = np.argsort(np.asarray(self._lmp.numpy.extract_atom("id", nelem=count, dim=1)))
        values: FloatArray = np.array(self._lmp.numpy.extract_atom(name, nelem=count, dim=3))[order]
        return values

    def close(self) -> None:
        self._lmp.close()
