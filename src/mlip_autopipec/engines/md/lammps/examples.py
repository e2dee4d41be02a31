"""Writes a finished potential as files that a user can run as they stand.

``in.lammps`` needs a LAMMPS with pair style ``pace`` (package ML-PACE, or the plugin of this
package) and nothing else; ``ase_example.py`` needs ASE and python-ace, and this
package where the potential has a baseline.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.io import write
from ase.io.lammpsdata import write_lammps_data

from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.science.baseline import BASELINE, Zbl

__all__ = ["export"]

_IN_LAMMPS = """\
# {formula}: 1 ps with a thermostat, then 1 ps without one to see that energy is conserved.
# Another temperature:  -var temperature 600
# Run:  lmp -in in.lammps        (LAMMPS with the package ML-PACE)
#       mlip-auto lammps -in in.lammps   (LAMMPS of this environment)
variable        temperature index {temperature:g}
units           metal
atom_style      atomic
boundary        p p p
box             tilt large
read_data       structure.data

{pair}
neighbor        1.0 bin
neigh_modify    every 1 delay 0 check yes

timestep        {timestep_ps:g}
thermo          100
thermo_style    custom step temp pe etotal press vol atoms
thermo_modify   lost error

velocity        all create ${{temperature}} 4711 mom yes rot no dist gaussian
fix             motion all nvt temp ${{temperature}} ${{temperature}} $(100*dt)
run             {steps}
unfix           motion

fix             motion all nve
run             0
variable        before equal $(etotal)
run             {steps}
variable        drift equal 1000*(etotal-v_before)/atoms/{picoseconds:g}
variable        left equal count(all)
print           "atoms: ${{left}} of {count}"
print           "energy drift: ${{drift}} meV/atom/ps"
if              "${{left}} != {count}" then "quit 1"
write_data      final.data nocoeff
"""

_ASE_EXAMPLE = '''\
"""The potential in ASE: energy, forces, stress, extrapolation grade and some femtoseconds of MD.

Run in this folder:  python ase_example.py
"""

from pathlib import Path

import numpy as np
from ase import units
from ase.io import read
from ase.md.verlet import VelocityVerlet
from pyace import PyACECalculator
{calculator_import}
atoms = read("structure.extxyz")
atoms.calc = {calculator}
guard = PyACECalculator("guard.yaml")  # a basis of no energy, which grades extrapolation
guard.set_active_set("potential.asi")

print(f"{{len(atoms)}} atoms of {formula}")
print(f"energy           {{atoms.get_potential_energy() / len(atoms):.6f}} eV/atom")
print(f"largest force    {{np.abs(atoms.get_forces()).max():.4f}} eV/Å")
print(f"pressure         {{-atoms.get_stress()[:3].mean() / units.GPa:.3f}} GPa")
guard.calculate(atoms)
gamma = guard.results["gamma"]
print(f"largest gamma    {{gamma.max():.2f}}  (above about 5 the potential extrapolates)")

spread = np.sqrt(units.kB * {temperature:g} * atoms.get_masses())[:, None]
atoms.set_momenta(spread * np.random.default_rng(1).normal(size=(len(atoms), 3)))
motion = VelocityVerlet(atoms, {timestep_fs:g} * units.fs)
motion.run(20)
guard.calculate(atoms)
gamma = guard.results["gamma"]
print(f"after 20 steps   {{atoms.get_temperature():.0f}} K, largest gamma {{gamma.max():.2f}}")
'''


def export(
    potential_folder: Path,
    start: Atoms,
    out: Path,
    temperature_k: float,
    elements: tuple[str, ...],
    timestep_fs: float = 1.0,
) -> tuple[Path, ...]:
    """Write potential, structure and the two examples into ``out``; returns the paths written.

    ``start``: the periodic cell the examples run (some 500 atoms); ``elements`` gives the order of
    atom types.
    """
    out.mkdir(parents=True, exist_ok=True)
    sources = {name: name for name in ("potential.yaml", "potential.asi", "potential.yace")}
    # In folders from before the guard the active set is of the potential's own basis.
    own = (potential_folder / "guard.yaml").exists()
    sources["guard.yaml"] = "guard.yaml" if own else "potential.yaml"
    if (potential_folder / BASELINE).exists():
        sources[BASELINE] = BASELINE
    paths = [out / name for name in sources]
    for path in paths:
        source = potential_folder / sources[path.name]
        if not (path.exists() and path.samefile(source)):
            shutil.copy2(source, path)
    bare = Atoms(
        start.symbols,
        scaled_positions=start.get_scaled_positions(wrap=True),
        cell=start.cell,
        pbc=True,
    )
    data, xyz = out / "structure.data", out / "structure.extxyz"
    write_lammps_data(
        data, bare, specorder=list(elements), masses=True, units="metal", atom_style="atomic"
    )
    write(xyz, bare, format="extxyz")
    steps = round(1000.0 / timestep_fs)
    values = {
        "formula": start.symbols.get_chemical_formula(empirical=True),
        **_potential(Zbl.load(potential_folder), elements),
        "temperature": temperature_k,
        "timestep_fs": timestep_fs,
        "timestep_ps": timestep_fs / 1000.0,
        "steps": steps,
        "picoseconds": steps * timestep_fs / 1000.0,
        "count": len(start),
    }
    script, example = out / "in.lammps", out / "ase_example.py"
    atomic_write(script, _IN_LAMMPS.format(**values))
    atomic_write(example, _ASE_EXAMPLE.format(**values))
    return (*paths, data, xyz, script, example)


def _potential(baseline: Zbl | None, elements: Sequence[str]) -> dict[str, str]:
    """How either program takes the potential: the fit and, where it has one, its baseline."""
    coefficients = f"potential.yace {' '.join(elements)}"
    lines = ["pair_style pace", f"pair_coeff * * {coefficients}"]
    found = {"calculator": 'PyACECalculator("potential.yaml")', "calculator_import": ""}
    if baseline is not None:
        lines = baseline.lammps_lines("pace", coefficients, elements)
        module = "mlip_autopipec.engines.train.pacemaker.potential"
        found["calculator"] = 'load_calculator(Path("."))  # the fit and its baseline'
        found["calculator_import"] = f"\nfrom {module} import load_calculator\n"
    words = (line.split(maxsplit=1) for line in lines)
    found["pair"] = "\n".join(f"{command:<15} {rest}" for command, rest in words)
    return found
