"""Writes a finished potential as files that a user can run as they stand.

``in.lammps`` needs a LAMMPS with pair style ``pace`` (package ML-PACE, or the plugin of this
package) and nothing else; ``ase_example.py`` needs ASE, python-ace and this package.

Whatever lies at the top of the folder gives whole energies, those of DFT: ``potential.yace`` has
the energies of the isolated atoms inside. The files in ``fit/`` are parts: ``potential.yaml`` lacks
those, ``guard.yaml`` has no energy at all, and a fit with a baseline lacks its repulsion.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.io import write
from ase.io.lammpsdata import write_lammps_data

from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.engines.ports import MdExample
from mlip_autopipec.engines.potential_folder import FIT
from mlip_autopipec.science.baseline import Zbl

__all__ = ["export"]

# Steps between two grades, and every number of steps here is a multiple of it: LAMMPS shows a grade
# only at steps at which it has one.
GRADE_EVERY = 10
# Elements of one potential differ by more (Co and Ni by 0.24 u), tables of masses by less.
MASS_TOLERANCE_U = 0.1
# Of `units metal`, before any `timestep`: tells the unit style of a running input.
METAL_DEFAULT_STEP_PS = 0.001

_IN_LAMMPS = """\
# {formula}: 1 ps with a thermostat, then 1 ps without one to see that energy is conserved.
# Run:  mlip-auto lammps -in in.lammps     (LAMMPS of this environment)
#       lmp -in in.lammps                  (LAMMPS with the package ML-PACE)
#       mpiexec -n 2 lmp -in in.lammps
# Another temperature:  -var temperature 600
# Files of another folder:  -var here FOLDER
# A LAMMPS without pair style pace/extrapolation, which grades extrapolation:  -var grades no
# Energies are those of DFT, the isolated atoms' included. Element of each atom type: by its mass.
variable        temperature index {temperature:g}
variable        grades index {grades}
variable        given equal $(is_defined(variable,here))
variable        here index .
variable        found equal is_file(${{here}}/structure.data)
{home}if "${{found}} == 0" then &
                "print 'ERROR: no structure.data here: give its folder by -var here FOLDER'" &
                "quit 1"

units           metal
atom_style      atomic
boundary        p p p
box             tilt large
read_data       ${{here}}/structure.data
if "$(dt) != {default_step!r}" then &
                "print 'ERROR: this potential needs units metal (eV, Angstrom)'" "quit 1"

{types}
{order}variable        grader string ""
variable        shown string "step temp pe etotal press vol atoms"
if "${{grades}} == yes" then "variable grader string pace/extrapolation" &
                "variable shown string 'step temp pe etotal press vol atoms c_gamma'"
{pair}
if "${{grades}} == yes" then &
                "{grade}" &
                "fix grade all pair {every} pace/extrapolation gamma 1" &
                "compute gamma all reduce max f_grade" &
                "print 'c_gamma: largest extrapolation grade; above {gamma:g} an atom is unknown'"
neighbor        1.0 bin
neigh_modify    every 1 delay 0 check yes

timestep        {timestep_ps:g}
thermo          100
thermo_style    custom ${{shown}}
thermo_modify   lost error format 3 %.6f format 4 %.6f
variable        count equal $(count(all))

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
print           "atoms: ${{left}} of ${{count}}"
print           "energy drift: ${{drift}} meV/atom/ps"
if              "${{left}} != ${{count}}" then "quit 1"
write_data      final.data nocoeff
"""

# A result folder that lies where it was made is found from anywhere.
_HOME = """\
if "${{given}} == 0 && ${{found}} == 0" then "variable here delete" &
                "variable here string {home}"
variable        found equal is_file(${{here}}/structure.data)
"""

_TYPE = """\
variable        element{type} string ""
if "$(extract_setting(ntypes)) >= {type}" then &
                "group one type {type}" &
                "variable mass equal $(mass(one)/(count(one)+(count(one)==0)))" &
                "variable element{type} string NULL" &
                "if '$(count(one)) == 0' then 'variable element{type} string {first}'" &
{cases}
                "group one delete"
"""

# Whose repulsion is a list of pairs of types.
_ORDER = """\
if "{wrong}" then &
                "print 'ERROR: atom types of this potential have to be: {elements}'" "quit 1"
"""

_ASE_EXAMPLE = '''\
"""The potential in ASE: energy, forces, stress, extrapolation grade and some femtoseconds of MD.

