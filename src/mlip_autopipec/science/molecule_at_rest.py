"""A molecule at rest: its geometry and its vibrations, from a handful of DFT calculations.

A whole Hessian would take 6 N of them. Here the surrogate's normal modes say where to look: one
Newton step along them leads from the surrogate's minimum to that of DFT, and central differences of
the forces along a few of them give the part of the Hessian that those modes span (E. B. Wilson, J.
C. Decius & P. C. Cross, Molecular Vibrations, 1955, ch. 2, for mass-weighted coordinates). Its
eigenvalues are frequencies: exact when the chosen modes do not mix with the others, else upper
estimates (Rayleigh and Ritz) in the same way for DFT and potential.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_angles
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mlip_autopipec.base.values import Json
from mlip_autopipec.science.generation.normal_modes import PER_CM, Modes
from mlip_autopipec.science.lattices import bare

__all__ = [
    "Probe",
    "angles_deg",
    "at_minimum",
    "bonds",
    "compared_modes",
    "displaced",
    "geometry_rmsd_a",
    "modes_from_json",
    "modes_to_json",
    "newton_step_a",
    "wavenumbers_per_cm",
]

FloatArray = NDArray[np.float64]

# Large enough for forces well above the noise of a DFT calculation (1 meV/Å), small enough to be
# nearly harmonic.
PROBE_ENERGY_EV = 0.02
# By which an atom is displaced along one vibration: farther, it is not harmonic.
MOST_MOVED_A = 0.1
# A surrogate may have a soft mode far too soft: no Newton step goes further than that of a mode of
# this wavenumber.
SOFTEST_PER_CM = 100.0
# Of an atom, from the surrogate's molecule towards the minimum of DFT.
LONGEST_STEP_A = 0.15
BOND = 1.25  # sums of covalent radii


@dataclass(frozen=True, slots=True)
class Probe:
    """Forces (n, 3) eV/Å at plus and minus ``coordinate`` (Å sqrt(amu)) along the mode of row
    ``mode``.
    """

    mode: int
    coordinate: float
    plus: FloatArray
    minus: FloatArray


def modes_to_json(modes: Modes) -> Json:
    return {
        "wavenumbers_per_cm": np.round(modes.wavenumbers_per_cm, 3).tolist(),
        "vectors": np.round(modes.vectors, 6).tolist(),
        "imaginary": modes.imaginary,
    }


def modes_from_json(data: Json) -> Modes:
    omega = np.asarray(data["wavenumbers_per_cm"], dtype=float) * PER_CM
    return Modes(
        omega,
        np.asarray(data["vectors"], dtype=float).reshape(len(omega), -1, 3),
        int(data["imaginary"]),
    )


def compared_modes(modes: Modes, count: int) -> list[int]:
    """Rows of at most ``count`` modes, evenly from the softest to the stiffest: the last alone when
    it is one.
    """
    number = len(modes.omega)
    if count >= number:
        return list(range(number))
    return sorted({round(place) for place in np.linspace(number - 1, 0, count)})


def displaced(atoms: Atoms, modes: Modes, mode: int) -> tuple[Atoms, Atoms, float]:
    """The molecule at plus and minus a normal coordinate, and that coordinate (Å sqrt(amu)).

    It costs 0.02 eV by the surrogate, but moves no atom by more than 0.1 Å.
    """
    direction = modes.vectors[mode] / np.sqrt(atoms.get_masses())[:, None]
    coordinate = float(np.sqrt(2 * PROBE_ENERGY_EV) / modes.omega[mode])
    coordinate = min(coordinate, MOST_MOVED_A / float(np.linalg.norm(direction, axis=1).max()))
    plus, minus = bare(atoms), bare(atoms)
    plus.positions += coordinate * direction
    minus.positions -= coordinate * direction
    return plus, minus, coordinate


def newton_step_a(atoms: Atoms, forces: FloatArray, modes: Modes) -> FloatArray:
    """Displacements (n, 3) in Å to the minimum that ``forces`` (n, 3) eV/Å and the modes foresee,
    at most 0.15 Å.
    """
    root = np.sqrt(atoms.get_masses())[:, None]
    along = np.tensordot(modes.vectors, np.asarray(forces) / root, axes=2)
    coordinates = along / np.maximum(modes.omega, SOFTEST_PER_CM * PER_CM) ** 2
    step = np.tensordot(coordinates, modes.vectors, axes=1) / root
    longest = float(np.linalg.norm(step, axis=1).max())
    return np.asarray(step * min(1.0, LONGEST_STEP_A / longest) if longest > 0 else step)


def at_minimum(atoms: Atoms, forces: FloatArray, modes: Modes) -> Atoms:
    """The molecule after one Newton step, in the same box."""
    moved = bare(atoms)
    moved.positions += newton_step_a(atoms, forces, modes)
    return moved


def wavenumbers_per_cm(atoms: Atoms, modes: Modes, probes: Sequence[Probe]) -> FloatArray:
    """Wavenumbers (m,) in 1/cm, rising, within the space that the probed modes span; negative:
    unstable.
    """
    root = np.sqrt(atoms.get_masses())[:, None]
    vectors = modes.vectors[[probe.mode for probe in probes]]
    rows = [
        np.tensordot(vectors, (probe.minus - probe.plus) / root, axes=2) / (2 * probe.coordinate)
        for probe in probes
    ]
    matrix = np.array(rows).reshape(len(probes), len(probes))
    squares = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    return np.asarray(np.sign(squares) * np.sqrt(np.abs(squares)) / PER_CM)


def geometry_rmsd_a(one: Atoms, other: Atoms) -> float:
    """Root mean square distance (Å) of the atoms after the best translation and rotation (Kabsch,
    1976).
    """
    first = one.positions - one.positions.mean(axis=0)
    second = other.positions - other.positions.mean(axis=0)
    if len(one) == 1:
        return 0.0
    turned = (
        Rotation.align_vectors(first, second)[0].apply(second)
        if np.ptp(second, axis=0).any()
        else second
    )
    return float(np.sqrt(((first - turned) ** 2).sum(axis=1).mean()))


def bonds(atoms: Atoms) -> list[tuple[int, int]]:
    """Pairs of atoms nearer than 1.25 sums of covalent radii, the first index the smaller one."""
    radii = covalent_radii[atoms.numbers]
    near = atoms.get_all_distances() < BOND * (radii[:, None] + radii[None])
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(near, k=1))]


def angles_deg(atoms: Atoms, pairs: Sequence[tuple[int, int]]) -> FloatArray:
    """Angles (k,) in degrees between every two of the bonds ``pairs`` that share an atom."""
    ends: dict[int, list[int]] = {}
    for i, j in pairs:
        ends.setdefault(i, []).append(j)
        ends.setdefault(j, []).append(i)
    arms = [
        (atoms.positions[a] - atoms.positions[centre], atoms.positions[b] - atoms.positions[centre])
        for centre, others in sorted(ends.items())
        for place, a in enumerate(others)
        for b in others[place + 1 :]
    ]
    if not arms:
        return np.empty(0)
    return np.asarray(
        get_angles(np.array([arm[0] for arm in arms]), np.array([arm[1] for arm in arms]))
    )
