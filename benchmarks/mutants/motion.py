"""Faults of molecular dynamics."""

from __future__ import annotations

from benchmarks.mutants.mutant import Mutant

__all__ = ["MOTION"]

_MD = ("unit/engines/md",)

MOTION = (
    Mutant(
        "sign of the virial in MD",
        "engines/md/lammps/potential_fix.py",
        "(-result.virial)",
        "(result.virial)",
        _MD,
    ),
    Mutant(
        "the run is not made anew after a swap",
        "engines/md/lammps/engine.py",
        "        self._count_from_here()\n        self.melting.doubt(self.counters.step)",
        "        self.melting.doubt(self.counters.step)",
        _MD,
    ),
    Mutant(
        "frames of the equilibration are kept",
        "engines/md/lammps/engine.py",
        "step - self.counters.run_from - self._equilibration)",
        "step - self.counters.run_from)",
        _MD,
    ),
    Mutant(
        "a break does not end the run",
        "engines/md/lammps/engine.py",
        "        self._count_from_here()\n        self._stream_offending()",
        "        self._stream_offending()",
        _MD,
    ),
    Mutant(
        "displacements are not carried across the boundary",
        "engines/md/lammps/melting.py",
        "(step - np.round(step)) @",
        "step @",
        _MD,
    ),
    Mutant(
        "a superheated crystal counts as a liquid",
        "engines/md/lammps/melting.py",
        "LIQUID_RATIO = 0.6",
        "LIQUID_RATIO = 0.01",
        _MD,
    ),
    Mutant(
        "velocities in units of ASE",
        "engines/md/lammps/simulation.py",
        "_VELOCITY_TO_A_PER_PS = 1000.0 * units.fs",
        "_VELOCITY_TO_A_PER_PS = 1.0",
        _MD,
    ),
)
