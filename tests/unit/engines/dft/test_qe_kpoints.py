"""K-points in pw.in: different cells of one crystal are sampled alike, and the stars of a mesh."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk, make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st
from pw_input_for_tests import CONVENTIONAL, PRIMITIVE, method, rattled

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.quantum_espresso.inputs import grid_of
from mlip_autopipec.science.generation.context import deformed, random_strain
from mlip_autopipec.science.kpoints import KPointGrid, choose_grid, is_hexagonal, shortest_vector_a

HEXAGONAL = bulk("Mg", "hcp", a=3.2, c=5.2)
FLAT, FULL, IN_PLANE, ALONG = (0, 0, 0), (1, 1, 1), (1, 1, 0), (0, 0, 1)


@pytest.mark.parametrize(
    ("atoms", "divisions", "shift", "closed"),
    [
        (PRIMITIVE, (4, 4, 4), FLAT, True),
        (PRIMITIVE, (3, 3, 3), FLAT, True),
        (PRIMITIVE, (4, 4, 4), FULL, False),
        (PRIMITIVE, (3, 3, 3), FULL, False),
        (PRIMITIVE, (4, 4, 3), FLAT, False),
        (CONVENTIONAL, (4, 4, 4), FULL, True),
        (CONVENTIONAL, (4, 4, 3), FULL, False),
        (bulk("Fe"), (5, 5, 5), FULL, True),
        (HEXAGONAL, (6, 6, 4), FLAT, True),
        (HEXAGONAL, (6, 6, 4), ALONG, True),
        (HEXAGONAL, (6, 6, 4), IN_PLANE, False),
        (HEXAGONAL, (6, 6, 4), FULL, False),
        (Atoms("Si", cell=[3, 4, 5], pbc=True), (3, 2, 4), FULL, True),
    ],
)
def test_a_mesh_is_closed_when_rotations_add_no_point(
    atoms: Atoms, divisions: tuple[int, int, int], shift: tuple[int, int, int], closed: bool
) -> None:
    grid = KPointGrid(divisions, shift)
    rotations = spglib.get_symmetry((atoms.cell.array, [[0, 0, 0]], [1]))["rotations"]
    assert grid.closed_under(rotations) is closed
    stars = grid.irreducible(rotations, np.eye(3, dtype=int)[None])
    assert (len(stars) == len(grid.points())) is closed


@pytest.mark.parametrize(
    ("atoms", "n", "points"),
    # As many as pw.x 6.7 says; ten is the set of Chadi and Cohen (Phys. Rev. B 8, 5747, 1973).
    [(PRIMITIVE, 4, 10), (PRIMITIVE, 5, 19), (bulk("Al"), 9, 85)],
)
def test_stars_of_a_shifted_mesh_are_those_that_pw_counts(
    atoms: Atoms, n: int, points: int
) -> None:
    rotations = spglib.get_symmetry((atoms.cell.array, [[0, 0, 0]], [1]))["rotations"]
    grid = KPointGrid((n, n, n), FULL)
    stars = grid.irreducible(rotations)
    assert len(stars) == points == len(grid.irreducible(rotations, rotations))
    assert sum(weight for _, weight in stars) == grid.size


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(
        [PRIMITIVE, CONVENTIONAL, HEXAGONAL, bulk("Fe"), bulk("Sn", "bct", a=3.0, c=4.0)]
    ),
    st.tuples(*[st.integers(1, 4)] * 3),
    st.tuples(*[st.integers(0, 1)] * 3),
    st.booleans(),
)
def test_closed_means_that_every_rotated_point_is_a_point(
    atoms: Atoms, divisions: tuple[int, int, int], shift: tuple[int, int, int], thinned: bool
) -> None:
    if thinned:
        divisions, shift = (2 * divisions[0], 2 * divisions[1], 2 * divisions[2]), (shift[0],) * 3
    grid = KPointGrid(divisions, shift, thinned)
    rotations = spglib.get_symmetry((atoms.cell.array, [[0, 0, 0]], [1]))["rotations"]
    half = np.array([point for point, _ in grid.points()])
    points = {
        tuple(row) for row in np.round(np.vstack([half, -half]) % 1.0 * 840).astype(int) % 840
    }
    turned = (
        np.round(np.concatenate([half @ rotation for rotation in rotations]) % 1.0 * 840).astype(
            int
        )
        % 840
    )
    assert grid.closed_under(rotations) == ({tuple(row) for row in turned} <= points)


def primitive_fractions(atoms: Atoms, grid: KPointGrid) -> set[tuple[float, ...]]:
    """Every k-point of a supercell's grid, unfolded into the primitive zone of diamond silicon (one
    of k, -k).
    """
    reciprocal, primitive = np.linalg.inv(atoms.cell.array).T, PRIMITIVE.cell.array
    found = set()
    span = np.array([(i, j, k) for i in range(-4, 5) for j in range(-4, 5) for k in range(-4, 5)])
    for point, weight in grid.points():
        for sign in (1, -1)[:weight]:
            fractions = (sign * np.array(point) + span) @ reciprocal @ primitive.T
            found |= {tuple(row) for row in np.round(fractions % 1.0 * 64) % 64 / 64}
    return found


def test_thinned_grids_of_silicon_cells_are_the_points_of_the_primitive_cell() -> None:
    sizes, samples = {}, []
    for repeat in ((1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2)):
        cell = CONVENTIONAL.repeat(repeat)
        grid = grid_of(LabelJob(cell, method("Si")))
        sizes[len(cell)] = len(grid.points())
        samples.append(primitive_fractions(cell, grid))
    assert sizes == {8: 8, 16: 4, 32: 2, 64: 1}
    assert all(sample == samples[0] for sample in samples) and len(samples[0]) == 64


def test_the_grid_with_the_fewest_points_that_reaches_the_length_is_taken() -> None:
    for dk in (0.57, 0.36, 0.25):
        for atoms in (PRIMITIVE, CONVENTIONAL, CONVENTIONAL.repeat((1, 1, 2))):
            chosen = choose_grid(atoms.cell.array, atoms.pbc, dk, True)
            assert shortest_vector_a(atoms.cell.array, chosen) >= 2 * np.pi / dk * 0.999
            for n in range(1, max(chosen.divisions)):
                other = KPointGrid((n, n, n), (1, 1, 1))
                if other.size < chosen.size:
                    assert shortest_vector_a(atoms.cell.array, other) < 2 * np.pi / dk


def test_a_skewed_cell_does_not_pay_for_its_long_reciprocal_vectors() -> None:
    compact = make_supercell(
        CONVENTIONAL, [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]
    )  # 32 atoms, images 9.5 Å apart
    assert choose_grid(compact.cell.array, compact.pbc, 0.36, True).divisions == (2, 2, 2)


def test_directions_that_are_alike_have_the_same_divisions() -> None:
    for dk in (0.2, 0.3, 0.36, 0.5):
        assert len(set(choose_grid(CONVENTIONAL.cell.array, (True,) * 3, dk, True).divisions)) == 1


def test_weights_count_every_point_once_and_gamma_is_alone() -> None:
    for divisions in ((1, 1, 1), (2, 3, 4), (5, 1, 2)):
        for shift in ((0, 0, 0), (1, 1, 1), (0, 1, 0)):
            grid = KPointGrid(divisions, shift)
            assert sum(weight for _, weight in grid.points()) == grid.size
    thinned = KPointGrid((4, 4, 2), (0, 0, 0), thinned=True)
    assert sum(weight for _, weight in thinned.points()) == thinned.size == 8
    assert KPointGrid((1, 1, 1), (0, 0, 0)).card() == "K_POINTS gamma\n"
    assert KPointGrid((1, 1, 1), (1, 1, 1)).card() == "K_POINTS automatic\n1 1 1 1 1 1\n"


def test_spacing_is_honoured_and_vacuum_gets_one_point() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        cell = np.diag(rng.uniform(3, 12, 3)) + rng.uniform(-1, 1, (3, 3))
        grid = choose_grid(cell, (True, True, True), 0.4, True)
        assert shortest_vector_a(cell, grid) >= 2 * np.pi / 0.4 * 0.999
    slab = choose_grid(np.diag([3.0, 3.0, 20.0]), (True, True, False), 0.25, True)
    assert slab == KPointGrid((9, 9, 1), (1, 1, 0))
    assert choose_grid(np.eye(3) * 10, (False,) * 3, 0.25, True).gamma_only
    assert choose_grid(PRIMITIVE.cell.array, (True,) * 3, 0.57, True, (3, 3, 3)) == KPointGrid(
        (3, 3, 3), (1, 1, 1)
    )


def test_hexagonal_cells_stay_gamma_centred_strained_or_not() -> None:
    rng = np.random.default_rng(0)
    wurtzite = bulk("ZnO", "wurtzite", a=3.25, c=5.2)
    slab = Atoms("Al", cell=[[2.86, 0, 0], [1.43, 2.477, 0], [0, 0, 20]], pbc=(True, True, False))
    turned = Atoms("Mg", cell=HEXAGONAL.cell.array[[2, 0, 1]], pbc=True)
    for atoms in (HEXAGONAL, HEXAGONAL.repeat((3, 2, 1)), wurtzite, slab, turned):
        assert is_hexagonal(atoms.cell.array)
        assert choose_grid(atoms.cell.array, atoms.pbc, 0.36, True).shift == (0, 0, 0)
        assert choose_grid(atoms.cell.array, atoms.pbc, 0.36, True, (4, 4, 3)).shift == (0, 0, 0)
        for _ in range(50):
            assert is_hexagonal(deformed(atoms, random_strain(rng, (-0.12, 0.12), 0.08)).cell.array)
    orthogonal = make_supercell(HEXAGONAL, [[1, 0, 0], [1, 2, 0], [0, 0, 1]])
    for atoms in (
        PRIMITIVE,
        CONVENTIONAL,
        bulk("Fe"),
        bulk("Sn", "bct", a=5.8, c=3.2),
        orthogonal,
        rattled(PRIMITIVE),
    ):
        assert not is_hexagonal(atoms.cell.array)
        assert choose_grid(atoms.cell.array, atoms.pbc, 0.36, True).shift == (1, 1, 1)