Run it from anywhere:  python ase_example.py
"""

from pathlib import Path

import numpy as np
from ase import units
from ase.io import read
from ase.md.verlet import VelocityVerlet
from potential import calculator

atoms = read(Path(__file__).parent / "structure.extxyz")
atoms.calc = calculator()

print(f"{{len(atoms)}} atoms of {formula}")
print(f"energy           {{atoms.get_potential_energy() / len(atoms):.6f}} eV/atom")
print(f"largest force    {{np.abs(atoms.get_forces()).max():.4f}} eV/Å")
print(f"pressure         {{-atoms.get_stress()[:3].mean() / units.GPa:.3f}} GPa")
gamma = atoms.calc.results["gamma"]  # extrapolation grade of each atom
print(f"largest gamma    {{gamma.max():.2f}}  (above {gamma:g} an atom is unknown)")

spread = np.sqrt(units.kB * {temperature:g} * atoms.get_masses())[:, None]
atoms.set_momenta(spread * np.random.default_rng(1).normal(size=(len(atoms), 3)))
motion = VelocityVerlet(atoms, {timestep_fs:g} * units.fs)
motion.run(20)
gamma = atoms.calc.results["gamma"]
print(f"after 20 steps   {{atoms.get_temperature():.0f}} K, largest gamma {{gamma.max():.2f}}")
'''


def export(asked: MdExample) -> None:
    """Write structure and examples into ``asked.out``, and the potential where it is whole."""
    out, start, elements = asked.out, asked.start, asked.elements
    out.mkdir(parents=True, exist_ok=True)
    bare = Atoms(
        start.symbols,
        scaled_positions=start.get_scaled_positions(wrap=True),
        cell=start.cell,
        pbc=True,
    )
    write_lammps_data(
        out / "structure.data",
        bare,
        specorder=list(elements),
        masses=True,
        units="metal",
        atom_style="atomic",
    )
    write(out / "structure.extxyz", bare, format="extxyz")
    baseline = Zbl.load(asked.potential)
    place = f"{FIT}/potential.yace"
    if baseline is None:  # else it gives whole energies only together with its repulsion
        place = "potential.yace"
        shutil.copyfile(asked.potential / place, out / place)
    steps = GRADE_EVERY * round(1000.0 / asked.timestep_fs / GRADE_EVERY)
    values = {
        "formula": start.symbols.get_chemical_formula(empirical=True),
        "temperature": asked.temperature_k,
        "timestep_fs": asked.timestep_fs,
        "timestep_ps": asked.timestep_fs / 1000.0,
        "steps": steps,
        "picoseconds": steps * asked.timestep_fs / 1000.0,
        "gamma": asked.gamma_select,
    }
    home = str(asked.home.resolve())
    plain = not any(sign.isspace() or sign in "\"'$&" for sign in home)  # LAMMPS quotes no path
    script = _IN_LAMMPS.format(
        **values,
        home=_HOME.format(home=home) if plain else "",
        default_step=METAL_DEFAULT_STEP_PS,
        types=_types(elements),
        order="" if baseline is None else _order(elements),
        pair=_pair(baseline, place, elements),
        # Folders from before the guard have nothing that grades and has no energy.
        grades="yes" if (asked.potential / "guard.yaml").is_file() else "no",
        grade=_grade(elements),
        every=GRADE_EVERY,
    )
    atomic_write(out / "in.lammps", script)
    atomic_write(out / "ase_example.py", _ASE_EXAMPLE.format(**values))


def _names(elements: Sequence[str]) -> str:
    """The element of each atom type as words of ``pair_coeff``."""
    return " ".join(f"${{element{number}}}" for number in range(1, len(elements) + 1))


def _types(elements: Sequence[str]) -> str:
    """Lines that find the element of each atom type by its mass: another ``structure.data`` may
    count the types in another order.
    """
    found = []
    for number in range(1, len(elements) + 1):
        cases = "\n".join(
            f"                \"if '$(abs(v_mass-{atomic_masses[atomic_numbers[name]]:g})) <"
            f" {MASS_TOLERANCE_U:g}' then 'variable element{number} string {name}'\" &"
            for name in elements
        )
        found.append(_TYPE.format(type=number, first=elements[0], cases=cases).rstrip())
    return "\n".join(found)


def _order(elements: Sequence[str]) -> str:
    """Lines that refuse types in another order."""
    wrong = " || ".join(
        f"${{element{number}}} != {name}" for number, name in enumerate(elements, start=1)
    )
    return _ORDER.format(elements=" ".join(elements), wrong=wrong)


def _grade(elements: Sequence[str]) -> str:
    files = f"${{here}}/{FIT}/guard.yaml ${{here}}/{FIT}/potential.asi"
    return f"pair_coeff * * pace/extrapolation {files} {_names(elements)}"


def _pair(baseline: Zbl | None, place: str, elements: Sequence[str]) -> str:
    """The potential of LAMMPS: the fit, its baseline where it has one, and the grades."""
    coefficients = f"${{here}}/{place} {_names(elements)}"
    lines = ["pair_style hybrid/overlay pace ${grader}", f"pair_coeff * * pace {coefficients}"]
    if baseline is not None:
        style, *lines = baseline.lammps_lines("pace", coefficients, elements)
        lines.insert(0, f"{style} ${{grader}}")
    words = (line.split(maxsplit=1) for line in lines)
    return "\n".join(f"{command:<15} {rest}" for command, rest in words)
