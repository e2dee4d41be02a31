"""What a label by pw.x costs: a scaling law, anchored at measured times of one core (Si, 28 Ry).

A plane-wave SCF costs about (bands)^1.4 x (plane waves) per k-point: bands go with the valence
electrons, plane waves with volume x cutoff^1.5. Anchor: Si8, 28 Ry, 4 k-points without symmetry,
5.1 s. Per k-point the law is within a factor of two of what was measured for Si16, Si32, Si64,
NaCl8 and Cu4; larger cells of metals were not measured.
"""

from __future__ import annotations

from ase.data import atomic_numbers

from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft_port import CellSize
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.kpoints import choose_grid

__all__ = ["START_S", "cpu_s", "valence_electrons"]

_NOBLE = (0, 2, 10, 18, 36, 54, 86)

START_S = 0.5  # pw.x alone
_ANCHOR_S, _ANCHOR_ELECTRONS, _ANCHOR_VOLUME_A3 = 4.6, 32, 160.0
_ANCHOR_RY, _ANCHOR_KPOINTS = 28.0, 4
# A molecule at the Gamma point: ethanol, 84 Ry, 38 s in its box with 4 Å, 107 s with 6 Å; water
# with 6 Å 41 s.
_BOX_S, _BOX_ELECTRONS, _BOX_VOLUME_A3, _BOX_RY = 37.0, 20, 1138.0, 84.0


def cpu_s(method: Method, size: CellSize) -> float:
    """Expected CPU seconds of one SCF with forces and stress, one core; twice that with spin, which
    free atoms and pairs have, and less for the k-points that symmetry makes equal.
    """
    electrons = sum(count * valence_electrons(symbol) for symbol, count in size.counts.items())
    few = size.atoms <= 2 and not any(size.periodic)
    spin = 2.0 if method.spin_polarized or few else 1.0
    if not any(size.periodic):  # plane waves fill the empty space as well
        waves = size.volume_a3 / _BOX_VOLUME_A3 * float((method.cutoff_ry / _BOX_RY) ** 1.5)
        return START_S + _BOX_S * waves * float((electrons / _BOX_ELECTRONS) ** 0.6) * spin
    bands = float((electrons / _ANCHOR_ELECTRONS) ** 1.4)
    waves = size.volume_a3 / _ANCHOR_VOLUME_A3 * float((method.cutoff_ry / _ANCHOR_RY) ** 1.5)
    points = _points(method, size) / _ANCHOR_KPOINTS
    return START_S + _ANCHOR_S * points * bands * waves * spin


def _points(method: Method, size: CellSize) -> int:
    """k-points, by time reversal and the symmetry of the structure where that leaves fewer."""
    grid = choose_grid(size.vectors_a, size.periodic, method.kspacing_per_a, method.kmesh_shifted)
    plain = len(grid.points())
    lattice = symmetry.lattice_rotations(size.vectors_a, 1e-3)
    if size.rotations is None or lattice is None:
        return plain
    return min(plain, len(grid.irreducible(lattice, size.rotations)))


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
