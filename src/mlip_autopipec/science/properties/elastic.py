"""Elastic constants of the ground state, from the stresses of strained primitive cells.

The stress of a cell is linear in a small strain (Hooke), sigma = sigma_0 + C e in Voigt's notation
(order xx yy zz yz xz xy, shear strains twice the tensor's), so that C follows by least squares from
a few strains of both signs: even terms cancel, and the stress sigma_0 of the start does not matter.
Of the 21 constants symmetry leaves a few independent (J. F. Nye, Physical Properties of Crystals,
1957, ch. 8; C11, C12 and C44 for a cubic crystal), and only as many strains are calculated as they
need. The first two tell DFT's own volume as well (their pressures are those of two volumes): where
the surrogate's is off, all are calculated anew around DFT's. Axes are those of the conventional
standard cell. Ions keep their fractional coordinates
(clamped ions) for DFT and potential alike, so that their difference is the potential's error alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import GPa
from numpy.typing import NDArray

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.section import Positive
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.lattices import SYMPREC_A
from mlip_autopipec.science.properties.port import (
    Chart,
    Comparison,
    Found,
    Known,
    Line,
    PropertyValue,
    Question,
    Shown,
    Subject,
    evaluated,
)
from mlip_autopipec.science.properties.window import (
    UnderPressure,
    pressure_gpa_of,
    smallest_cell,
    volume_at_pressure,
    volume_per_atom,
)

__all__ = ["ElasticConstants", "Stiffness", "deformed", "rotated", "stiffness_of"]

FloatArray = NDArray[np.float64]

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
ENTRIES = tuple(itertools.combinations_with_replacement(range(6), 2))
"""Places (row, column) of the 21 constants in the 6 x 6 matrix: C11, C12 ... C16, C22 ... C66."""
UNSTABLE = "By the potential the crystal is not stable under strain."
#: A constant below this share of the largest one is judged by that share, else by itself: what
#: symmetry nearly forbids would be judged by its noise.
SMALL = 0.2
#: Of the volume: a start that is off by less serves. The constants change by some four times that,
#: those of DFT and potential alike.
SAME_VOLUME = 0.01
#: Parameter of what was calculated around DFT's volume: how far that is from the start's.
OFF = "volumetric_strain"


class ElasticConstants(UnderPressure):
    """The property at ``pressure_gpa``. ``strain``: of each deformation, both signs; ``tolerance``:
    relative.
    """

    strain: Positive = 0.01
    tolerance: Positive = 0.1

    @property
    def calls(self) -> int:
        """Without any symmetry; a cubic crystal needs four, or six around another volume."""
        return 2 * len(VOIGT) + 2

    @property
    def expected_calls(self) -> int:
        """Of a cubic crystal around another volume, and of a hexagonal one around its own."""
        return 6

    @classmethod
    def planned(cls, subject: Subject) -> tuple[Self, Mapping[str, str]]:
        if subject.kind == "molecule":
            raise InputError(
                "a molecule has no elastic constants", key="properties", hint="leave 'elastic' out"
            )
        reasons = {
            "strain": "stress is linear up to here, and well above the noise of DFT",
            "tolerance": "relative, potential against our own DFT",
        }
        if subject.pressure_gpa:
            reasons["pressure_gpa"] = "as asked for"
        return cls(pressure_gpa=subject.pressure_gpa), reasons

    def structures(self, known: Known) -> list[Question]:
        """The smallest cell under as many strains, of both signs, as its symmetry needs; all on the
        k-point mesh of the unstrained one. First one pair, then the others at DFT's volume.
        """
        cell = smallest_cell(known.start)
        axes = Stiffness.allowed_by(cell).strains()
        if not known.answers:
            return self._questions(cell, axes[:1], 0.0, first=len(axes) > 1)
        if len(known.answers) > 2 or not _stresses(known):
            return []
        off = self._off(known)
        if abs(off) > SAME_VOLUME:
            return self._questions(cell, axes, off)
        return self._questions(cell, axes[1:], 0.0)

    def _questions(
        self, cell: Atoms, axes: Sequence[int], off: float, *, first: bool = False
    ) -> list[Question]:
        """``cell`` at (1 + ``off``) times its volume, strained both ways along each of ``axes``."""
        scaled = cell.copy()
        scaled.set_cell(cell.cell.array * (1 + off) ** (1 / 3), scale_atoms=True)
        strains = [sign * self.strain * np.eye(6)[axis] for axis in axes for sign in (1, -1)]
        return [
            Question(Candidate(deformed(scaled, strain), _provenance(strain, off)), cell, first)
            for strain in strains
        ]

    def _off(self, known: Known) -> float:
        """DFT's volume beside that of the start, less one, by the pressures of the answers; nought
        where they do not tell.
        """
        pressed = [(volume_per_atom(answer.atoms), pressure_gpa_of(label))
                   for answer, label in known.labelled]  # fmt: skip
        volumes = [volume for volume, pressure in pressed if pressure is not None]
        pressures = [pressure for _, pressure in pressed if pressure is not None]
        found = volume_at_pressure(volumes, pressures, self.pressure_gpa)
        return 0.0 if found is None else found / volume_per_atom(known.start) - 1

    def from_labels(self, known: Known) -> Found | Failure:
        if any(label.stress is None for _, label in known.labelled):
            return Failure("validation_data", "a label has no stress: no elastic constants")
        last = known.answers[-1].parameters.get(OFF) if known.answers else None
        around = [pair for pair in known.labelled if pair[0].parameters.get(OFF) == last]
        strains = [answer.parameters["strain_voigt"] for answer, _ in around]
        stresses = [np.asarray(label.stress) / GPa for _, label in around]
        form = Stiffness.allowed_by(smallest_cell(known.start))
        matrix = stiffness_of(form, strains, stresses)
        if matrix is None:
            return Failure("validation_data", "too few strained cells for the elastic constants")
        return Found(
            {f"c{i + 1}{j + 1}_gpa": float(matrix[i, j]) for i, j in form.independent},
            {
                "stiffness_gpa": matrix.tolist(),
                "stresses_gpa": [stress.tolist() for stress in stresses],
                "stable": bool(np.linalg.eigvalsh(matrix).min() > 0),
            },
        )

    def from_calculator(self, known: Known, calculator: Calculator) -> Found | Failure:
        return self.from_labels(evaluated(known, calculator))

    def values(self, found: Comparison) -> tuple[PropertyValue, ...]:
        """The independent constants; a single unknown while DFT has not said which they are."""
        if found.dft is None or not found.dft.values:
            return (
                PropertyValue("elastic_constants_gpa", "elastic constants", "GPa", self.tolerance),
            )
        small = SMALL * max(abs(value or 0.0) for value in found.dft.values.values())
        return tuple(self._value(key, small, *found.value(key)) for key in found.dft.values)

    def _value(
        self, key: str, small: float, potential: float | None, dft: float | None
    ) -> PropertyValue:
        label = f"elastic constant {key.removesuffix('_gpa').upper()}"
        if dft is not None and abs(dft) < small:
            limit = self.tolerance * small
            return PropertyValue(key, label, "GPa", limit, potential, dft, "absolute", digits=1)
        return PropertyValue(key, label, "GPa", self.tolerance, potential, dft, digits=1)

    def shown(self, found: Comparison) -> Shown:
        unstable = found.potential is not None and not found.potential.details.get("stable", True)
        return Shown(
            "Elastic constants",
            chart=_chart(found),
            caption=(
                "Stresses of the strained cells, all six components, with clamped ions; on the line"
                " both agree."
            ),
            notes=(*found.missing, *((UNSTABLE,) if unstable else ())),
        )


@dataclass(frozen=True, slots=True)
class Stiffness:
    """What symmetry leaves of C: ``parts`` (k, 6, 6) sum to it, weighted by the ``independent``
    constants.
    """

    parts: FloatArray
    independent: tuple[tuple[int, int], ...]

    @classmethod
    def allowed_by(cls, crystal: Atoms) -> Stiffness:
        """The form of C in the Cartesian axes of ``crystal``: the mean over its point group of any
        C (Neumann's principle).
        """
        units = np.zeros((len(ENTRIES), 6, 6))
        for place, (i, j) in enumerate(ENTRIES):
            units[place, i, j] = units[place, j, i] = 1.0
        rotations = _point_group(crystal)
        means = np.mean([rotated(units, rotation) for rotation in rotations], axis=0)
        rows = means[:, [i for i, _ in ENTRIES], [j for _, j in ENTRIES]]
        pivots: list[int] = []
        for column in range(len(ENTRIES)):
            tried = [*pivots, column]
            if np.linalg.matrix_rank(rows[:, tried], tol=1e-6) == len(tried):
                pivots = tried
        # Each part is 1 at its own constant and 0 at the other independent ones.
        weights = np.linalg.pinv(rows[:, pivots], rcond=1e-8)
        parts = np.tensordot(weights, means, axes=1)
        return cls(parts, tuple(ENTRIES[place] for place in pivots))

    def strains(self) -> list[int]:
        """Voigt components (0 to 5) that have to be strained to determine every constant."""
        chosen: list[int] = []
        rank = 0
        for axis in range(6):
            found = int(np.linalg.matrix_rank(self._response([*chosen, axis]), tol=1e-6))
            if found > rank:
                chosen, rank = [*chosen, axis], found
        return chosen

    def _response(self, axes: Sequence[int]) -> FloatArray:
        """Stresses (6 a, k) that unit strains of these axes cause, by constant."""
        return np.asarray(self.parts[:, :, list(axes)].reshape(len(self.parts), -1).T)


def deformed(atoms: Atoms, strain_voigt: Sequence[float] | FloatArray) -> Atoms:
    """A copy under a homogeneous strain (6,) with fixed fractional coordinates, without rotation.

    Shear components are twice those of the strain tensor.
    """
    tensor = np.zeros((3, 3))
    for value, (i, j) in zip(strain_voigt, VOIGT, strict=True):
        tensor[i, j] = tensor[j, i] = value if i == j else value / 2
    strained: Atoms = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + tensor), scale_atoms=True)
    return strained


def rotated(stiffness: FloatArray, rotation: FloatArray) -> FloatArray:
    """C (..., 6, 6) as it is after the crystal was turned by ``rotation`` (3, 3)."""
    bond = np.array(
        [
            [
                rotation[i, k] * rotation[j, m]
                + (rotation[i, m] * rotation[j, k] if k != m else 0.0)
                for k, m in VOIGT
            ]
            for i, j in VOIGT
        ]
    )
    return np.asarray(bond @ stiffness @ bond.T)


def stiffness_of(
    form: Stiffness, strains: Sequence[Sequence[float]], stresses_gpa: Sequence[FloatArray]
) -> FloatArray | None:
    """C (6, 6) in GPa by least squares over strains (n, 6) and stresses (n, 6); None where they do
    not determine it.
    """
    if not len(strains):
        return None
    responses = np.einsum("kij,nj->nik", form.parts, np.asarray(strains, dtype=float))
    start = np.broadcast_to(np.eye(6), (len(strains), 6, 6))  # the stress of the unstrained cell
    design = np.concatenate([responses, start], axis=2).reshape(6 * len(strains), -1)
    # In units of the largest strain, lest constants look undetermined beside the start's stress.
    scale = float(np.abs(design[:, : len(form.parts)]).max())
    design[:, : len(form.parts)] /= scale
    if np.linalg.matrix_rank(design, tol=1e-6) < design.shape[1]:
        return None
    fit = np.linalg.lstsq(design, np.asarray(stresses_gpa, dtype=float).ravel(), rcond=None)[0]
    return np.asarray(np.tensordot(fit[: len(form.parts)] / scale, form.parts, axes=1))


def _point_group(crystal: Atoms) -> list[FloatArray]:
    """Rotations (3, 3) of the crystal's point group in Cartesian axes; the identity alone where
    spglib finds nothing.
    """
    found = symmetry.operations(crystal, SYMPREC_A)
    if found is None:
        return [np.eye(3)]
    columns = crystal.cell.array.T
    back = np.linalg.inv(columns)
    unique = {tuple(rotation.ravel()) for rotation in found[0]}
    return [columns @ np.reshape(rotation, (3, 3)) @ back for rotation in sorted(unique)]


def _stresses(known: Known) -> list[FloatArray]:
    return [np.asarray(label.stress) for _, label in known.labelled if label.stress is not None]


def _provenance(strain: FloatArray, off: float) -> Provenance:
    around = {OFF: off} if off else {}
    return Provenance("elastic", "validation", {"strain_voigt": strain.tolist(), **around})


def _chart(found: Comparison) -> Chart | None:
    """Stresses (GPa) by the potential against those by DFT."""
    if found.dft is None or found.potential is None:
        return None
    dft, ours = (
        np.ravel(source.details.get("stresses_gpa") or []).tolist()
        for source in (found.dft, found.potential)
    )
    if len(dft) != len(ours) or not dft:
        return None
    edges = [min(dft), max(dft)]
    return Chart(
        "stress by our DFT (GPa)",
        "stress by the potential (GPa)",
        (Line("dft", "line", edges, edges), Line("potential", "points", dft, ours)),
    )
