"""CHGNet as the surrogate: a pretrained universal potential whose weights come with its package.

Source: Deng et al., Nature Machine Intelligence 5, 1031 (2023); model 0.3.0, fitted to PBE(+U)
relaxations of the Materials Project. Its forces are known to be softer than PBE's: good for
proposing and screening, not for properties.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.engines.unknown_elements import (
    MATERIALS_PROJECT_ELEMENTS,
    refuse_unknown,
)

__all__ = ["Chgnet", "ChgnetCalculator"]

INSTALL = "pip install 'mlip-autopipec[chgnet]'"


class ChgnetCalculator(Calculator):
    """ASE calculator: ``energy`` and ``free_energy`` (eV), ``forces`` (n, 3) eV/Å, ``stress`` (6,)
    eV/Å³, Voigt.

    Stress is computed only when it is asked for (a third of the cost), which makes constant-volume
    MD cheaper. Raises InputError for an element CHGNet was not trained on, CalculationFailed for an
    atom without a neighbour within 6 Å (the model's graph would leave it out).
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  (ASE's declaration)

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        # "error": the default only warns and then gives an isolated atom no energy at all.
        self.model.graph_converter.set_isolated_atom_response("error")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        from pymatgen.core.structure import Structure

        properties = list(properties or self.implemented_properties)
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        refuse_unknown(self.atoms.get_chemical_symbols(), MATERIALS_PROJECT_ELEMENTS, "CHGNet")
        crystal = _as_periodic(self.atoms)
        structure = Structure(
            crystal.cell.array, crystal.numbers, crystal.get_scaled_positions(wrap=False)
        )
        try:
            graph = self.model.graph_converter(structure)
        except ValueError as error:
            if "isolated" not in str(error):
                raise
            raise CalculationFailed("CHGNet: an atom has no neighbour within 6 Å") from error
        with_stress = "stress" in properties
        predicted = self.model.predict_graph(graph, task="efs" if with_stress else "ef")
        per_structure = len(crystal) if self.model.is_intensive else 1
        energy = float(predicted["e"]) * per_structure
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": np.asarray(predicted["f"], dtype=float),
        }
        if with_stress:
            # The model gives GPa, positive under tension, as a 3x3 matrix.
            s = np.asarray(predicted["s"], dtype=float) * units.GPa
            s = 0.5 * (s + s.T)
            self.results["stress"] = np.array(
                [s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]]
            )


def _as_periodic(atoms: Atoms) -> Atoms:
    """The model knows periodic cells only: directions without periodicity get 15 Å of vacuum."""
    if atoms.pbc.all() and atoms.cell.rank == 3:
        return atoms
    boxed: Atoms = atoms.copy()
    boxed.calc = None
    boxed.center(vacuum=15.0, axis=[axis for axis in range(3) if not atoms.pbc[axis]])
    boxed.pbc = True
    return boxed


class Chgnet:
    """Surrogate port. The model is loaded once per object, on one thread."""

    def __init__(self) -> None:
        self._calculator: ChgnetCalculator | None = None

    def calculator(self) -> Calculator:
        """The calculator (4-5 s of CPU to load).

        Raises MissingProgramError when chgnet or torch is not installed.
        """
        if self._calculator is None:
            self._calculator = ChgnetCalculator(_load_model())
        return self._calculator

    def supports(self, symbols: Sequence[str]) -> bool:
        """Whether every element was in the training set."""
        return set(symbols) <= MATERIALS_PROJECT_ELEMENTS

    def require(self) -> None:
        """Raises MissingProgramError when chgnet or torch is not installed; loads neither."""
        for package in ("chgnet", "torch"):
            if importlib.util.find_spec(package) is None:
                raise _missing(package)


def _missing(package: str) -> MissingProgramError:
    return MissingProgramError(f"the Python package {package!r} (surrogate CHGNet)", INSTALL)


def _load_model() -> Any:
    try:
        import torch
        from chgnet.model.model import CHGNet
    except ModuleNotFoundError as error:
        raise _missing(str(error.name)) from error
    # Two workers that each start a thread per core slow each other down tenfold.
    torch.set_num_threads(1)
    warnings.filterwarnings(
        "ignore", message="Converting a tensor with requires_grad=True to a scalar"
    )
    return CHGNet.load(use_device="cpu", verbose=False)
