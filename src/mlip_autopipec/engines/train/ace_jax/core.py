"""The repulsion of nuclei: Ziegler, Biersack and Littmark (1985), smoothly off towards a bond.

The expansion learns what DFT says less this, and the potential adds it again; where no label has
been, it is what keeps atoms apart.
"""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.units import Bohr, Hartree

from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.ace_jax.neighbours import Neighbours

__all__ = ["core_repulsion"]

# phi(x) = sum a exp(-b x), x = r / a0.
AMPLITUDES = np.array([0.18175, 0.50986, 0.28022, 0.02817])
DECAYS = np.array([3.19980, 0.94229, 0.40290, 0.20162])
LENGTH_A, EXPONENT = 0.8854 * Bohr, 0.23
# Off from 0.4 to 0.8 times the sum of covalent radii: inside every bond, and no wiggle in one.
BEGINS, ENDS = 0.4, 0.8


def core_repulsion(
    near: Neighbours, elements: tuple[str, ...]
) -> tuple[float, FloatArray, FloatArray]:
    """Energy (eV), its derivative by each vector (n, k, 3) in eV/Å, and each atom's half share of
    the energy (n,).
    """
    numbers = np.array([atomic_numbers[element] for element in elements])
    charges, radii = numbers.astype(float), covalent_radii[numbers]
    r = np.linalg.norm(near.vectors, axis=2)
    bond = radii[near.species][:, None] + radii[near.species[near.index]]
    inside = near.real & (r < ENDS * bond)
    energies, derivative = np.zeros(len(near)), np.zeros_like(near.vectors)
    if not inside.any():
        return 0.0, derivative, energies
    i, k = np.nonzero(inside)
    r, bond = r[i, k], bond[i, k]
    zi, zj = charges[near.species[i]], charges[near.species[near.index[i, k]]]
    length = LENGTH_A / (zi**EXPONENT + zj**EXPONENT)
    terms = AMPLITUDES * np.exp(-DECAYS * (r / length)[:, None])
    phi, slope = terms.sum(axis=1), -(terms * DECAYS).sum(axis=1) / length
    strength = zi * zj * Hartree * Bohr / r
    x = np.clip((r / bond - BEGINS) / (ENDS - BEGINS), 0.0, 1.0)
    switch = 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    d_switch = -30.0 * x**2 * (1.0 - x) ** 2 / (bond * (ENDS - BEGINS))
    # Each pair is seen from both of its atoms.
    energy = 0.5 * strength * phi * switch
    by_r = 0.5 * strength * ((slope - phi / r) * switch + phi * d_switch)
    np.add.at(energies, i, energy)
    derivative[i, k] = (by_r / r)[:, None] * near.vectors[i, k]
    return float(energy.sum()), derivative, energies
