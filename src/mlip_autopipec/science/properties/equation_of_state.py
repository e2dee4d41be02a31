"""Equation of state: equilibrium volume, lattice constant and bulk modulus from energies at several
volumes.

DFT and potential are evaluated at the same cells (scaled, with fixed fractional coordinates), so
that their difference is the potential's error alone. Where symmetry does not fix the internal
coordinates, the bulk modulus is therefore the clamped-ion one, for both.

The volumes lie around DFT's own, found from the energies and stresses of two first cells, so that a
surrogate whose volume is off costs a calculation or two and not the property.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import GPa
from pydantic import Field

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.section import Positive
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.properties.birch_murnaghan import (
    MIN_POINTS,
    EquationOfState,
    fit_birch_murnaghan,
)
from mlip_autopipec.science.properties.port import (
    Answer,
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
    SOFTEST_GPA,
    UnderPressure,
    pressure_gpa_of,
    smallest_cell,
    volume_at_pressure,
    volume_per_atom,
)

__all__ = [
    "LatticeAndBulkModulus",
    "lattice_constant",
    "strained_cells",
]

# Of the volume: both sides of the minimum, far enough for the bulk modulus, near enough for one
# crystal.
EOS_STRAINS = (-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06)

MOST_EXTRA = 2
"""Cells beyond one per strain: what a surrogate with another volume may cost."""

FAR = 0.1
"""Of the volume: an estimate farther than this from all that was calculated is tried by one cell
before the others are placed around it.
"""

BELIEVED = 1.5
"""Cells are fitted up to this many times the largest strain from DFT's volume."""

FIRST_CUBIC_SPACE_GROUP = 195

Point = tuple[Answer, Label]


def strained_cells(atoms: Atoms, volumetric_strains: Sequence[float]) -> list[Atoms]:
    """Copies whose volume is (1 + strain) times that of ``atoms``: same shape, same fractional
    coordinates.

    Raises ValueError for a strain of -1 or less, which leaves no volume.
    """
    if any(strain <= -1 for strain in volumetric_strains):
        raise ValueError("a volumetric strain must be larger than -1")
    cells = []
    for strain in volumetric_strains:
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array * (1 + strain) ** (1 / 3), scale_atoms=True)
        cells.append(copy)
    return cells


def lattice_constant(volume_a3_per_atom: float, crystal: Atoms, symprec_a: float = 0.01) -> float:
    """Lattice constant a (Å) of the conventional cell of ``crystal`` at another volume per atom.

    Cubic: the edge of the conventional cube. Otherwise a of the conventional standard cell
    (spglib), scaled in all directions alike, since an isotropic equation of state says nothing
    about c/a. A cell without symmetry that spglib can name is scaled as it stands.
    """
    dataset = symmetry.dataset(crystal, symprec_a)
    if dataset is None:
        reference, per_atom = crystal.cell.array, crystal.get_volume() / len(crystal)
    else:
        reference = np.asarray(dataset.std_lattice)
        per_atom = abs(np.linalg.det(reference)) / len(dataset.std_types)
        if dataset.number >= FIRST_CUBIC_SPACE_GROUP:
            return float((volume_a3_per_atom * len(dataset.std_types)) ** (1 / 3))
    return float(np.linalg.norm(reference[0]) * (volume_a3_per_atom / per_atom) ** (1 / 3))


