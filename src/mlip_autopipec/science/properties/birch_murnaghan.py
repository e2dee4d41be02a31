"""Third-order Birch-Murnaghan (F. Birch, Phys. Rev. 71, 809, 1947): energy against volume.

Written in x = V^(-2/3) the energy is a polynomial of third degree, so the fit is one linear
least-squares problem with a unique answer: no start values, nothing to converge.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from ase.units import GPa
from numpy.typing import ArrayLike, NDArray

from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json

__all__ = ["MIN_POINTS", "EquationOfState", "fit_birch_murnaghan"]

MIN_POINTS = 5
"""Four parameters and one point over, so that the residual says something."""


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


def _no_fit(message: str) -> Failure:
    return Failure("equation_of_state", message)
