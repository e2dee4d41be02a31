"""pw.in says what the job says; k-points of different cells are the same sampling."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk, make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mlip_autopipec import make_plan
from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.config.dft_plan import DftPlan
from mlip_autopipec.engines.dft.quantum_espresso import config, pseudos
from mlip_autopipec.engines.dft.quantum_espresso.engine import QuantumEspresso
from mlip_autopipec.engines.dft.quantum_espresso.inputs import (
    grid_of,
    is_closed,
    use_symmetry,
    write_input,
)
from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft_port import DftEngine
from mlip_autopipec.science.generation.context import deformed, random_strain
from mlip_autopipec.science.kpoints import KPointGrid, choose_grid, is_hexagonal, shortest_vector_a

CONVENTIONAL = bulk("Si", "diamond", a=5.47, cubic=True)
PRIMITIVE = bulk("Si", "diamond", a=5.47)


def method(*elements: str, **changes: Any) -> dict[str, Any]:
    base = {
        "functional": "PBE",
        "pseudo_family": pseudos.DEFAULT_FAMILY,
        "pseudos": {element: f"{element}.upf" for element in elements},
        "cutoff_ry": 28.0,
        "rho_cutoff_ry": 112.0,
        "kspacing_per_a": 0.57,
        "kmesh_shifted": True,
        "occupations": "smearing",
        "smearing": "gaussian",
        "degauss_ry": 0.01,
        "spin_polarized": False,
        "starting_moments": {},
        "conv_thr_ry_per_atom": 1e-9,
    }
    return base | changes


def entries(text: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\S+) = (.*)$", text, re.MULTILINE))


def rattled(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=3)
    return atoms


def test_numbers_of_the_method_reach_the_input() -> None:
    text = write_input(
        LabelJob(rattled(CONVENTIONAL), method("Si")), z_valence={"Si": 4.0}, max_seconds=1000.0
    )
    found = entries(text)
    assert (found["ecutwfc"], found["ecutrho"], found["degauss"]) == ("28", "112", "0.01")
    assert float(found["conv_thr"].replace("d", "e")) == pytest.approx(8e-9)
    assert (found["smearing"], found["occupations"]) == ("'gaussian'", "'smearing'")
    assert float(found["max_seconds"]) == 950.0
    assert (found["tprnfor"], found["tstress"], found["nosym"]) == (".true.", ".true.", ".true.")
    rows = re.findall(r"^  Si (\S+) (\S+) (\S+)$", text, re.MULTILINE)
    np.testing.assert_allclose(
        np.array(rows[-8:], dtype=float), rattled(CONVENTIONAL).positions, atol=1e-11
    )


def test_numerical_knobs_reach_the_input_and_unknown_ones_are_refused() -> None:
    knobs = {
        "mixing_beta": 0.2,
        "electron_maxstep": 250,
        "diagonalization": "cg",
        "mixing_mode": "local-TF",
    }
    found = entries(
        write_input(LabelJob(PRIMITIVE, method("Si"), knobs), z_valence={}, max_seconds=10)
    )
    assert (found["mixing_beta"], found["electron_maxstep"]) == ("0.2", "250")
    assert (found["diagonalization"], found["mixing_mode"]) == ("'cg'", "'local-TF'")
    with pytest.raises(InputError, match="mixing_bta"):
        write_input(
            LabelJob(PRIMITIVE, method("Si"), {"mixing_bta": 1}), z_valence={}, max_seconds=10
        )


def test_starting_moment_is_a_fraction_of_the_valence_electrons() -> None:
    iron = LabelJob(bulk("Fe"), method("Fe", spin_polarized=True, starting_moments={"Fe": 4.0}))
    found = entries(write_input(iron, z_valence={"Fe": 16.0}, max_seconds=10))
    assert found["nspin"] == "2" and float(found["starting_magnetization(1)"]) == pytest.approx(
        0.25
    )


def test_cells_without_a_magnetic_element_are_not_spin_polarised() -> None:
    mixed = method("Fe", "C", "Si", spin_polarized=True, starting_moments={"C": 0.0, "Fe": 4.0})
    valence = {"Fe": 16.0, "C": 4.0, "Si": 4.0}
    carbide = bulk("FeC", "rocksalt", a=4.0)
    found = entries(write_input(LabelJob(carbide, mixed), z_valence=valence, max_seconds=10))
    assert found["nspin"] == "2"
    assert (
        float(found["starting_magnetization(1)"]),
        float(found["starting_magnetization(2)"]),
    ) == (0.0, 0.25)
    for atoms in (bulk("C"), PRIMITIVE):  # a zero moment; none given
        text = write_input(LabelJob(atoms, mixed), z_valence=valence, max_seconds=10)
        assert "nspin" not in text and "starting_magnetization" not in text
    switched_off = {**mixed, "spin_polarized": False}
    assert "nspin" not in write_input(
        LabelJob(carbide, switched_off), z_valence=valence, max_seconds=10
    )


def test_symmetry_is_used_only_where_it_is_exact() -> None:
    assert use_symmetry(PRIMITIVE) and use_symmetry(CONVENTIONAL)
    assert not use_symmetry(rattled(CONVENTIONAL))
    nearly = CONVENTIONAL.copy()
    nearly.set_cell(np.diag([5.47, 5.47, 5.47 + 1.6e-6]), scale_atoms=True)
    assert not use_symmetry(nearly)


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
    assert is_closed(KPointGrid(divisions, shift), atoms) is closed
    job = LabelJob(atoms, method("Si", "Fe", "Mg", kmesh_shifted=shift == FULL), {}, divisions)
    if grid_of(job).shift == shift:
        nosym = entries(write_input(job, z_valence={}, max_seconds=10))["nosym"]
        assert nosym == (".false." if closed else ".true.")


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


def test_symmetry_does_not_hang_on_who_is_out_of_place() -> None:
    moved = PRIMITIVE.copy()
    moved.positions[1, 0] += 1e-4
    for atoms in (PRIMITIVE, moved, CONVENTIONAL):
        for kspacing in (0.36, 0.57):
            text = write_input(
                LabelJob(atoms, method("Si", kspacing_per_a=kspacing)), z_valence={}, max_seconds=10
            )
            assert entries(text)["nosym"] == ".true."


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


def test_missing_programs_are_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIP_PW", "/nowhere/pw.x")
    with pytest.raises(
        MissingProgramError, match=r"/nowhere/pw\.x.*apt-get install quantum-espresso"
    ):
        config.command(1, {})


def test_prepare_links_pseudopotentials_and_runs_one_core_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "pw.x"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    upf = tmp_path / "Si.upf"
    upf.write_text('<PP_HEADER z_valence="    4.00"/>')
    monkeypatch.setenv("MLIP_PW", str(program))
    monkeypatch.setattr(pseudos, "locate", lambda family, element: upf)
    engine = QuantumEspresso()
    assert isinstance(engine, DftEngine)
    prepared = engine.prepare(LabelJob(PRIMITIVE, method("Si")), walltime_s=60, cores=1)
    assert prepared.command == (str(program), "-in", "pw.in")
    assert prepared.links == {"pseudo/Si.upf": str(upf)}
    assert prepared.env["OMP_NUM_THREADS"] == "1"


def test_a_job_is_refused_when_its_pseudopotential_was_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upf = """<UPF version="2.0.1"><PP_HEADER element="Si" pseudo_type="NC" functional="PBE"
 z_valence="4.00" is_ultrasoft="F" is_paw="F" wfc_cutoff="40.0" rho_cutoff="160.0"/></UPF>"""
    source = tmp_path / "mine"
    source.mkdir()
    (source / "silicon.upf").write_text(upf)
    monkeypatch.setenv("MLIP_PW", "/bin/true")
    monkeypatch.setenv("MLIP_DATA", str(tmp_path / "data"))
    pseudos.install("own/lab", source=source)
    made_with = pseudos.family_facts("own/lab").elements["Si"].sha256
    job = LabelJob(
        PRIMITIVE,
        method("Si", pseudo_family="own/lab", pseudo_sha256={"Si": made_with, "Ge": "0" * 64}),
    )
    assert QuantumEspresso().prepare(job, walltime_s=60, cores=1).links
    (source / "silicon.upf").write_text(upf + "\n")
    (path,) = pseudos.install(
        "own/lab", source=source
    )  # the family itself is intact, but it is another one
    changed = hashlib.sha256(path.read_bytes()).hexdigest()
    assert changed != made_with
    with pytest.raises(
        InputError, match=rf"{path}.*pseudo_sha256\.Si.*{changed}.*wanted {made_with}"
    ):
        QuantumEspresso().prepare(job, walltime_s=60, cores=1)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    pseudos.check_recorded({"Si": path}, {"Si": f"md5:{md5}"})
    with pytest.raises(InputError, match=f"md5:{md5}"):
        pseudos.check_recorded({"Si": path}, {"Si": "md5:0"})


def test_structures_without_a_cell_or_pseudopotential_are_refused() -> None:
    with pytest.raises(InputError, match="box"):
        write_input(LabelJob(Atoms("Si"), method("Si")), z_valence={}, max_seconds=1)
    with pytest.raises(InputError, match="pseudopotential"):
        write_input(LabelJob(bulk("Ge"), method("Si")), z_valence={}, max_seconds=1)


def test_a_job_whose_method_is_not_whole_is_refused_with_the_key() -> None:
    values = method("Si")
    del values["cutoff_ry"]
    with pytest.raises(InputError, match="is missing") as refused:
        write_input(LabelJob(PRIMITIVE, values), z_valence={}, max_seconds=1)
    assert refused.value.key == "cutoff_ry"
    with pytest.raises(InputError) as refused:
        write_input(LabelJob(PRIMITIVE, method("Si", cutoff=28.0)), z_valence={}, max_seconds=1)
    assert refused.value.key == "cutoff"


def test_the_method_of_a_job_says_what_was_stored() -> None:
    """The hash of a label is that of its job's JSON: reading it must neither add nor drop a key."""
    stored = {"engine": "quantum_espresso", **method("Si", pseudo_sha256={"Si": "0" * 64})}
    read = Method.of_job(LabelJob(PRIMITIVE, stored))
    assert {"engine": "quantum_espresso", **read.model_dump(mode="json")} == stored
    assert Method.of_job(LabelJob(PRIMITIVE, method("Si"))).pseudo_sha256 == {}


def test_cores_are_ranks_times_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.shutil, "which", lambda name, path=None: f"/bin/{name}")
    assert config.command(8, {"threads": 4})[:3] == ("/bin/mpirun", "-np", "2")
    assert config.command(4, {"threads": 4})[0] == "/bin/pw.x", "one rank needs no mpirun"
    assert config.environment(8, {"threads": 4})["OMP_NUM_THREADS"] == "4"
    assert config.environment(8, {})["OMP_NUM_THREADS"] == "1" and config.command(8, {})[2] == "8"


def test_threads_that_do_not_share_out_the_cores_are_refused() -> None:
    plan = make_plan(material="Si").dft.model_dump(mode="json")
    with pytest.raises(ValidationError, match="4 cores cannot be shared out as 3 threads per rank"):
        DftPlan.model_validate({**plan, "cores": 4, "threads": 3})
    hybrid = DftPlan.model_validate({**plan, "cores": 4, "threads": 2})
    assert hybrid.method_hash == make_plan(material="Si").dft.method_hash
