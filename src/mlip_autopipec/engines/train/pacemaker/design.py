"""Rows of the linear fit: energy, forces and stress of a structure as linear functions of the
expansion coefficients.

Evaluated in this process, one structure at a time: python-ace's own worker processes may die
without its notice. Where an element has more functions than the alphabetically first one,
python-ace 0.4.0rc1 writes gradients of projections out of bounds; a linear fit therefore has
equally many for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.pacemaker.data import bare, reference_sum, subtracted
from mlip_autopipec.science.baseline import Zbl
from mlip_autopipec.science.dataset import core_mask

__all__ = [
    "ENERGY",
    "FORCE",
    "STRESS",
    "Design",
    "LinearBasis",
    "build_design",
    "functions_of",
]

ENERGY, FORCE, STRESS = 0, 1, 2
"""What a row of the design is about."""

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_STRAIN = 2e-3  # between the two cells of a central difference


def functions_of(basis: Any) -> list[Any]:
    """The functions of an ACEBBasisSet in the order of its coefficients: species by species, pairs
    first.
    """
    return [
        function
        for pairs, others in zip(basis.basis_rank1, basis.basis, strict=True)
        for function in (*pairs, *others)
    ]


class LinearBasis:
    """An ACEBBasisSet that gives the rows of a structure. ``columns``: number of functions;
    ``baseline``: what the labels are less before these functions are to describe them.
    """

    def __init__(self, basis: Any, baseline: Zbl | None = None) -> None:
        from pyace import ACEBEvaluator, ACECalculator

        self.basis, self.baseline = basis, baseline
        self._evaluator = ACEBEvaluator(basis)
        self._calculator = ACECalculator(self._evaluator)
        pairs = zip(basis.basis_rank1, basis.basis, strict=True)
        sizes = [len(first) + len(others) for first, others in pairs]
        self._first = np.concatenate([[0], np.cumsum(sizes)])
        self.columns = int(self._first[-1])

    def sums(self, atoms: Atoms) -> FloatArray:
        """(columns,) projections summed over the atoms: the energy row."""
        self._compute(atoms, gradients=False)
        return self._summed()

    def gradients(self, atoms: Atoms) -> tuple[FloatArray, FloatArray]:
        """The energy row (columns,) and the force rows (n_atoms, 3, columns), per Å."""
        self._compute(atoms, gradients=True)
        forces = np.array(self._calculator.forces_bfuncs)
        return self._summed(), forces.transpose(0, 2, 1)

    def stress(self, atoms: Atoms) -> FloatArray:
        """(6, columns) derivative of the energy row by strain: the rows of stress times volume, by
        central differences.
        """
        rows = np.zeros((6, self.columns))
        for number, (p, q) in enumerate(_VOIGT):
            for sign in (1.0, -1.0):
                strain = np.eye(3)
                strain[p, q] += sign * _STRAIN / 2
                strain[q, p] += sign * _STRAIN / 2
                strained = bare(atoms)
                strained.set_cell(strained.cell.array @ strain, scale_atoms=True)
                rows[number] += sign * self.sums(strained)
        # A diagonal element is strained by all of _STRAIN / 2 twice, a pair of shears by half each.
        return rows / (2 * _STRAIN)

    def _compute(self, atoms: Atoms, *, gradients: bool) -> None:
        from pyace.atomicenvironment import aseatoms_to_atomicenvironment

        self._environment = aseatoms_to_atomicenvironment(
            atoms,
            cutoff=self.basis.cutoffmax,
            elements_mapper_dict=self.basis.elements_to_index_map,
        )
        self._calculator.compute(
            self._environment, compute_projections=True, compute_b_grad=gradients
        )

    def _summed(self) -> FloatArray:
        total = np.zeros(self.columns)
        species = self._environment.species_type
        for kind, projections in zip(species, self._calculator.projections, strict=False):
            first = self._first[kind]
            total[first : first + len(projections)] += projections
        return total


@dataclass(frozen=True)
class Design:
    """All rows of a fit. ``matrix`` (n_rows, columns) and ``target`` (n_rows,): energy and stress
    times volume per atom (eV), forces of unmasked atoms (eV/Å), three rows per atom.

    ``structure``: which of ``items`` a row belongs to; ``kind``: ENERGY, FORCE or STRESS.
    """

    items: tuple[LabelledStructure, ...]
    matrix: FloatArray
    target: FloatArray
    structure: np.ndarray[Any, np.dtype[np.int64]]
    kind: np.ndarray[Any, np.dtype[np.int64]]


def build_design(
    basis: LinearBasis, items: Sequence[LabelledStructure], references: dict[str, float]
) -> tuple[Design, dict[str, str]]:
    """The rows of all structures, and name -> reason for those that python-ace refused.

    Raises RuntimeError when it refused all of them.
    """
    kept: list[LabelledStructure] = []
    matrices: list[FloatArray] = []
    targets: list[FloatArray] = []
    kinds: list[FloatArray] = []
    refused: dict[str, str] = {}
    for item in items:
        try:
            matrix, target, kind = _rows(basis, item, references)
        except Exception as error:  # python-ace raises what it likes
            refused[item.name] = " ".join(str(error).split()) or type(error).__name__
            continue
        if not (np.isfinite(matrix).all() and np.isfinite(target).all()):
            refused[item.name] = "projections or labels are not finite"
            continue
        kept.append(item)
        matrices.append(matrix)
        targets.append(target)
        kinds.append(kind)
    if not kept:
        raise RuntimeError(f"no structure could be used: {next(iter(refused.values()), 'none')}")
    sizes = [len(target) for target in targets]
    design = Design(
        items=tuple(kept),
        matrix=np.concatenate(matrices),
        target=np.concatenate(targets),
        structure=np.repeat(np.arange(len(kept)), sizes),
        kind=np.concatenate(kinds).astype(np.int64),
    )
    return design, refused


def _rows(
    basis: LinearBasis, item: LabelledStructure, references: dict[str, float]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    n_atoms, mask = len(item.atoms), core_mask(item)
    energy, forces = basis.gradients(item.atoms)
    matrices = [energy[None] / n_atoms, forces[mask].reshape(-1, basis.columns)]
    energy_ev, label_forces, stress = subtracted(item, basis.baseline)
    bound = energy_ev - reference_sum(item.atoms, references)
    targets = [np.array([bound / n_atoms]), label_forces[mask].ravel()]
    kinds = [ENERGY, FORCE]
    if item.core is None and stress is not None and item.atoms.pbc.all():
        matrices.append(basis.stress(item.atoms) / n_atoms)
        targets.append(stress * item.atoms.get_volume() / n_atoms)
        kinds.append(STRESS)
    kind = np.repeat(np.array(kinds, dtype=float), [len(target) for target in targets])
    return np.concatenate(matrices), np.concatenate(targets), kind
