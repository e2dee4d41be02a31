"""Displacements along normal modes of molecules and crystals, with the amplitudes of a temperature.

Classical statistics of a harmonic system: each mode's coordinate is normal with variance kB T / ω²
(equipartition: kB T / 2 of potential energy per mode). The Hessian is the surrogate's, by finite
differences of its forces. A crystal's modes are those of a supercell at Gamma, which are all
phonons that the supercell holds.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.contacts import closest_contact
from mlip_autopipec.science.generation.context import (
    Context,
    FloatArray,
    contact_limit,
    deformed,
    needs_surrogate,
    random_strain,
    supercell,
)
from mlip_autopipec.science.lattices import bare

__all__ = ["PER_CM", "Modes", "drawn", "generate", "hessian", "normal_modes", "temperatures_k"]

# Of the finite differences: well above the surrogate's noise, well within the harmonic range.
STEP_A = 0.01
# Soft modes (internal rotations, long acoustic waves) would move atoms out of the harmonic region:
# they are given the amplitude of this wavenumber.
SOFTEST_PER_CM = 50.0
# Draws before the undisplaced structure is taken.
TRIES = 20
PER_CM = units.invcm / (
    units._hbar * units.J * units.s
)  # angular frequency of 1 / cm in ASE's unit of 1 / time


@dataclass(frozen=True, slots=True)
class Modes:
    """``omega`` (m,): angular frequencies, ASE units, positive; ``vectors`` (m, n, 3): orthonormal,
    mass-weighted.

    ``imaginary``: number of unstable modes that were left out.
    """

    omega: FloatArray
    vectors: FloatArray
    imaginary: int

    @property
    def wavenumbers_per_cm(self) -> FloatArray:
        return np.asarray(self.omega / PER_CM)


@needs_surrogate(evaluations=20)
def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 16,
    temperature_min_k: float = 0.0,
    temperature_max_k: float = 0.0,
    levels: int = 3,
    volume_spread: float = 0.01,
    **_: object,
) -> list[Candidate]:
    """Draws from the modes of each start (a crystal in a supercell of ``max_atoms``), temperatures
    and starts in turn.

    Temperatures are the context's, or ``levels`` of them between ``temperature_min_k`` and
    ``temperature_max_k``. A crystal's volume varies by ``volume_spread`` around that of the modes.
    Each draw is a group of its own. Starts without a vibration (single atoms) give nothing. Raises
    ValueError without a calculator.
    """
    if context.calculator is None:
        raise ValueError("strategy 'normal_modes' needs a surrogate that knows every element")
    temperatures = temperatures_k(context, temperature_min_k, temperature_max_k, levels)
    known: list[tuple[Atoms, Modes, str]] = []
    for start in context.starts:
        cell = supercell(start.atoms, min(max_atoms, context.max_atoms))
        modes = normal_modes(cell, context.calculator) if len(cell) <= context.max_atoms else None
        if modes is not None and len(modes.omega):
            known.append((cell, modes, start.provenance.group))
    made: list[Candidate] = []
    # Every temperature of the first start, then of the next.
    pairs = list(itertools.product(known, temperatures))
    for index in range(count if pairs else 0):
        (cell, modes, name), temperature = pairs[index % len(pairs)]
        moved, scale = drawn(cell, modes, temperature, rng)
        if cell.pbc.any():
            moved = deformed(moved, random_strain(rng, (-volume_spread, volume_spread), 0.0))
        parameters = {
            "temperature_k": temperature,
            "atoms": len(cell),
            "modes": len(modes.omega),
            "imaginary_modes": modes.imaginary,
            "amplitude_scale": round(scale, 6),
        }
        provenance = Provenance(
            "normal_modes", f"normal_modes:{context.seed}:{index}", parameters, name, context.seed
        )
        made.append(Candidate(moved, provenance))
        context.progress((index + 1) / count)
    return made


def temperatures_k(context: Context, lowest: float, highest: float, levels: int) -> list[float]:
    """The context's temperatures, or ``levels`` in geometric steps from ``lowest`` to ``highest``
    where given.
    """
    if lowest > 0 and highest >= lowest:
        return [round(float(t), 1) for t in np.geomspace(lowest, highest, max(1, levels))]
    return sorted(set(context.temperatures_k))


def drawn(
    atoms: Atoms, modes: Modes, temperature_k: float, rng: np.random.Generator
) -> tuple[Atoms, float]:
    """One draw at ``temperature_k`` and the factor its amplitudes were scaled by (1 unless atoms
    came too near).

    Q_k = sqrt(kB T) / ω_k x normal deviate; displacement of atom i: sum over k of Q_k e_ki /
    sqrt(m_i).
    """
    scale, limit = 1.0, contact_limit(atoms)
    masses = atoms.get_masses()
    for _ in range(TRIES):
        omega = np.maximum(modes.omega, SOFTEST_PER_CM * PER_CM)
        amplitudes = scale * np.sqrt(units.kB * temperature_k) / omega * rng.normal(size=len(omega))
        moved = bare(atoms)
        moved.positions += (
            np.tensordot(amplitudes, modes.vectors, axes=1) / np.sqrt(masses)[:, None]
        )
        if closest_contact(moved) >= limit:
            return moved, scale
        scale *= 0.9
    return bare(atoms), 0.0


def normal_modes(atoms: Atoms, calculator: Calculator) -> Modes:
    """Vibrations of ``atoms``, which should be relaxed: translations, a molecule's rotations and
    unstable modes out.
    """
    masses = np.repeat(atoms.get_masses(), 3)
    dynamical = hessian(atoms, calculator) / np.sqrt(np.outer(masses, masses))
    free = _rigid_motions(atoms)
    # Rigid motions are projected out, then recognised by their place at the end of an orthonormal
    # basis.
    basis = np.linalg.qr(np.hstack([free, np.eye(len(masses))]))[0][:, free.shape[1] : len(masses)]
    squares, vectors = np.linalg.eigh(basis.T @ dynamical @ basis)
    stable = squares > (1.0 * PER_CM) ** 2
    kept = (basis @ vectors[:, stable]).T.reshape(-1, len(atoms), 3)
    return Modes(np.sqrt(squares[stable]), kept, int((~stable).sum()))


def _rigid_motions(atoms: Atoms) -> FloatArray:
    """Orthonormal mass-weighted translations (and rotations where nothing is periodic), as columns
    (3n, 3..6).
    """
    root = np.sqrt(atoms.get_masses())[:, None]
    axes = np.eye(3)
    motions = [root * axis for axis in axes]
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.get_center_of_mass()
        motions += [root * np.cross(axis, arms) for axis in axes]
    columns = np.array([motion.ravel() for motion in motions]).T
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    # A linear molecule turns about two axes only, an atom about none.
    return np.asarray(left[:, sizes > 1e-3 * sizes.max()])


def hessian(atoms: Atoms, calculator: Calculator, *, step_a: float = STEP_A) -> FloatArray:
    """Second derivatives (3n, 3n) of the energy in eV/Å², central differences of forces, symmetric.

    Only one atom of each orbit of the crystal's symmetry is displaced; the rest follows by
    rotation. Each row obeys the acoustic sum rule.
    """
    n = len(atoms)
    moving = bare(atoms)
    moving.calc = calculator
    blocks = np.zeros((n, 3, n, 3))
    done: set[int] = set()
    operations = _symmetry(atoms)
    for atom in range(n):
        if atom in done:
            continue
        rows = np.zeros((3, n, 3))
        for axis in range(3):
            forces = []
            for sign in (1, -1):
                moving.positions = atoms.positions
                moving.positions[atom, axis] += sign * step_a
                forces.append(moving.get_forces())
            rows[axis] = (forces[1] - forces[0]) / (2 * step_a)
        for rotation, images in operations:
            if images[atom] not in done:
                done.add(int(images[atom]))
                blocks[images[atom]][:, images] = np.einsum(
                    "ac,cjd,bd->ajb", rotation, rows, rotation
                )
    matrix = blocks.reshape(3 * n, 3 * n)
    matrix = (matrix + matrix.T) / 2
    blocks = matrix.reshape(n, 3, n, 3)
    for atom in range(n):
        blocks[atom, :, atom] -= blocks[atom].sum(axis=1)
    return np.asarray(blocks.reshape(3 * n, 3 * n))


def _symmetry(atoms: Atoms, symprec_a: float = 1e-3) -> list[tuple[FloatArray, Any]]:
    """(Cartesian rotation (3, 3), image of each atom (n,)) of every operation; the identity comes
    first.
    """
    identity = (np.eye(3), np.arange(len(atoms)))
    if not atoms.pbc.all():
        return [identity]
    found = symmetry.operations(atoms, symprec_a)
    if found is None:
        return [identity]
    scaled = atoms.get_scaled_positions(wrap=False)
    lattice = atoms.cell.array.T
    operations = [identity]
    for rotation, shift in zip(*found, strict=True):
        gaps = (scaled @ rotation.T + shift)[:, None] - scaled[None]
        gaps = (gaps - np.round(gaps)) @ atoms.cell.array
        images = (gaps**2).sum(axis=2).argmin(axis=1)
        operations.append((lattice @ rotation @ np.linalg.inv(lattice), images))
    return operations
