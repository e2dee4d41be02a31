"""Normal modes and guarded rattling: the amplitudes of a temperature, and what a harmonic system
must show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science import generation
from mlip_autopipec.science.contacts import BUILT_LIMIT, closest_contact
from mlip_autopipec.science.generation.context import Context
from mlip_autopipec.science.generation.mc_rattle import mc_rattled
from mlip_autopipec.science.generation.normal_modes import drawn, hessian, normal_modes

SPRING_EV_PER_A2 = 12.0


class Springs(Calculator):
    """A spring along each bond of the reference (nearest neighbours), to the first order: exactly
    harmonic.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, reference: Atoms, bond_a: float) -> None:
        super().__init__()
        self.reference = reference.positions.copy()
        vectors = reference.get_all_distances(mic=bool(reference.pbc.any()), vector=True)
        lengths = np.linalg.norm(vectors, axis=2)
        self.pairs = np.argwhere((lengths > 0) & (lengths < bond_a))
        self.pairs = self.pairs[self.pairs[:, 0] < self.pairs[:, 1]]
        self.along = np.array([vectors[i, j] / lengths[i, j] for i, j in self.pairs]).reshape(-1, 3)

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        moved = self.atoms.positions - self.reference
        i, j = self.pairs.T
        stretch = ((moved[j] - moved[i]) * self.along).sum(axis=1)
        forces = np.zeros_like(moved)
        np.add.at(forces, i, SPRING_EV_PER_A2 * stretch[:, None] * self.along)
        np.add.at(forces, j, -SPRING_EV_PER_A2 * stretch[:, None] * self.along)
        self.results = {
            "energy": 0.5 * SPRING_EV_PER_A2 * float((stretch**2).sum()),
            "forces": forces,
        }


