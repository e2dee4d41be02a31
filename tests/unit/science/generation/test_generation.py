"""Strategies: deterministic, physical, with families that make an honest split."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science import generation
from mlip_autopipec.science.contacts import closest_contact
from mlip_autopipec.science.generation import dynamics
from mlip_autopipec.science.generation.context import (
    Context,
    deformed,
    random_strain,
    rattled,
    supercell,
)
from mlip_autopipec.science.generation.melt_quench import LIQUID_RATIO, lindemann_ratio

SILICON = Candidate(bulk("Si", a=5.46), Provenance("start", "reference:Si"))
COPPER = Candidate(bulk("Cu", a=3.59), Provenance("start", "reference:Cu"))


def _context(start: Candidate = COPPER, **changes: object) -> Context:
    calculator = EMT() if start is COPPER else None
    fractions = {start.atoms.get_chemical_symbols()[0]: 1.0}
    context = Context(fractions, (start,), calculator, (300.0, 900.0), max_atoms=32, seed=11)
    return replace(context, **changes)  # type: ignore[arg-type]


def _make(
    name: str, context: Context, count: int, seed: int = 0, **options: float
) -> list[Candidate]:
    return generation.strategy(name)(context, count, np.random.default_rng(seed), **options)


def test_an_unknown_strategy_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'melt_quench'"):
        generation.strategy("melt_quensh")


def test_groups_of_two_batches_never_collide() -> None:
    for name in ("strain", "rattle", "vacancy"):
        one = {item.provenance.group for item in _make(name, _context(seed=1), 6)}
        two = {item.provenance.group for item in _make(name, _context(seed=2), 6)}
        assert not one & two


# --- moves
# --------------------------------------------------------------------------------------------------


def test_supercells_are_the_same_crystal_at_the_wanted_size() -> None:
    for wanted, atoms in [(2, 2), (8, 8), (16, 16), (32, 32), (64, 64)]:
        cell = supercell(SILICON.atoms, wanted)
        assert len(cell) == atoms
        assert cell.get_volume() / atoms == pytest.approx(SILICON.atoms.get_volume() / 2)
        assert cell.get_all_distances(mic=True)[0][1:].min() == pytest.approx(5.46 * 3**0.5 / 4)
    # orthogonal, the long axis last: the fewest k-points
    assert supercell(SILICON.atoms, 16).cell.cellpar() == pytest.approx(
        [5.46, 5.46, 10.92, 90, 90, 90]
    )


def test_a_cell_larger_than_the_limit_is_left_as_it_is() -> None:
    large = bulk("Si", cubic=True) * (2, 1, 1)
    large.rattle(0.1, seed=1)
    assert len(supercell(large, 8)) == 16


def test_strain_changes_volume_and_shape_as_asked() -> None:
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(300):
        strain = random_strain(rng, (-0.10, 0.12), 0.08)
        assert strain == pytest.approx(strain.T)
        deviatoric = strain - np.eye(3) * np.trace(strain) / 3
        assert np.abs(deviatoric).max() <= 0.08 + 1e-9
        cell = deformed(SILICON.atoms, strain)
        assert cell.cell.array == pytest.approx(SILICON.atoms.cell.array @ (np.eye(3) + strain))
        assert cell.get_scaled_positions() == pytest.approx(SILICON.atoms.get_scaled_positions())
        changes.append((1 + np.trace(strain) / 3) ** 3 - 1)
    assert min(changes) < -0.08 and max(changes) > 0.10
    assert min(changes) > -0.1001 and max(changes) < 0.1201


def test_rattle_has_the_asked_width_and_keeps_the_centre() -> None:
    cell = bulk("Si", cubic=True) * (3, 3, 3)
    step = rattled(cell, 0.05, np.random.default_rng(0)).positions - cell.positions
    assert step.std() == pytest.approx(0.05, rel=0.05)
    assert step.mean(axis=0) == pytest.approx(0, abs=1e-10)


def test_a_violent_rattle_is_tamed_before_atoms_touch() -> None:
    cell = bulk("Si", cubic=True)
    for seed in range(20):
        assert closest_contact(rattled(cell, 0.6, np.random.default_rng(seed))) >= 0.75


# --- strategies
# --------------------------------------------------------------------------------------------------


def test_prototypes_are_the_relaxed_crystal_and_its_equation_of_state() -> None:
    made = _make("prototypes", _context(SILICON), 8)
    assert all(item.forced and len(item.atoms) == 2 for item in made)
    relative = [item.atoms.get_volume() / SILICON.atoms.get_volume() - 1 for item in made]
    assert relative[0] == pytest.approx(0, abs=1e-9)
    assert min(relative) == pytest.approx(-0.12) and max(relative) == pytest.approx(0.15)
    assert len({round(value, 4) for value in relative}) == 8
    assert len({item.provenance.group for item in made}) == 8


def test_a_strained_cell_and_its_copies_are_one_family() -> None:
    families = defaultdict(list)
    for item in _make("strain", _context(SILICON), 20):
        families[item.provenance.group].append(item)
    assert {len(members) for members in families.values()} == {2}
    for a, b in families.values():
        assert a.atoms.cell.array == pytest.approx(b.atoms.cell.array)
        assert not np.allclose(a.atoms.positions, b.atoms.positions)
    assert {len(members[0].atoms) for members in families.values()} == {4, 8}


def test_rattled_cells_span_amplitudes_and_sizes() -> None:
    made = _make("rattle", _context(SILICON), 40)
    sigmas = [item.provenance.parameters["rattle_a"] for item in made]
    limit = 0.06 * 5.43 * 3**0.5 / 4  # Lindemann: a larger one is no crystal
    assert min(sigmas) < 0.05 and 0.9 * limit < max(sigmas) < 1.05 * limit
    assert {len(item.atoms) for item in made} == {8, 16}
    assert len({item.provenance.group for item in made}) == 40


def test_a_vacancy_misses_one_atom_and_its_neighbours_moved() -> None:
    made = _make("vacancy", _context(), 12)
    assert {len(item.atoms) for item in made} == {15}
    families = {item.provenance.group: item for item in made}
    assert len(families) == 4
    still = _make("vacancy", _context(), 1, sigma_min_a=0.0, sigma_max_a=0.0, relax_steps=0)[
        0
    ].atoms
    relaxed = _make("vacancy", _context(), 1, sigma_min_a=0.0, sigma_max_a=0.0)[0].atoms
    for atoms in (still, relaxed):
        atoms.calc = EMT()
    assert relaxed.get_potential_energy() < still.get_potential_energy() - 1e-3


def test_vacancies_give_up_on_cells_that_dft_cannot_take() -> None:
    large = bulk("Cu", cubic=True) * (3, 2, 2)
    large.rattle(0.05, seed=0)
    start = Candidate(large, Provenance("file", "file:0"))
    assert _make("vacancy", _context(start), 3) == []


def test_melt_quench_melts_and_then_freezes() -> None:
    told: list[float] = []
    made = _make("melt_quench", _context(progress=told.append), 24, melt_k=5000.0, every_steps=8)
    stages = [item.provenance.parameters["stage"] for item in made]
    assert set(stages) == {"liquid", "undercooled", "amorphous"}
    assert {item.provenance.parameters["melted"] for item in made} == {True}
    assert {len(item.atoms) for item in made} == {16, 8}
    groups = defaultdict(list)
    for item in made:
        groups[item.provenance.group].append(item)
    assert len(groups) == 12
    for members in groups.values():
        assert len({str(member.provenance.parameters) for member in members}) == 1
        assert len(members) == 2

    def excess(stage: str) -> float:
        energies = []
        for item, name in zip(made, stages, strict=True):
            if name == stage:
                atoms = item.atoms.copy()
                atoms.calc = EMT()
                energies.append(atoms.get_potential_energy() / len(atoms))
        return float(np.mean(energies))

    crystal = COPPER.atoms.copy()
    crystal.calc = EMT()
    assert excess("liquid") > excess("amorphous") + 0.05
    assert excess("amorphous") > crystal.get_potential_energy() + 0.02  # no crystal came back
    assert told and told == sorted(told) and told[-1] <= 1.0


def test_few_frames_of_a_melt_are_liquid_and_cost_one_short_run() -> None:
    made = _make("melt_quench", _context(), 2, melt_k=5000.0, every_steps=8)
    assert [item.provenance.parameters["stage"] for item in made] == ["liquid", "liquid"]
    assert len({item.provenance.group for item in made}) == 2  # two temperatures and volumes
    assert {len(item.atoms) for item in made} == {8}


def test_the_lindemann_ratio_ignores_drift() -> None:
    sites = np.random.default_rng(0).uniform(size=(30, 3)) * 8
    assert lindemann_ratio(sites + np.array([1.0, 2.0, 3.0]), sites, 2.5) == pytest.approx(0)
    step = np.zeros_like(sites)
    step[:15, 0], step[15:, 0] = 2.0, -2.0
    assert lindemann_ratio(sites + step, sites, 2.5) == pytest.approx(0.8)
    assert LIQUID_RATIO > 0.25  # a hot small crystal is not called liquid


def test_thermal_frames_are_hotter_where_asked() -> None:
    made = _make("thermal", _context(), 24, every_steps=10)
    by_temperature = defaultdict(list)
    for item in made:
        atoms = item.atoms.copy()
        atoms.calc = EMT()
        by_temperature[item.provenance.parameters["temperature_k"]].append(
            np.sqrt((atoms.get_forces() ** 2).mean())
        )
    assert set(by_temperature) == {300.0, 900.0}
    assert np.mean(by_temperature[900.0]) > 1.3 * np.mean(by_temperature[300.0])
    hotter = _make("thermal", _context(), 6, every_steps=2, hottest_k=1080.0)
    told = [item.provenance.parameters["temperature_k"] for item in hotter]
    assert told == [1080.0, 1080.0, 900.0, 900.0, 300.0, 300.0]


def test_frames_of_md_are_decorrelated_by_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most two of a run, half a picosecond apart whatever the time step is; the second is not
    the first one again.
    """
    steps: list[int] = []
    monkeypatch.setattr(
        dynamics.Run, "steps", lambda run, count, temperature_k: steps.append(count) is None
    )
    made = _make("thermal", _context(), 5)
    groups = Counter(item.provenance.group for item in made)
    assert sorted(groups.values()) == [1, 2, 2]
    for symbol, timestep_fs in (("Cu", 2.0), ("C", 1.0), ("H", 0.5)):
        assert dynamics.steps_in(Atoms(symbol), 0.5) == 500 / timestep_fs
    assert {2.0 * count for count in steps} == {500.0}  # fs, before the first frame and between two


