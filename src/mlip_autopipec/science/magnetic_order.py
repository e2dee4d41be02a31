"""Moments of an antiferromagnet for any cell: signs that alternate between magnetic neighbours.

Two magnetic atoms that share an anion in a straight line couple strongly (superexchange;
J. B. Goodenough, Phys. Rev. 100, 564, 1955; J. Kanamori, J. Phys. Chem. Solids 10, 87, 1959), at
right angles or directly more weakly. The signs are those that put the largest weight of couplings
between opposite moments: planes (111) in rocksalt oxides, the chequerboard in perovskites and in
CsCl lattices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.science.ions import ANIONS

__all__ = ["alternating"]

# Å. Bonds of transition metals to their anions end below.
_BOND_A = 2.8
# Bonds above this angle are straight enough for superexchange (degrees).
_STRAIGHT_DEG = 140.0
# Weight of a coupling through a straight bridge, of a direct one, and Å within which one is direct.
_BRIDGED, _DIRECT, _DIRECT_A = 1.0, 0.2, 3.6
# Magnetic atoms up to which every choice of signs is tried; beyond, descents from several starts.
_EXHAUSTIVE = 12
# Descents: 32 irons of a rocksalt cell find the planes (111) from most starts, in 0.3 s.
_STARTS = 32


def alternating(atoms: Atoms, moments: Mapping[str, float]) -> FloatArray | None:
    """Moments (n,) in Bohr magnetons, those of ``moments`` (per element) with alternating signs;
    None where fewer than two atoms are magnetic or no signs alternate.

    Deterministic. As many point up as down where the couplings leave a choice.
    """
    sizes = np.array([float(moments.get(symbol, 0.0)) for symbol in atoms.get_chemical_symbols()])
    magnetic = np.flatnonzero(sizes)
    if len(magnetic) < 2:
        return None
    weights = _couplings(atoms, magnetic)
    signs = _signs(weights, sizes[magnetic])
    if (signs > 0).all():
        return None
    sizes[magnetic] *= signs
    return sizes


def _couplings(atoms: Atoms, magnetic: np.ndarray) -> FloatArray:
    """Weights (m, m) between magnetic atoms, over their images."""
    place = {int(atom): index for index, atom in enumerate(magnetic)}
    weights = np.zeros((len(magnetic), len(magnetic)))
    for i, j in zip(*neighbor_list("ij", atoms, _DIRECT_A), strict=True):
        if i in place and j in place:
            weights[place[i], place[j]] += _DIRECT
    anions = {atomic_numbers[symbol] for symbol in ANIONS}
    centres, others, vectors = neighbor_list("ijD", atoms, _BOND_A)
    for anion in np.flatnonzero([number in anions for number in atoms.numbers]):
        near = [k for k in np.flatnonzero(centres == anion) if int(others[k]) in place]
        for one in near:
            for other in near:
                if one == other:
                    continue
                a, b = vectors[one], vectors[other]
                cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
                if cosine < np.cos(np.radians(_STRAIGHT_DEG)):
                    weights[place[int(others[one])], place[int(others[other])]] += _BRIDGED
    np.fill_diagonal(weights, 0.0)
    return (weights + weights.T) / 2


def _signs(weights: FloatArray, sizes: FloatArray) -> FloatArray:
    """The signs of least coupling energy; among equals those of the smallest total moment."""
    count = len(weights)
    # Far below any coupling: it decides between equals only.
    balance = 1e-3 / count

    def energy(signs: FloatArray) -> float:
        return float(signs @ weights @ signs / 2 + balance * abs(signs @ np.abs(sizes)))

    if count <= _EXHAUSTIVE:
        tries = (
            np.array([1.0, *(1.0 if bit >> k & 1 else -1.0 for k in range(count - 1))])
            for bit in range(2 ** (count - 1))
        )
        return np.asarray(min(tries, key=lambda signs: round(energy(signs), 9)))
    rng = np.random.default_rng(0)
    found = [_descended(rng.choice([-1.0, 1.0], count), energy) for _ in range(_STARTS)]
    best = min(found, key=lambda signs: round(energy(signs), 9))
    return np.asarray(best * best[0])


def _descended(signs: FloatArray, energy: Callable[[FloatArray], float]) -> FloatArray:
    current = energy(signs)
    improved = True
    while improved:
        improved = False
        for index in range(len(signs)):
            signs[index] *= -1
            now = energy(signs)
            if now < current - 1e-9:
                current, improved = now, True
            else:
                signs[index] *= -1
    return signs