def _tetrahedron() -> Atoms:
    """Rigid under springs between all its atoms: 4 atoms, 6 vibrations, different masses."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.75
    return Atoms("SiCOH", positions=corners)


def test_a_diatomic_vibrates_at_the_frequency_of_its_reduced_mass() -> None:
    dimer = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.13]])
    modes = normal_modes(dimer, Springs(dimer, 1.5))
    reduced = 1 / (1 / dimer.get_masses()).sum()
    assert modes.omega == pytest.approx([np.sqrt(SPRING_EV_PER_A2 / reduced)])
    # 12 eV/Å^2 and 6.86 amu: 690 1/cm, from sqrt(k / mu) / (2 pi c) in SI units.
    expected = np.sqrt(SPRING_EV_PER_A2 * 16.0218 / (reduced * 1.66054e-27)) / (
        2 * np.pi * 2.99792e10
    )
    assert modes.wavenumbers_per_cm == pytest.approx([expected], rel=1e-4)


def test_translations_and_rotations_are_left_out() -> None:
    cases = [
        (Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.13]]), 1),
        (_tetrahedron(), 6),
        (Atoms("Cu"), 0),
    ]
    for atoms, expected in cases:
        assert len(normal_modes(atoms, Springs(atoms, 2.5)).omega) == expected
    ethane = molecule("C2H6")
    modes = normal_modes(ethane, EMT())
    assert len(modes.omega) + modes.imaginary == 18
    # What is left neither moves the centre of mass nor turns the molecule.
    root = np.sqrt(ethane.get_masses())[:, None]
    arms = ethane.positions - ethane.get_center_of_mass()
    for vector in modes.vectors:
        assert np.abs((root * vector).sum(axis=0)).max() < 1e-8
        assert np.abs(np.cross(arms, root * vector).sum(axis=0)).max() < 1e-6
    crystal = bulk("Cu", a=3.59, cubic=True)
    assert len(normal_modes(crystal, EMT()).omega) == 3 * 4 - 3


@pytest.mark.parametrize("temperature_k", [150.0, 600.0])
def test_equipartition(temperature_k: float) -> None:
    """Every mode holds kB T / 2 of potential energy on average, whatever its frequency and its
    masses.
    """
    atoms = _tetrahedron()
    springs = Springs(atoms, 2.5)
    modes = normal_modes(atoms, springs)
    rng = np.random.default_rng(0)
    energies, coordinates = [], []
    for _ in range(800):
        moved, scale = drawn(atoms, modes, temperature_k, rng)
        assert scale == 1.0
        moved.calc = springs
        energies.append(moved.get_potential_energy())
        weighted = (moved.positions - atoms.positions) * np.sqrt(atoms.get_masses())[:, None]
        coordinates.append(np.tensordot(modes.vectors, weighted, axes=2))
    half = units.kB * temperature_k / 2
    assert np.mean(energies) == pytest.approx(len(modes.omega) * half, rel=0.08)
    each = 0.5 * modes.omega**2 * np.mean(np.square(coordinates), axis=0)
    assert each == pytest.approx(np.full(6, half), rel=0.2)


def test_a_crystal_at_low_temperature_has_the_harmonic_energy() -> None:
    """The real energy, with the Hessian from one displaced atom and symmetry: 3N - 3 times kB T /
    2.
    """
    context = Context({"Cu": 1.0}, (_relaxed_copper(),), EMT(), (60.0,), 32, seed=1)
    made = generation.strategy("normal_modes")(
        context, 40, np.random.default_rng(0), max_atoms=16, volume_spread=0.0
    )
    perfect = _relaxed_copper().atoms.copy()
    perfect.calc = EMT()
    lowest = perfect.get_potential_energy() / len(perfect)
    above = []
    for item in made:
        item.atoms.calc = EMT()
        above.append(item.atoms.get_potential_energy() - 16 * lowest)
        assert item.provenance.parameters["modes"] == 45
    assert np.mean(above) == pytest.approx(45 * units.kB * 60 / 2, rel=0.1)


def _relaxed_copper() -> Candidate:
    return Candidate(bulk("Cu", a=3.59), Provenance("start", "Cu"))


def test_symmetry_gives_the_hessian_of_plain_differences() -> None:
    cell = bulk("Cu", a=3.6, cubic=True)
    cell.set_cell(cell.cell.array * np.array([1.0, 1.0, 1.05]), scale_atoms=True)  # tetragonal
    found = hessian(cell, EMT())
    plain = np.zeros((12, 12))
    for index in range(12):
        for sign in (1, -1):
            moved = cell.copy()
            moved.positions.flat[index] += 0.01 * sign
            moved.calc = EMT()
            plain[index] -= sign * moved.get_forces().ravel() / 0.02
    assert np.abs(found - found.T).max() < 1e-9
    assert np.abs(found - plain).max() < 2e-3 * np.abs(plain).max()
    assert (
        np.abs(found.reshape(12, 4, 3).sum(axis=1)).max() < 1e-9
    )  # moving all atoms costs nothing


def test_temperatures_take_turns_and_amplitudes_follow() -> None:
    context = Context({"Cu": 1.0}, (_relaxed_copper(),), EMT(), (300.0,), 32, seed=1)
    options = {
        "temperature_min_k": 50.0,
        "temperature_max_k": 800.0,
        "levels": 3,
        "volume_spread": 0.0,
    }
    made = generation.strategy("normal_modes")(
        context, 60, np.random.default_rng(0), max_atoms=8, **options
    )
    forces: dict[float, list[float]] = {}
    for item in made:
        item.atoms.calc = EMT()
        forces.setdefault(item.provenance.parameters["temperature_k"], []).append(
            (item.atoms.get_forces() ** 2).mean()
        )
    assert sorted(forces) == [50.0, 200.0, 800.0]
    assert np.mean(forces[200.0]) / np.mean(forces[50.0]) == pytest.approx(4, rel=0.4)


def test_soft_and_unstable_modes_do_not_tear_the_structure_apart() -> None:
    square = Atoms(
        "Cu4", positions=[[0, 0, 0], [2.4, 0, 0], [2.4, 2.4, 0], [0, 2.4, 0]]
    )  # a saddle of EMT
    modes = normal_modes(square, EMT())
    assert modes.imaginary >= 1
    moved, _ = drawn(square, modes, 300.0, np.random.default_rng(0))
    assert np.abs(moved.positions - square.positions).max() < 1.0


# --- guarded rattle
# -------------------------------------------------------------------------------------------------


def test_a_free_atom_goes_as_far_as_asked_and_a_crowded_one_does_not_touch() -> None:
    free = Atoms(
        "Cu27", positions=np.stack(np.meshgrid(*[np.arange(3) * 8.0] * 3), -1).reshape(-1, 3)
    )
    steps = [
        mc_rattled(free, 0.3, np.random.default_rng(seed)).positions - free.positions
        for seed in range(10)
    ]
    assert np.std(steps) == pytest.approx(0.3, rel=0.05)
    crystal = bulk("Si", a=5.43, cubic=True)
    for seed in range(10):
        moved = mc_rattled(crystal, 0.5, np.random.default_rng(seed))
        assert closest_contact(moved) >= BUILT_LIMIT
        assert moved.positions.mean(axis=0) == pytest.approx(crystal.positions.mean(axis=0))
        assert 0.1 < np.sqrt(((moved.positions - crystal.positions) ** 2).mean()) < 0.5


def test_guarded_displacements_of_equal_size_leave_more_room() -> None:
    crystal = bulk("Si", a=5.43, cubic=True)
    contacts: dict[str, list[float]] = {"plain": [], "guarded": []}
    for seed in range(15):
        guarded = mc_rattled(crystal, 0.6, np.random.default_rng(seed))
        size = np.sqrt(((guarded.positions - crystal.positions) ** 2).mean())
        plain = crystal.copy()
        plain.positions += np.random.default_rng(seed).normal(size=(8, 3)) * size
        contacts["guarded"].append(closest_contact(guarded))
        contacts["plain"].append(closest_contact(plain))
    assert min(contacts["guarded"]) >= BUILT_LIMIT > np.quantile(contacts["plain"], 0.25)