class LatticeAndBulkModulus(UnderPressure):
    """The property: lattice constant and bulk modulus of the ground state at ``pressure_gpa``.

    ``eos_strains``: volumes around DFT's own, wherever the surrogate's was.
    """

    eos_strains: list[float] = Field(default_factory=list)
    lattice_tolerance: Positive = 0.002
    bulk_modulus_tolerance: Positive = 0.05

    @property
    def calls(self) -> int:
        """One for each strain, and a few where the surrogate's volume is off."""
        steps = len(self.eos_strains)
        return steps + MOST_EXTRA if steps >= MIN_POINTS else steps

    @property
    def expected_calls(self) -> int:
        """One for each strain: two of them find the volume, and count."""
        return len(self.eos_strains)

    @classmethod
    def planned(cls, subject: Subject) -> tuple[Self, Mapping[str, str]]:
        if subject.kind == "molecule":
            raise InputError(
                "a molecule has no equation of state", key="properties", hint="leave it out"
            )
        reasons = {
            "eos_strains": "volume strains around DFT's own volume: spans the harmonic region",
            "lattice_tolerance": "relative, potential against our own DFT",
            "bulk_modulus_tolerance": "relative, potential against our own DFT",
        }
        if subject.pressure_gpa:
            reasons["pressure_gpa"] = "as asked for"
        return cls(eos_strains=list(EOS_STRAINS), pressure_gpa=subject.pressure_gpa), reasons

    def structures(self, known: Known) -> list[Question]:
        """Primitive cells, all on the k-point mesh of the surrogate's: two around its volume, then
        those of the window around DFT's that these leave open.
        """
        if known.answers and not known.labelled:
            return []
        cell = smallest_cell(known.start)
        start, asked = volume_per_atom(cell), [volume_per_atom(a.atoms) for a in known.answers]
        strains = sorted(self.eos_strains)
        if len(strains) < MIN_POINTS:
            return [] if asked else [_question(cell, strain) for strain in strains]
        if not asked:
            return [_question(cell, strain, first=True) for strain in (strains[1], strains[-2])]
        centre = self._centre(known) or start
        if min(abs(volume / centre - 1) for volume in asked) > FAR and len(asked) == 2:
            return [_question(cell, centre / start - 1, first=True)]
        half_a_step = (strains[-1] - strains[0]) / (len(strains) - 1) / 2
        open_ = [
            strain
            for strain in strains
            if all(abs(volume / centre - 1 - strain) > half_a_step for volume in asked)
        ]
        left = sorted(open_, key=abs)[: self.calls - len(asked)]
        return [_question(cell, (1 + strain) * centre / start - 1) for strain in sorted(left)]

    def _centre(self, known: Known) -> float | None:
        """DFT's volume per atom at the pressure asked for, as far as the labels tell."""
        points = _points(known)
        curve = fit_birch_murnaghan(*self._enthalpies(points))
        if isinstance(curve, EquationOfState) and curve.bulk_modulus_gpa > SOFTEST_GPA:
            return curve.volume_a3_per_atom
        volumes = [volume_per_atom(answer.atoms) for answer, _ in points]
        pressures = [p for _, label in points if (p := pressure_gpa_of(label)) is not None]
        if len(pressures) < len(volumes):
            volumes, pressures = _slopes(points)
        return volume_at_pressure(volumes, pressures, self.pressure_gpa)

    def volume_ratio(self, known: Known) -> float | None:
        """DFT's volume over that of ``known.start``, from a whole equation of state."""
        if len(known.labelled) < max(MIN_POINTS, len(self.eos_strains)):
            return None
        centre = self._centre(self._in_the_window(known))
        return None if centre is None else centre / volume_per_atom(known.start)

    def _enthalpies(self, points: list[Point]) -> tuple[list[float], list[float]]:
        """Volumes (Å³/atom) and E + PV (eV/atom)."""
        volumes = [volume_per_atom(answer.atoms) for answer, _ in points]
        energies = [label.energy_ev / len(answer.atoms) for answer, label in points]
        work = self.pressure_gpa * GPa
        return volumes, [energy + work * v for energy, v in zip(energies, volumes, strict=True)]

    def _in_the_window(self, known: Known) -> Known:
        """The answers around DFT's own volume, also where the first ones lay far off."""
        centre = self._centre(known)
        if centre is None or not self.eos_strains:
            return known
        reach = BELIEVED * max(abs(strain) for strain in self.eos_strains)
        near = tuple(
            answer
            for answer, _ in known.labelled
            if abs(volume_per_atom(answer.atoms) / centre - 1) < reach
        )
        return replace(known, answers=near) if len(near) >= MIN_POINTS else known

    def from_labels(self, known: Known) -> Found | Failure:
        compositions = {
            answer.atoms.get_chemical_formula(empirical=True) for answer in known.answers
        }
        if len(compositions) > 1:
            return Failure(
                "validation_data",
                f"labels of different compositions: {', '.join(sorted(compositions))}",
            )
        found = self._found(self._in_the_window(known))
        if found.failure:
            return Failure("validation_data", f"DFT equation of state: {found.failure}")
        return found

    def from_calculator(self, known: Known, calculator: Calculator) -> Found | Failure:
        return self._found(evaluated(self._in_the_window(known), calculator))

    def _found(self, known: Known) -> Found:
        """The fit of all labels by rising volume; where there is none, the points and the reason.

        Under a pressure ``energies_ev_per_atom`` are enthalpies: at their minimum the cell is under
        that pressure, and V times their curvature is the bulk modulus there.
        """
        points = _points(known)
        volumes, energies = self._enthalpies(points)
        details: Json = {
            "volumes_a3_per_atom": volumes,
            "energies_ev_per_atom": energies,
            "gamma_max": [answer.gamma_max for answer, _ in points],
        }
        curve = fit_birch_murnaghan(volumes, energies)
        if isinstance(curve, Failure):
            values = {"lattice_constant_a": None, "bulk_modulus_gpa": None}
            return Found(values, {**details, "fit": None}, curve.message)
        middle = points[len(points) // 2][0].atoms
        return Found(
            {
                "lattice_constant_a": lattice_constant(curve.volume_a3_per_atom, middle),
                "bulk_modulus_gpa": curve.bulk_modulus_gpa,
            },
            {**details, "fit": curve.to_json()},
        )

    def values(self, found: Comparison) -> tuple[PropertyValue, ...]:
        lattice, modulus = (found.value(key) for key in ("lattice_constant_a", "bulk_modulus_gpa"))
        at = f" at {self.pressure_gpa:g} GPa" if self.pressure_gpa else ""
        return (
            PropertyValue(
                "lattice_constant_a", f"lattice constant{at}", "Å", self.lattice_tolerance,
                *lattice, digits=4,
            ),
            PropertyValue(
                "bulk_modulus_gpa", f"bulk modulus{at}", "GPa", self.bulk_modulus_tolerance,
                *modulus, digits=1,
            ),
        )  # fmt: skip

    def shown(self, found: Comparison) -> Shown:
        return Shown(
            "Equation of state",
            chart=_chart(found),
            caption=(
                "Energies at the same cells, Birch-Murnaghan fits (lines) and equilibrium volumes"
                " (dotted)." + (" Energies are enthalpies." if self.pressure_gpa else "")
            ),
            notes=found.missing,
        )


def _question(cell: Atoms, strain: float, *, first: bool = False) -> Question:
    """``cell`` at (1 + strain) times its volume."""
    provenance = Provenance("equation_of_state", "validation", {"volumetric_strain": strain})
    return Question(Candidate(strained_cells(cell, [strain])[0], provenance), cell, first)


def _slopes(points: list[Point]) -> tuple[list[float], list[float]]:
    """Volumes (Å³/atom) midway between labels, and the pressures (GPa) of their energies there."""
    pairs = [
        (volume_per_atom(answer.atoms), label.energy_ev / len(answer.atoms))
        for answer, label in points
    ]
    steps = [(one, other) for one, other in itertools.pairwise(pairs) if other[0] > one[0]]
    return (
        [(one[0] + other[0]) / 2 for one, other in steps],
        [-(other[1] - one[1]) / (other[0] - one[0]) / GPa for one, other in steps],
    )


def _points(known: Known) -> list[Point]:
    """What has a label, by rising volume."""
    return sorted(known.labelled, key=lambda point: volume_per_atom(point[0].atoms))


def _chart(found: Comparison) -> Chart | None:
    """Energies (meV/atom) above the lowest DFT energy against volumes (Å³/atom)."""
    if found.dft is None or not found.dft.details.get("volumes_a3_per_atom"):
        return None
    zero = min(found.dft.details["energies_ev_per_atom"])
    lines = _lines("dft", found.dft.details, zero)
    if found.potential is not None and found.potential.details:
        lines += _lines("potential", found.potential.details, zero)
    return Chart("volume (Å³/atom)", "energy above the DFT minimum (meV/atom)", tuple(lines))


def _lines(source: Any, details: Json, zero: float) -> list[Line]:
    volumes = np.asarray(details["volumes_a3_per_atom"], dtype=float)
    energies = np.asarray(details["energies_ev_per_atom"], dtype=float)
    lines = [Line(source, "points", volumes.tolist(), (1000 * (energies - zero)).tolist())]
    if details.get("fit") and len(volumes):
        curve = EquationOfState(**details["fit"])
        fine = np.linspace(volumes.min(), volumes.max(), 200)
        lines += [
            Line(source, "line", fine.tolist(), (1000 * (curve.energy(fine) - zero)).tolist()),
            Line(source, "mark", [curve.volume_a3_per_atom]),
        ]
    return lines
