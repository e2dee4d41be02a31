"""What a label by pw.x costs, from the work that a plane-wave calculation is made of.

One step of the self-consistency takes, per k-point, Fourier transforms of every band on the grid,
and products of every band with every other over the plane waves; and, once, density and potential
on the grid. The grid goes with the *lengths* of the cell's vectors, so that a skewed cell pays for
more than its volume, the plane waves go with the volume, and an empty box has both of them too.

The constants are a fit to the calculations of five campaigns with pw.x 6.7 on one core (November
2026: mostly silicon, aluminium and NaCl, boxes and crystals of 1 to 16 atoms, 1 to 152 k-points, 28
to 88 Ry) and to ethanol and water in boxes. On these same calculations the median of each material,
kind and size is within 0.6 and 1.3 of the estimate; single ones that took more than 20 steps of
self-consistency are up to 3.3 times as dear.
"""

from __future__ import annotations

import math

import numpy as np
from ase.data import atomic_numbers
from ase.units import Bohr

from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft.quantum_espresso.spin import is_doublet
from mlip_autopipec.engines.dft_port import CellSize
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.kpoints import choose_grid

__all__ = ["START_S", "cpu_s", "valence_electrons"]

_NOBLE = (0, 2, 10, 18, 36, 54, 86)

START_S = 1.2  # the worker's process 1.0, pw.x 0.2
# Per step: a band's transforms for each point of the grid, two bands' products for each plane wave,
# density and potential for each point of the grid.
_TRANSFORM_S, _PRODUCT_S, _DENSITY_S = 3.1e-8, 4.5e-8, 3.9e-7
# Steps as they were counted: 4 or 5, 5 to 8, 8 to 15 and 7 to 14. One more has the forces.
_STEPS_OF_AN_ATOM, _STEPS_OF_A_CRYSTAL, _STEPS_OF_A_METAL, _STEPS = 5, 7, 12, 10
_FORCES = 1
# Taking the images out of a molecule's potential: ethanol in its box with 4 Å 38 s, with 6 Å 107,
# water with 6 Å 41, where boxes with their images would take 26, 72 and 28.
_WITHOUT_IMAGES = 1.5


def cpu_s(method: Method, size: CellSize) -> float:
    """Expected CPU seconds of one SCF with forces and stress, one core; twice that with spin, and
    less for the k-points that symmetry makes equal.
    """
    grid, waves, bands = _grid_points(method, size), _plane_waves(method, size), _bands(size)
    points, symmetric = _points(method, size)
    steps = _FORCES + _steps(method, size, symmetric)
    per_point = _TRANSFORM_S * bands * grid + _PRODUCT_S * bands**2 * waves
    images = _WITHOUT_IMAGES if method.isolated != "none" and not any(size.periodic) else 1.0
    spins = 2 if _has_spin(method, size) else 1
    return float(START_S + images * spins * steps * (points * per_point + _DENSITY_S * grid))


def _is_atom(size: CellSize) -> bool:
    return not any(size.periodic) and round(size.atoms) == 1


def _electrons(size: CellSize) -> float:
    return sum(count * valence_electrons(symbol) for symbol, count in size.counts.items())


def _bands(size: CellSize) -> float:
    """As many as pw.x takes with smearing; a free atom has those of its electrons."""
    pairs = _electrons(size) / 2
    return max(1.0, pairs) if _is_atom(size) else max(1.2 * pairs, pairs + 4)


def _grid_points(method: Method, size: CellSize) -> float:
    """Of the Fourier grid of the density, which holds the plane waves up to its cutoff along every
    vector of the cell.
    """
    lengths = np.linalg.norm(size.vectors_a, axis=1) / Bohr
    return float(np.prod(lengths * math.sqrt(method.rho_cutoff_ry) / math.pi))


def _plane_waves(method: Method, size: CellSize) -> float:
    """Inside the sphere of the cutoff."""
    return size.volume_a3 / Bohr**3 * float(method.cutoff_ry**1.5) / (6 * math.pi**2)


def _steps(method: Method, size: CellSize, symmetric: bool) -> int:
    """Of the self-consistency. The atoms' densities are nearly that of a perfect crystal; what
    moves the charge of a metal takes a few more.
    """
    if _is_atom(size):
        return _STEPS_OF_AN_ATOM
    if symmetric:
        return _STEPS_OF_A_CRYSTAL
    metal = any(size.periodic) and method.smearing != "gaussian"
    return _STEPS_OF_A_METAL if metal else _STEPS


def _has_spin(method: Method, size: CellSize) -> bool:
    """Free atoms and pairs, magnetic elements, and an odd electron that no band shares."""
    free = not any(size.periodic)
    if free and round(size.atoms) <= 2:
        return True
    moments = method.starting_moments  # where there are none, structures say their own
    if method.spin_polarized and (not any(moments.values()) or any(map(moments.get, size.counts))):
        return True
    # Of a composition alone nobody knows whether a cell will have an odd electron.
    whole = all(abs(count - round(count)) < 1e-6 for count in size.counts.values())
    electrons = _electrons(size) - method.charge
    return whole and is_doublet(method, sorted(size.counts), electrons, free=free)


def _points(method: Method, size: CellSize) -> tuple[int, bool]:
    """k-points, by time reversal and the symmetry of the structure where that leaves fewer; and
    whether it did.
    """
    grid = choose_grid(size.vectors_a, size.periodic, method.kspacing_per_a, method.kmesh_shifted)
    plain = len(grid.points())
    lattice = symmetry.lattice_rotations(size.vectors_a, 1e-3)
    if size.rotations is None or lattice is None:
        return plain, False
    fewer = len(grid.irreducible(lattice, size.rotations))
    return min(plain, fewer), fewer < plain


def valence_electrons(symbol: str) -> int:
    """Electrons a PseudoDojo standard pseudopotential treats, by rule: semicore shells of groups
    1-12 are included.
    """
    number = atomic_numbers[symbol]
    core = max(shell for shell in _NOBLE if shell < number)
    outside = number - core
    if core == 2:
        return outside + 2 if outside <= 2 else outside
    if core == 10:
        return outside + 8 if outside <= 2 else outside
    if core >= 54 and outside > 17:  # a filled f shell is left to the core
        outside -= 14
    if core >= 18 and outside > 14:  # As to Kr and their columns: so is a filled d shell
        return outside - 10
    return outside + 8 if core >= 18 and outside <= 12 else outside
