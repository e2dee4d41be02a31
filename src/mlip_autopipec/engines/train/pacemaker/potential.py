"""A finished ACE potential: core repulsion, export for LAMMPS, ASE calculator with total
energies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list

from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.pacemaker.active_set import Guard
from mlip_autopipec.engines.train.pacemaker.config import ASI, GUARD, YACE, YAML
from mlip_autopipec.science.baseline import Zbl
from mlip_autopipec.science.dataset import core_mask
from mlip_autopipec.science.lattices import fully_periodic

__all__ = [
    "add_core_repulsion",
    "core_radii",
    "load_calculator",
    "read_references",
    "save",
    "without_core_repulsion",
]

# The core begins where no bond of any chemistry lives, even if the data do not reach as far down: a
# ZBL wall at the shortest distance of a small set would bend the very bonds that exploration has
# still to learn.
CORE_FRACTION_OF_COVALENT = 0.75
CORE_WIDTH_A = 0.2
FAR_DENSITY = (100000.0, 250.0)  # where python-ace switches an expansion off by its size: never
REFERENCE_KEY = "reference_energy"


def core_radii(
    items: Sequence[LabelledStructure], elements: Sequence[str]
) -> dict[tuple[int, int], float]:
    """Radius (Å) below which each pair is pure ZBL repulsion; keys are indices into the sorted
    ``elements``, i <= j.

    The smaller of the shortest distance among learned atoms and 0.75 x the sum of covalent radii.
    """
    radii = {
        (i, j): CORE_FRACTION_OF_COVALENT
        * float(
            covalent_radii[atomic_numbers[elements[i]]]
            + covalent_radii[atomic_numbers[elements[j]]]
        )
        for i, j in combinations_with_replacement(range(len(elements)), 2)
    }
    index = {element: i for i, element in enumerate(elements)}
    reach = max(radii.values())
    for item in items:
        mask = core_mask(item)
        symbols = item.atoms.get_chemical_symbols()
        for i, j, distance in zip(*neighbor_list("ijd", item.atoms, reach), strict=True):
            if mask[i] or mask[j]:
                pair = (
                    min(index[symbols[i]], index[symbols[j]]),
                    max(index[symbols[i]], index[symbols[j]]),
                )
                radii[pair] = min(radii[pair], float(distance))
    return radii


def add_core_repulsion(
    configuration: Any, radii: dict[tuple[int, int], float], *, alone: bool = True
) -> None:
    """Put a Ziegler-Biersack-Littmark core (LAMMPS ``pair_style zbl``) below ``radii`` into a
    BBasisConfiguration.

    Between radius - 0.2 Å and radius the expansion is switched off and ZBL on; above, nothing
    changes. Not ``alone``: a baseline is the repulsion, and the expansion is only switched off.
    """
    from pyace.generalfit import setup_zbl_inner_core_repulsion

    setup_zbl_inner_core_repulsion(configuration, radii, dr_in=CORE_WIDTH_A)
    if not alone:
        for block in configuration.funcspecs_blocks:
            block.core_rep_parameters = (0.0, 0.0)
            block.inner_cutoff_type = "distance"
            if block.number_of_species == 1:
                block.rho_cut, block.drho_cut = FAR_DENSITY


def without_core_repulsion(path: Path) -> Any:
    """The BBasisConfiguration of a potential as it was fitted: no core, no metadata of the earlier
    fit.
    """
    from pyace import BBasisConfiguration

    configuration = BBasisConfiguration(str(path))
    for block in configuration.funcspecs_blocks:
        block.r_in, block.delta_in = 0.0, 0.0
        block.core_rep_parameters = (0.0, 0.0)
        block.inner_cutoff_type = "distance"
        if block.number_of_species == 1:
            block.rho_cut, block.drho_cut = FAR_DENSITY
    # pacemaker refuses to go on with a potential whose metadata say that its fit is finished.
    configuration.metadata = type(configuration.metadata)()
    return configuration


def save(configuration: Any, references: dict[str, float], folder: Path) -> None:
    """Write ``potential.yaml`` (reference energies in its metadata) and ``potential.yace`` (the
    same as E0).
    """
    from pyace import ACEBBasisSet

    configuration.metadata[REFERENCE_KEY] = json.dumps(references)
    configuration.save(str(folder / YAML))
    basis = ACEBBasisSet(str(folder / YAML))
    basis.to_ACECTildeBasisSet().save_yaml(str(folder / YACE))
    constants = ", ".join(repr(references[element]) for element in basis.elements_name)
    text, replaced = re.subn(r"(?m)^E0: \[.*\]$", f"E0: [{constants}]", (folder / YACE).read_text())
    if replaced != 1:
        raise RuntimeError(
            f"{YACE} has {replaced} lines E0: this version of python-ace writes another format"
        )
    atomic_write(folder / YACE, text)


def read_references(potential: Path) -> dict[str, float]:
    """Reference energies (eV per element) of a potential folder; zeros when the file came from
    elsewhere.
    """
    from pyace import BBasisConfiguration

    configuration = BBasisConfiguration(str(potential / YAML))
    text = dict(configuration.metadata).get(REFERENCE_KEY)
    if text is not None:
        return {element: float(value) for element, value in json.loads(text).items()}
    elements = {
        element for block in configuration.funcspecs_blocks for element in block.elements_vec
    }
    return dict.fromkeys(sorted(elements), 0.0)


def load_calculator(potential: Path, coefficients: FloatArray | None = None) -> Calculator:
    """ASE calculator of a folder: total energy, energies, forces, stress and ``results['gamma']``
    (n_atoms,).

    ``coefficients``: others in place of the potential's own (a resampled fit); it grades nothing
    then.
    """
    from pyace import ACEBBasisSet, PyACECalculator

    references, baseline = read_references(potential), Zbl.load(potential)

    class TotalEnergyAce(PyACECalculator):  # type: ignore[misc]
        """PyACECalculator with the reference energies put back, graded by the guard."""

        guard: Guard | None = None

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Any = ("energy",),
            system_changes: Any = all_changes,
        ) -> None:
            if atoms is not None:  # python-ace knows no others
                atoms = fully_periodic(atoms, float(self.basis.cutoffmax))
            super().calculate(atoms, properties, system_changes)
            shifts = np.array([references[symbol] for symbol in self.atoms.get_chemical_symbols()])
            self.results["energies"] = self.results["energies"] + shifts
            self.results["energy"] += float(shifts.sum())
            if baseline is not None:
                terms = baseline.terms(self.atoms)
                self.results["energies"] = self.results["energies"] + terms.energies
                self.results["energy"] += terms.energy_ev
                self.results["forces"] = self.results["forces"] + terms.forces
                if terms.stress is not None:
                    self.results["stress"] = self.results["stress"] + terms.stress
            self.results["free_energy"] = self.results["energy"]
            if self.guard is not None:
                self.results["gamma"] = self.guard.grades(self.ae)

    if coefficients is not None:
        basis = ACEBBasisSet(str(potential / YAML))
        basis.basis_coeffs = coefficients
        return TotalEnergyAce(basis)
    calculator = TotalEnergyAce(str(potential / YAML))
    if (potential / GUARD).is_file():
        calculator.guard = Guard(potential)
    else:  # folders from before the guard: the active set is of the potential's own basis
        calculator.set_active_set(str(potential / ASI))
    return calculator
