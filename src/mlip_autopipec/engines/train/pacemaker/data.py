"""Labelled structures -> rows of a fit: reference energies, weights and force masks.

Only numpy and ASE here; pandas and pyace come in where the rows are handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.engines.train.pacemaker.weights import heights, structure_weights
from mlip_autopipec.science.baseline import Zbl
from mlip_autopipec.science.dataset import core_mask

__all__ = [
    "FitRows",
    "bare",
    "counts",
    "fit_rows",
    "fittable_functions",
    "guard_functions",
    "is_free_atom",
    "reference_energies",
    "reference_sum",
    "subtracted",
    "to_dataframe",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Where nothing is cross-validated, a structure this far (eV/atom) above the hull of its composition
# counts half. Silicon by pacemaker, calm kinds held out: 5.6 meV/atom and 85 meV/Å with 1 eV, 4.0
# and 76 with 0.1.
HALF_WEIGHT_EV_PER_ATOM = 0.3

MOST_GUARD_FUNCTIONS = 60
ENVIRONMENTS_PER_FUNCTION = 3


@dataclass(frozen=True)
class FitRows:
    """What a fit sees. ``energies_ev``: total energy minus reference energies and
    baseline; weights sum to 1 over the set.

    ``force_weights``: one array (n_atoms,) per structure, zero on buffer atoms.
    """

    names: list[str]
    atoms: list[Atoms]
    energies_ev: list[float]
    forces: list[FloatArray]
    energy_weights: FloatArray
    force_weights: list[FloatArray]


def counts(atoms: Atoms, elements: Sequence[str]) -> FloatArray:
    """(n_elements,) number of atoms of each element, in the order given."""
    symbols = atoms.get_chemical_symbols()
    return np.array([symbols.count(element) for element in elements], dtype=float)


def reference_energies(
    items: Sequence[LabelledStructure], elements: Sequence[str], cutoff_a: float
) -> dict[str, float]:
    """Energy per element (eV) that is subtracted before the fit and given back by the finished
    potential.

    In this order: isolated-atom energies carried by the labels; labelled single atoms without a
    neighbour within ``cutoff_a``; otherwise the least-squares share of the element in the total
    energies of whole cells (then the zero of the fit is the mean of the data, and the energy of a
    free atom means nothing).
    """
    known = [item for item in items if item.label.energy_reference_ev is not None]
    if known:
        rows = np.array([counts(item.atoms, elements) for item in known])
        if np.linalg.matrix_rank(rows) == len(elements):
            sums = np.array([item.label.energy_reference_ev for item in known])
            return _solve(rows, sums, elements)
    free = {
        item.atoms.get_chemical_symbols()[0]: float(item.label.energy_ev)
        for item in items
        if is_free_atom(item, cutoff_a)
    }
    others = [element for element in elements if element not in free]
    if not others:
        return {element: free[element] for element in elements}
    bound = [item for item in items if not is_free_atom(item, cutoff_a)]
    whole = [item for item in bound if item.core is None] or bound
    rows = np.array([counts(item.atoms, others) for item in whole])
    sizes = np.array([len(item.atoms) for item in whole])
    known_ev = [
        sum(free.get(symbol, 0.0) for symbol in item.atoms.get_chemical_symbols()) for item in whole
    ]
    sums = np.array([item.label.energy_ev for item in whole]) - known_ev
    return {**free, **_solve(rows / sizes[:, None], sums / sizes, others)}


def _solve(rows: FloatArray, sums: FloatArray, elements: Sequence[str]) -> dict[str, float]:
    solution = np.linalg.lstsq(rows, sums, rcond=None)[0]
    return {element: float(value) for element, value in zip(elements, solution, strict=True)}


def is_free_atom(item: LabelledStructure, cutoff_a: float) -> bool:
    """Whether it is one atom without a neighbour within ``cutoff_a`` Å."""
    if len(item.atoms) != 1:
        return False
    periodic = item.atoms.cell.lengths()[item.atoms.pbc]
    return bool((periodic > cutoff_a).all())


def reference_sum(atoms: Atoms, references: dict[str, float]) -> float:
    """Sum of the reference energies (eV) over the atoms of a structure."""
    return float(sum(references[symbol] for symbol in atoms.get_chemical_symbols()))


def fittable_functions(
    items: Sequence[LabelledStructure], elements: Sequence[str], asked: int
) -> dict[str, int]:
    """Basis functions of each element in a non-linear fit: as asked, but at most 2/3 of its
    learnable atoms.
    """
    atoms = _environments(items, elements)
    return {element: max(4, min(asked, 2 * number // 3)) for element, number in atoms.items()}


def guard_functions(
    items: Sequence[LabelledStructure], elements: Sequence[str], asked: int
) -> dict[str, int]:
    """Functions of each element by which extrapolation is graded: few, and at least three
    environments for each.

    The active set is a square matrix of one environment per function: with hardly more
    environments than functions it holds every one of them, noise included.
    """
    most = min(asked, MOST_GUARD_FUNCTIONS)
    atoms = _environments(items, elements)
    return {
        element: max(4, min(most, number // ENVIRONMENTS_PER_FUNCTION))
        for element, number in atoms.items()
    }


def _environments(items: Sequence[LabelledStructure], elements: Sequence[str]) -> dict[str, int]:
    """Learnable atoms of each element."""
    atoms = dict.fromkeys(elements, 0)
    for item in items:
        for number, learn in zip(item.atoms.get_chemical_symbols(), core_mask(item), strict=True):
            atoms[number] += int(learn)
    return atoms


def subtracted(
    item: LabelledStructure, baseline: Zbl | None
) -> tuple[float, FloatArray, FloatArray | None]:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) that are left of a label for the fit."""
    if baseline is None:
        return item.label.energy_ev, np.asarray(item.label.forces, dtype=float), item.label.stress
    return baseline.taken_from(item.label, item.atoms)


