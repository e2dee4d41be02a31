"""pw.x itself: energies, the signs of forces and stress, and failures that are healed or named."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from scipy.spatial.transform import Rotation

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.engines.dft.quantum_espresso.engine import QuantumEspresso

pytestmark = pytest.mark.real
ENGINE = QuantumEspresso()
METHOD: dict[str, Any] = {
    "engine": "quantum_espresso",
    "functional": "PBE",
    "pseudo_family": pseudos.DEFAULT_FAMILY,
    "pseudos": {"Si": "Si.upf"},
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


def run(job: LabelJob, folder: Path, walltime_s: float = 300.0) -> Label | Failure:
    prepared = ENGINE.prepare(job, walltime_s=walltime_s, cores=1)
    return ENGINE.parse(folder, job, run_prepared(prepared, folder, 300.0))


def energy(job: LabelJob, folder: Path) -> float:
    result = run(job, folder)
    assert isinstance(result, Label), result
    return result.energy_ev


def displaced(a: float = 5.47) -> Atoms:
    atoms = bulk("Si", "diamond", a=a)
    atoms.positions[1] += [0.08, -0.03, 0.05]
    return atoms


def test_cells_of_different_size_give_one_energy_per_atom(tmp_path: Path) -> None:
    crystal = bulk("Si", "diamond", a=5.47)
    primitive = energy(LabelJob(crystal, METHOD, {}, (4, 4, 4)), tmp_path / "2") / 2
    conventional = (
        energy(LabelJob(bulk("Si", "diamond", a=5.47, cubic=True), METHOD), tmp_path / "8") / 8
    )
    assert conventional == pytest.approx(primitive, abs=5e-6)
    # Recorded with pw.x 6.7 from a hand-written input with symmetry.
    assert primitive == pytest.approx(-115.136086, abs=2e-5)
    without = energy(LabelJob(crystal, METHOD, {"nosym": True}, (4, 4, 4)), tmp_path / "nosym") / 2
    assert without == pytest.approx(primitive, abs=3e-4)


def test_perfect_silicon_has_no_force_and_no_shear(tmp_path: Path) -> None:
    # Without symmetry, the shifted mesh of the default spacing gives 12 meV/Å and 0.39 GPa.
    method = {**METHOD, "kspacing_per_a": 0.36}
    crystal = bulk("Si", "diamond", a=5.47)
    label = run(LabelJob(crystal, method), tmp_path / "as it stands")
    assert isinstance(label, Label) and label.stress is not None
    assert np.abs(label.forces).max() < 1e-3
    assert np.abs(label.stress[3:]).max() < 0.02 * units.GPa
    assert np.ptp(label.stress[:3]) < 0.02 * units.GPa
    turn = Rotation.from_euler("zxz", [20, 50, 70], degrees=True).as_matrix()
    crystal.set_cell(crystal.cell.array @ turn.T, scale_atoms=True)
    turned = run(LabelJob(crystal, method), tmp_path / "turned")
    assert isinstance(turned, Label) and turned.stress is not None
    assert turned.energy_ev == pytest.approx(label.energy_ev, abs=1e-6)
    np.testing.assert_allclose(turned.stress, label.stress, atol=0.02 * units.GPa)
    assert np.abs(turned.forces).max() < 1e-3


def test_a_copy_hardly_out_of_place_has_the_energy_of_the_crystal(tmp_path: Path) -> None:
    method = {**METHOD, "kspacing_per_a": 0.36}
    crystal = bulk("Si", "diamond", a=5.47)
    copy = crystal.copy()
    copy.positions[1] += [1e-4, 0.0, 0.0]
    exact, near = (
        energy(LabelJob(atoms, method), tmp_path / name) / 2
        for name, atoms in (("exact", crystal), ("near", copy))
    )
    assert near == pytest.approx(exact, abs=5e-5)


def test_forces_and_stress_are_the_derivatives_of_the_energy(tmp_path: Path) -> None:
    atoms = displaced(a=5.30)
    center = run(LabelJob(atoms, METHOD, {}, (2, 2, 2)), tmp_path / "center")
    assert isinstance(center, Label) and center.stress is not None
    energies = []
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.positions[1, 0] += 0.01 * sign
        energies.append(energy(LabelJob(moved, METHOD, {}, (2, 2, 2)), tmp_path / f"f{sign}"))
    force = -(energies[1] - energies[0]) / 0.02
    assert abs(force) > 0.3
    assert center.forces[1, 0] == pytest.approx(force, abs=0.01)
    energies = []
    for sign in (-1, 1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * (1 + 0.01 * sign), scale_atoms=True)
        energies.append(energy(LabelJob(strained, METHOD, {}, (2, 2, 2)), tmp_path / f"s{sign}"))
    trace = (energies[1] - energies[0]) / 0.02 / atoms.get_volume()
    # Compressed: negative under ASE's sign. Plane waves change in number with the cell: 1e-3 eV/Å³
    # of Pulay stress.
    assert trace < -0.1
    assert center.stress[:3].sum() == pytest.approx(trace, rel=0.05, abs=0.004)


def test_too_few_scf_steps_are_healed_by_the_repair_table(tmp_path: Path) -> None:
    job = LabelJob(displaced(), METHOD, {"electron_maxstep": 3}, (2, 2, 2))
    first = run(job, tmp_path / "1")
    assert isinstance(first, Failure) and first.kind == "scf_not_converged"
    mended = ENGINE.repair(job, [first])
    assert mended is not None and mended.method_hash == job.method_hash
    healed = run(mended, tmp_path / "2")
    assert isinstance(healed, Label)
    untroubled = energy(LabelJob(displaced(), METHOD, {}, (2, 2, 2)), tmp_path / "3")
    assert healed.energy_ev == pytest.approx(untroubled, abs=1e-5)


def test_time_limit_is_named_and_gets_more_time(tmp_path: Path) -> None:
    job = LabelJob(displaced(), METHOD, {}, (2, 2, 2))
    failure = run(job, tmp_path, walltime_s=0.02)
    assert isinstance(failure, Failure) and failure.kind == "out_of_walltime"
    mended = ENGINE.repair(job, [failure])
    assert mended is not None and mended.numerics["walltime_factor"] > 1


def test_killed_run_is_interrupted_and_simply_repeated(tmp_path: Path) -> None:
    atoms = bulk("Si", "diamond", a=5.47, cubic=True)
    atoms.rattle(0.05, seed=1)
    job = LabelJob(atoms, METHOD)
    prepared = ENGINE.prepare(job, walltime_s=300, cores=1)
    (tmp_path / "pseudo").mkdir()
    for name, text in prepared.files.items():
        (tmp_path / name).write_text(str(text))
    for name, source in prepared.links.items():
        (tmp_path / name).symlink_to(source)
    output = tmp_path / prepared.stdout
    with output.open("wb") as out:
        child = subprocess.Popen(
            prepared.command, cwd=tmp_path, stdout=out, env={**os.environ, **prepared.env}
        )
        deadline = time.monotonic() + 120
        while (
            "iteration #" not in output.read_text()
            and child.poll() is None
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        code = 128 - child.wait()
    failure = ENGINE.parse(tmp_path, job, code)
    assert isinstance(failure, Failure) and failure.kind == "interrupted"
    assert isinstance(ENGINE.parse(tmp_path, job, None), Failure)
    assert ENGINE.repair(job, [failure]) == job


def test_atoms_on_top_of_each_other_are_no_success_although_pw_says_so(tmp_path: Path) -> None:
    atoms = bulk("Si", "diamond", a=5.47)
    atoms.positions[1] = atoms.positions[0] + np.array([0.12, 0.05, 0.0])
    failure = run(LabelJob(atoms, METHOD, {}, (1, 1, 1)), tmp_path)
    assert isinstance(failure, Failure) and failure.kind in {"geometry", "scf_not_converged"}
    if failure.kind == "geometry":
        assert ENGINE.repair(LabelJob(atoms, METHOD), [failure]) is None


def boxed(atoms: Atoms) -> Atoms:
    atoms.center(vacuum=4.0)
    return atoms


def test_free_atoms_and_pairs_have_the_spin_of_their_ground_state(tmp_path: Path) -> None:
    hydrogen = {**METHOD, "pseudos": {"H": "H.upf"}, "cutoff_ry": 40.0, "rho_cutoff_ry": 160.0}
    one = run(LabelJob(boxed(Atoms("H")), hydrogen), tmp_path / "H")
    assert isinstance(one, Label) and one.stress is None
    # PBE: 13.60 eV; without spin 12.56.
    assert one.energy_ev == pytest.approx(-13.60, abs=0.05)
    assert one.total_magnetization == pytest.approx(1.0, abs=1e-3)
    silicon = run(LabelJob(boxed(Atoms("Si")), METHOD), tmp_path / "Si")
    assert isinstance(silicon, Label)
    crystal = energy(LabelJob(bulk("Si", "diamond", a=5.47), METHOD, {}, (4, 4, 4)), tmp_path / "2")
    # PBE: 4.55 eV.
    assert silicon.energy_ev - crystal / 2 == pytest.approx(4.55, abs=0.08)
    pair = run(LabelJob(boxed(Atoms("Si2", [[0, 0, 0], [2.28, 0, 0]])), METHOD), tmp_path / "Si2")
    assert isinstance(pair, Label)
    assert pair.total_magnetization == pytest.approx(2.0, abs=0.05)
    assert 1.4 < silicon.energy_ev - pair.energy_ev / 2 < 2.1
