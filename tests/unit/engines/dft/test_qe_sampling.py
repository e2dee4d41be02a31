"""Symmetry where it exists: in pw.in, and back from axes in which pw.x finds it."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry import cellpar_to_cell
from pw_input_for_tests import CONVENTIONAL, PRIMITIVE, entries, method, rattled
from scipy.spatial.transform import Rotation

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.quantum_espresso.cost import START_S
from mlip_autopipec.engines.dft.quantum_espresso.engine import QuantumEspresso
from mlip_autopipec.engines.dft.quantum_espresso.inputs import sampling_of, write_input
from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft.quantum_espresso.outputs import Results, turned_back
from mlip_autopipec.engines.dft_port import CellSize

SIXTY = Atoms(
    "Si2",
    cell=cellpar_to_cell([5.47 / np.sqrt(2)] * 3 + [60] * 3),
    scaled_positions=[[0, 0, 0], [0.25, 0.25, 0.25]],
    pbc=True,
)


def job(atoms: Atoms, **numerics: bool) -> LabelJob:
    return LabelJob(atoms, method("Si", "Al", "Mg", kspacing_per_a=0.36), dict(numerics))


def sheared(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ [[1, 0, 0], [0, 1, 0.01], [0, 0.01, 1]], scale_atoms=True)
    return copy


def displaced(*by: float) -> Atoms:
    copy = PRIMITIVE.copy()
    copy.positions[1] += by
    return copy


@pytest.mark.parametrize(
    ("atoms", "symmetric", "points"),
    # The points are those that pw.x 6.7 reports.
    [
        (PRIMITIVE, True, 19),
        (SIXTY, True, 19),
        (CONVENTIONAL, True, 10),
        (bulk("Al", a=4.04), True, None),
        (bulk("Mg", "hcp", a=3.2, c=5.2), True, None),
        (sheared(PRIMITIVE), True, None),
        # Inversion is all that is left, and it adds nothing to time reversal.
        (displaced(0.05, 0.02, 0.07), False, 63),
        (rattled(CONVENTIONAL), False, None),
        # A mirror under a cubic lattice: its stars would be twice as many points.
        (displaced(0.05, 0.0, 0.0), False, 63),
        (displaced(0.05, 0.05, 0.05), True, 19),
    ],
)
def test_symmetry_is_on_where_it_exists(atoms: Atoms, symmetric: bool, points: int | None) -> None:
    found = sampling_of(job(atoms))
    assert found.symmetric is symmetric
    assert points is None or found.points == points
    assert found.points <= sampling_of(job(atoms, nosym=True)).points
    nosym = entries(
        write_input(job(atoms), z_valence={"Si": 4.0, "Al": 3.0, "Mg": 10.0}, max_seconds=10)
    )["nosym"]
    assert nosym == (".false." if symmetric else ".true.")


def test_a_lattice_that_is_only_nearly_symmetric_has_none() -> None:
    nearly = CONVENTIONAL.copy()
    nearly.set_cell(np.diag([5.47, 5.47, 5.47 + 1.6e-6]), scale_atoms=True)
    # The crystal itself is a stretched one, but its lattice can hardly be told from a cube.
    zigzag = Atoms("Si", cell=np.diag([5.47, 5.47, 5.47 + 1.6e-6]), pbc=True)
    for atoms in (nearly, zigzag, displaced(1e-4, 0.0, 0.0)):
        assert not sampling_of(job(atoms)).symmetric


def test_what_a_repair_asked_for_stands() -> None:
    assert not sampling_of(job(PRIMITIVE, nosym=True)).symmetric
    assert sampling_of(job(displaced(0.05, 0.0, 0.0), nosym=False)).symmetric


def test_a_molecule_has_no_k_points_to_save() -> None:
    atoms = Atoms("Al2", positions=[[4, 4, 4], [4, 4, 6.5]], cell=[8, 8, 10.5], pbc=False)
    found = sampling_of(job(atoms))
    assert (found.symmetric, found.points, found.card) == (False, 1, "K_POINTS gamma\n")


def test_a_thinned_mesh_is_listed_by_the_stars_of_its_lattice() -> None:
    rows = sampling_of(job(CONVENTIONAL)).card.splitlines()
    assert rows[0] == "K_POINTS crystal" and int(rows[1]) == len(rows) - 2 == 10
    assert sum(float(row.split()[3]) for row in rows[2:]) == 6**3 / 4


def test_a_crystal_in_odd_axes_is_turned_and_its_label_turned_back() -> None:
    turn = Rotation.from_euler("zxz", [20, 50, 70], degrees=True).as_matrix()
    atoms = displaced(0.05, 0.05, 0.05)
    atoms.set_cell(atoms.cell.array @ turn.T, scale_atoms=True)
    given = sampling_of(job(atoms))
    assert given.symmetric and given.points == 19
    assert not np.allclose(given.atoms.positions, atoms.positions, atol=0.1)
    np.testing.assert_allclose(
        given.atoms.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-10
    )
    # A force along the bond, and a stress along it.
    bond = given.atoms.positions[1] - given.atoms.positions[0]
    bond /= np.linalg.norm(bond)
    tensor = 0.3 * np.outer(bond, bond)
    said = Results(
        converged=True,
        scf_steps=5,
        energy_ev=-1.0,
        entropy_ev=0.0,
        symbols=("Si", "Si"),
        positions=given.atoms.positions,
        cell=given.atoms.cell.array,
        forces=np.array([-bond, bond]),
        stress=np.array(
            [tensor[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
        ),
        total_magnetization=0.0,
        wall_s=1.0,
    )
    back = turned_back(said, job(atoms))
    along = atoms.positions[1] - atoms.positions[0]
    along /= np.linalg.norm(along)
    np.testing.assert_allclose(back.positions, atoms.positions, atol=1e-9)
    assert back.forces is not None and back.stress is not None
    np.testing.assert_allclose(back.forces, [-along, along], atol=1e-9)
    xx, yy, zz, yz, xz, xy = back.stress
    np.testing.assert_allclose(
        [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], 0.3 * np.outer(along, along), atol=1e-9
    )
    assert turned_back(back, job(atoms)) is back
    strained = job(sheared(atoms))
    assert turned_back(said, strained) is said


def test_a_symmetric_cell_costs_less() -> None:
    engine, found = QuantumEspresso(), Method.of_job(job(PRIMITIVE))
    moved = displaced(0.05, 0.02, 0.07)
    crystal, rattled_s = (engine.cpu_s(found, CellSize.of(one)) for one in (PRIMITIVE, moved))
    # 19 in place of 63 k-points, and two or three steps less.
    assert 0.6 * 19 / 63 < (crystal - START_S) / (rattled_s - START_S) < 19 / 63
    slab = Atoms("Si2", [[0, 0, 8], [0, 0, 10.3]], cell=[3, 3, 20], pbc=(True, True, False))
    assert engine.cpu_s(found, CellSize.of(slab)) > 0