def fit_rows(
    items: Sequence[LabelledStructure],
    references: dict[str, float],
    masked_energy_weight: float,
    baseline: Zbl | None = None,
) -> FitRows:
    """Targets and weights of a fit.

    A structure at dE above the hull of its composition weighs 1 / (1 + (dE / 0.3 eV)^2), in energy
    and forces: what is rattled and strained counts nearly in full, atoms pressed together hardly.
    The energy of a masked cell weighs ``masked_energy_weight`` of that, its buffer atoms nothing.
    Energy weights sum to 1, force weights too, as pacemaker wants them. Raises ValueError when no
    energy has weight.
    """
    energies = [item.label.energy_ev - reference_sum(item.atoms, references) for item in items]
    left = [subtracted(item, baseline) for item in items]
    elements = sorted(references)
    above = heights(np.array([counts(item.atoms, elements) for item in items]), energies)
    scale = structure_weights(above, HALF_WEIGHT_EV_PER_ATOM)
    whole = np.array([1.0 if item.core is None else masked_energy_weight for item in items])
    force_weights = [core_mask(item) * factor for item, factor in zip(items, scale, strict=True)]
    force_total = sum(float(row.sum()) for row in force_weights)
    return FitRows(
        names=[item.name for item in items],
        atoms=[bare(item.atoms) for item in items],
        energies_ev=[
            energy - reference_sum(item.atoms, references)
            for item, (energy, _, _) in zip(items, left, strict=True)
        ],
        forces=[forces for _, forces, _ in left],
        energy_weights=_normalised(scale * whole),
        force_weights=[row / force_total for row in force_weights],
    )


def _normalised(weights: FloatArray) -> FloatArray:
    total = weights.sum()
    if not total > 0:
        raise ValueError(
            "every structure is masked: label at least one whole cell, so that energies can be"
            " learned"
        )
    return np.asarray(weights / total)


def bare(atoms: Atoms) -> Atoms:
    """Positions, cell and species alone: no calculator, no magnetic moments."""
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def to_dataframe(rows: FitRows) -> Any:
    """The pandas table that pacemaker and LinearACEDataset read (both weight columns must be
    there).
    """
    import pandas

    return pandas.DataFrame(
        {
            "name": rows.names,
            "ase_atoms": rows.atoms,
            "energy_corrected": rows.energies_ev,
            "forces": rows.forces,
            "w_energy": rows.energy_weights,
            "w_forces": rows.force_weights,
        }
    )