def test_frames_of_a_run_differ_as_much_as_frames_of_two() -> None:
    made = _make("thermal", _context(), 8, max_atoms=8)

    def apart(one: Candidate, other: Candidate) -> float:
        step = one.atoms.get_scaled_positions() - other.atoms.get_scaled_positions()
        step -= np.round(step)
        return float(np.sqrt(((step - step.mean(axis=0)) ** 2).mean()))

    hot = [item for item in made if item.provenance.parameters["temperature_k"] == 900.0]
    within = [apart(hot[0], hot[1]), apart(hot[2], hot[3])]
    across = [apart(hot[0], hot[2]), apart(hot[1], hot[3])]
    assert np.mean(within) > 0.5 * np.mean(across)


def test_molecular_dynamics_needs_a_surrogate() -> None:
    needy = [name for name in generation.STRATEGIES if generation.needs(name).calculator]
    assert needy == ["normal_modes", "melt_quench", "thermal"]
    for name in needy:
        with pytest.raises(ValueError, match="surrogate"):
            _make(name, _context(SILICON), 4)


def test_a_molecule_keeps_its_box() -> None:
    water = molecule("H2O", vacuum=5.0)
    assert not water.pbc.any()
    assert isinstance(supercell(water, 32), Atoms)
    assert len(supercell(water, 32)) == 3
