"""What a label by CP2K costs: a law of three terms, anchored at measured CPU times of one core.

Silicon, 300 Ry, without spin:

=====  ========  ========  =========
atoms  k-points  measured  this law
=====  ========  ========  =========
2      63        12 s      10 s
8      27        17 s      17 s
16     9         26 s      27 s
16     1         23 s      24 s
=====  ========  ========  =========

Aluminium, 4 atoms with 125 k-points: 16 s, 13 by the law. Gaussians on the grid go with the atoms,
the diagonalisation with k-points times the cube of the basis, and the finer grid for exchange and
correlation with volume times cutoff^1.5 (carbon monoxide in a box of 93 Å³ at 400 Ry: about 10 s).
Larger cells and other elements were not measured: a guess of the right order.
"""

from __future__ import annotations

from mlip_autopipec.engines.dft.cp2k.method import Method
from mlip_autopipec.engines.dft_port import CellSize
from mlip_autopipec.science.kpoints import choose_grid

__all__ = ["cpu_s"]

_START_S, _GRID_S_PER_ATOM = 8.0, 1.0
_DIAGONALISATION_S, _ANCHOR_ATOMS = 0.37, 16  # per k-point
_FINE_GRID_S, _ANCHOR_VOLUME_A3, _ANCHOR_RY = 10.0, 93.0, 400.0


def cpu_s(method: Method, size: CellSize) -> float:
    """Expected CPU seconds of one SCF with forces and stress, one core; twice that with spin."""
    grid = choose_grid(size.vectors_a, size.periodic, method.kspacing_per_a, method.kmesh_shifted)
    finer = _FINE_GRID_S * size.volume_a3 / _ANCHOR_VOLUME_A3 if method.finer_xc_grid else 0.0
    seconds = (
        _START_S
        + _GRID_S_PER_ATOM * size.atoms
        + finer * (method.grid_cutoff_ry / _ANCHOR_RY) ** 1.5
        + _DIAGONALISATION_S * len(grid.points()) * (size.atoms / _ANCHOR_ATOMS) ** 3
    )
    return float(seconds) * (2.0 if method.spin_polarized else 1.0)
