"""Equation of state: equilibrium volume, lattice constant and bulk modulus from energies at several
volumes.

DFT and potential are evaluated at the same cells (scaled, with fixed fractional coordinates), so
that their difference is the potential's error alone. Where symmetry does not fix the internal
coordinates, the bulk modulus is therefore the clamped-ion one, for both.

Third-order Birch-Murnaghan (F. Birch, Phys. Rev. 71, 809, 1947). Written in x = V^(-2/3) the energy
is a polynomial of third degree, so the fit is one linear least-squares problem with a unique
answer: no start values, nothing to converge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import GPa
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.section import Positive, Section
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.science import symmetry
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

__all__ = [
    "EquationOfState",
    "LatticeAndBulkModulus",
    "fit_birch_murnaghan",
    "lattice_constant",
    "strained_cells",
]

# Of the volume: both sides of the minimum, far enough for the bulk modulus, near enough for one
# crystal.
EOS_STRAINS = (-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06)

MIN_POINTS = 5
"""Four parameters and one point over, so that the residual says something."""

FIRST_CUBIC_SPACE_GROUP = 195


@dataclass(frozen=True, slots=True)
class EquationOfState:
    """A Birch-Murnaghan curve per atom: V0 (Å³/atom), E0 (eV/atom), B (GPa), B' (no unit), residual
    (meV/atom).
    """

    volume_a3_per_atom: float
    energy_ev_per_atom: float
    bulk_modulus_gpa: float
    bulk_modulus_derivative: float
    residual_mev_per_atom: float

    def energy(self, volumes_a3_per_atom: ArrayLike) -> NDArray[np.float64]:
        """Energies (eV/atom) of the curve at volumes (Å³/atom), any shape."""
        strain = (self.volume_a3_per_atom / np.asarray(volumes_a3_per_atom, dtype=float)) ** (
            2 / 3
        ) - 1
        stiffness = 9 * self.volume_a3_per_atom * self.bulk_modulus_gpa * GPa / 16
        cubic = self.bulk_modulus_derivative * strain**3
        return np.asarray(
            self.energy_ev_per_atom + stiffness * (cubic + strain**2 * (2 - 4 * strain))
        )

    def to_json(self) -> Json:
        return asdict(self)


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


def fit_birch_murnaghan(
    volumes_a3_per_atom: ArrayLike, energies_ev_per_atom: ArrayLike
) -> EquationOfState | Failure:
    """Fit volumes (n,) Å³/atom and energies (n,) eV/atom.

    A Failure of kind ``equation_of_state`` says why there is no trustworthy minimum: too few
    different volumes, values that are not finite, no minimum at all, or one outside the volumes
    sampled (an extrapolation is not a measurement).
    """
    volumes = np.asarray(volumes_a3_per_atom, dtype=float)
    energies = np.asarray(energies_ev_per_atom, dtype=float)
    if volumes.shape != energies.shape or volumes.ndim != 1:
        raise ValueError("volumes and energies must be two lists of one length")
    if not (np.isfinite(volumes).all() and np.isfinite(energies).all() and (volumes > 0).all()):
        return _no_fit("a volume or an energy is not a finite number")
    different = len(np.unique(np.round(volumes, 6)))
    if different < MIN_POINTS:
        return _no_fit(f"{different} different volumes, at least {MIN_POINTS} are needed")

    # In units of the middle volume x is near 1 and the problem stays well conditioned.
    middle = float(np.median(volumes))
    x = (volumes / middle) ** (-2 / 3)
    curve = np.polynomial.Polynomial.fit(x, energies, deg=3).convert()
    minima = [
        _polished(curve, float(root.real))
        for root in np.atleast_1d(curve.deriv().roots())
        if abs(root.imag) < 1e-9 and curve.deriv(2)(root.real) > 0
    ]
    inside = [value for value in minima if x.min() <= value <= x.max()]
    if not inside:
        where = "outside the sampled volumes" if minima else "nowhere"
        return _no_fit(
            f"the energy has its minimum {where} ({volumes.min():.3f} to {volumes.max():.3f}"
            " Å³/atom)"
        )
    return _equation(curve, inside[0], middle, float(np.sqrt(np.mean((curve(x) - energies) ** 2))))


def _polished(curve: np.polynomial.Polynomial, x_min: float) -> float:
    """The minimum near ``x_min`` by two steps of Newton: with B' = 4 the cubic term vanishes, and a
    root is inexact.
    """
    for _ in range(2):
        x_min -= float(curve.deriv()(x_min) / curve.deriv(2)(x_min))
    return x_min


def _equation(
    curve: np.polynomial.Polynomial, x_min: float, unit_volume: float, residual_ev: float
) -> EquationOfState:
    """V0, E0, B and B' at the minimum of E(x), by the chain rule with dE/dx = 0 there.

    In units of ``unit_volume``: x = v^(-2/3), B = v E_vv and B' = dB/dP = -1 - v E_vvv / E_vv.
    """
    v = x_min**-1.5
    dx, ddx = -2 / 3 * v ** (-5 / 3), 10 / 9 * v ** (-8 / 3)
    second, third = float(curve.deriv(2)(x_min)), float(curve.deriv(3)(x_min))
    e_vv = second * dx**2
    e_vvv = third * dx**3 + 3 * second * dx * ddx
    return EquationOfState(
        volume_a3_per_atom=v * unit_volume,
        energy_ev_per_atom=float(curve(x_min)),
        bulk_modulus_gpa=v * e_vv / unit_volume / GPa,
        bulk_modulus_derivative=-1 - v * e_vvv / e_vv,
        residual_mev_per_atom=1000 * residual_ev,
    )


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


def _no_fit(message: str) -> Failure:
    return Failure("equation_of_state", message)


class LatticeAndBulkModulus(Section):
    """The property: lattice constant and bulk modulus of the ground state."""

    eos_strains: list[float] = Field(default_factory=list)
    lattice_tolerance: Positive = 0.005
    bulk_modulus_tolerance: Positive = 0.05

    @property
    def calls(self) -> int:
        return len(self.eos_strains)

    @classmethod
    def planned(cls, subject: Subject) -> tuple[Self, Mapping[str, str]]:
        if subject.kind == "molecule":
            raise InputError(
                "a molecule has no equation of state", key="properties", hint="leave it out"
            )
        return cls(eos_strains=list(EOS_STRAINS)), {
            "eos_strains": "volume strains: spans the harmonic region",
            "lattice_tolerance": "relative, potential against our own DFT",
            "bulk_modulus_tolerance": "relative, potential against our own DFT",
        }

    def structures(self, known: Known) -> list[Question]:
        """Strained cells, all on the k-point mesh of the unstrained one."""
        if known.answers:
            return []
        return [
            Question(Candidate(cell, _provenance(strain)), mesh_of=known.start)
            for strain, cell in zip(
                self.eos_strains, strained_cells(known.start, self.eos_strains), strict=True
            )
        ]

    def from_labels(self, known: Known) -> Found | Failure:
        compositions = {
            answer.atoms.get_chemical_formula(empirical=True) for answer in known.answers
        }
        if len(compositions) > 1:
            return Failure(
                "validation_data",
                f"labels of different compositions: {', '.join(sorted(compositions))}",
            )
        found = _of_labels(known)
        if found.failure:
            return Failure("validation_data", f"DFT equation of state: {found.failure}")
        return found

    def from_calculator(self, known: Known, calculator: Calculator) -> Found | Failure:
        return _of_labels(evaluated(known, calculator))

    def values(self, found: Comparison) -> tuple[PropertyValue, ...]:
        lattice, modulus = (found.value(key) for key in ("lattice_constant_a", "bulk_modulus_gpa"))
        return (
            PropertyValue(
                "lattice_constant_a", "lattice constant", "Å", self.lattice_tolerance, *lattice,
                digits=4,
            ),
            PropertyValue(
                "bulk_modulus_gpa", "bulk modulus", "GPa", self.bulk_modulus_tolerance, *modulus,
                digits=1,
            ),
        )  # fmt: skip

    def shown(self, found: Comparison) -> Shown:
        return Shown(
            "Equation of state",
            chart=_chart(found),
            caption=(
                "Energies at the same cells, Birch-Murnaghan fits (lines) and equilibrium volumes"
                " (dotted)."
            ),
            notes=found.missing,
        )


def _provenance(strain: float) -> Provenance:
    return Provenance("equation_of_state", "validation", {"volumetric_strain": strain})


def _of_labels(known: Known) -> Found:
    """The fit of all labels by rising volume; where there is none, the points and the reason."""
    points = sorted(known.labelled, key=lambda point: _volume(point[0].atoms))
    volumes = [_volume(answer.atoms) for answer, _ in points]
    energies = [label.energy_ev / len(answer.atoms) for answer, label in points]
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


def _volume(atoms: Atoms) -> float:
    return float(atoms.get_volume()) / len(atoms)


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
