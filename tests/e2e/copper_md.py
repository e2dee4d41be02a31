"""Copper in LAMMPS, for the tests with real potentials."""

import json

import numpy as np
from ase.build import bulk

from mlip_autopipec.base.files import write_json
from mlip_autopipec.engines.md.lammps.evaluators.ace import AceEvaluator
from mlip_autopipec.engines.md.lammps.simulation import Dynamics, Simulation, maxwell_velocities
from mlip_autopipec.engines.ports import MdJob

__all__ = ["ase_calculator", "copper", "lines", "make_job", "point_at", "simulate"]


def ase_calculator(folder):
    from pyace import PyACECalculator

    calculator = PyACECalculator(str(folder / "potential.yaml"))
    calculator.set_active_set(str(folder / "potential.asi"))
    return calculator


def copper(repeat=(3, 3, 3), strain=0.0, a=3.61):
    return bulk("Cu", a=a * (1 + strain), cubic=True) * repeat


def simulate(
    atoms, folder, ensemble="nve", temperature_k=300.0, pressure_gpa=0.0, timestep_fs=2.0, **options
):
    velocities = maxwell_velocities(atoms, temperature_k, np.random.default_rng(4))
    dynamics = Dynamics(ensemble, temperature_k, pressure_gpa, timestep_fs, seed=5)
    return Simulation(
        atoms, velocities, ("Cu",), dynamics, AceEvaluator(folder, ("Cu",)), **options
    )


def make_job(folder, start, **changes):
    values = {
        "start": start,
        "elements": ("Cu",),
        "ensemble": "nvt",
        "temperature_k": 900.0,
        "pressure_gpa": 0.0,
        "timestep_fs": 2.0,
        "run_ps": 0.6,
        "equilibration_ps": 0.2,
        "sample_every_ps": 0.1,
        "gamma_break": 1e6,
        "gamma_every": 10,
        "wait_s": 0.0,
        "seed": 3,
        "pointer": folder / "current.json",
    }
    return MdJob(**{**values, **changes})


def lines(folder):
    return [json.loads(line) for line in (folder / "stream.jsonl").read_text().splitlines()]


def point_at(folder, name, potential):
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "current.json", {"name": name, "folder": str(potential), "trainer": "linear"}
    )
