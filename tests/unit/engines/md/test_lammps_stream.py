"""What a run streams: frames, snapshots, progress; and the velocities it starts from."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.engines.md.lammps.simulation import Frame, maxwell_velocities
from mlip_autopipec.engines.md.lammps.stream import Stream, is_sane, read_pointer
from mlip_autopipec.engines.ports import MdJob


def make_job(tmp_path, **changes):
    values = {
        "start": bulk("Cu", a=3.61, cubic=True),
        "elements": ("Cu",),
        "ensemble": "nvt",
        "temperature_k": 300.0,
        "pressure_gpa": 0.0,
        "timestep_fs": 2.0,
        "run_ps": 1.0,
        "equilibration_ps": 0.0,
        "sample_every_ps": 0.1,
        "gamma_break": 5.0,
        "gamma_every": 10,
        "wait_s": 1.0,
        "seed": 7,
        "pointer": tmp_path / "current.json",
    }
    return MdJob(**{**values, **changes})


def lines(folder):
    return [json.loads(line) for line in (folder / "stream.jsonl").read_text().splitlines()]


def test_candidate_file_is_a_candidate_with_the_grade_of_each_atom(tmp_path):
    atoms, gamma = bulk("Cu", a=3.61, cubic=True), np.array([0.5, 3.25, 1.0, 0.9])
    Stream(tmp_path, make_job(tmp_path)).candidate(atoms, gamma, 500, "003-abc")
    (line,) = lines(tmp_path)
    assert (line["type"], line["step"], line["gamma"], line["potential"]) == (
        "candidate",
        500,
        3.25,
        "003-abc",
    )
    data = json.loads((tmp_path / line["file"]).read_text())
    candidate = Candidate.from_json(data)
    assert data["gamma"] == gamma.tolist()
    assert candidate.gamma_max == 3.25
    assert candidate.provenance.potential == "003-abc"
    assert candidate.provenance.strategy == "md_frame"
    assert np.allclose(candidate.atoms.positions, atoms.positions)


def test_frames_of_one_trajectory_share_a_group_and_others_do_not(tmp_path):
    atoms, gamma = bulk("Cu", a=3.61, cubic=True), np.ones(4)

    def group(step, **changes):
        folder = tmp_path / f"{step}-{len(changes)}"
        folder.mkdir(exist_ok=True)
        (folder / "stream.jsonl").unlink(missing_ok=True)
        Stream(folder, make_job(tmp_path, **changes)).candidate(atoms, gamma, step, "a")
        return json.loads((folder / lines(folder)[0]["file"]).read_text())["provenance"]["group"]

    assert group(10) == group(400) == group(90_000)
    assert group(10) != group(10, melt_k=3000.0) != group(10, melt_k=3000.0, cell_motion="tri")
    assert group(10) != group(10, seed=8)


def test_progress_is_thinned_but_never_lost_when_asked_for(tmp_path):
    stream = Stream(tmp_path, make_job(tmp_path))
    written = [stream.progress({"step": step}) for step in range(5)]
    assert written == [True, False, False, False, False]
    assert stream.progress({"step": 9}, now=True)
    assert [line["step"] for line in lines(tmp_path)] == [0, 9]


def test_snapshot_comes_back_for_the_same_job_only(tmp_path):
    atoms = bulk("Cu", a=3.61, cubic=True)
    atoms.rattle(0.1, seed=3)
    velocities = maxwell_velocities(atoms, 300.0, np.random.default_rng(1))
    Stream(tmp_path, make_job(tmp_path)).snapshot(
        Frame(120, atoms, velocities), {"step": 150}, now=True
    )
    loaded = Stream(tmp_path, make_job(tmp_path, run_ps=9.0)).load_snapshot()
    assert loaded is not None
    frame, counters = loaded
    assert frame.step == 120
    assert counters == {"step": 150}
    assert np.allclose(frame.atoms.positions, atoms.positions, atol=1e-7)
    assert np.allclose(frame.velocities, velocities)
    assert Stream(tmp_path, make_job(tmp_path, temperature_k=400.0)).load_snapshot() is None
    assert Stream(tmp_path / "empty", make_job(tmp_path)).load_snapshot() is None


def test_no_pointer_means_no_potential(tmp_path):
    with pytest.raises(InputError, match="no potential is in force"):
        read_pointer(tmp_path / "current.json")


def test_sane_geometry_sees_pairs_across_the_boundary_and_broken_numbers():
    def pair(distance):
        return Atoms(
            "Cu2", positions=[[0.1, 5, 5], [10.1 - distance, 5, 5]], cell=[10, 10, 10], pbc=True
        )

    limit = 0.6 * 2 * 1.32  # covalent radius of copper
    assert is_sane(pair(limit + 0.05))
    assert not is_sane(pair(limit - 0.05))
    broken = pair(3.0)
    broken.positions[0, 0] = np.nan
    assert not is_sane(broken)


def test_maxwell_velocities_have_the_temperature_no_momentum_and_obey_the_seed():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (2, 2, 2)
    velocities = maxwell_velocities(atoms, 450.0, np.random.default_rng(5))
    masses = atoms.get_masses()[:, None]
    in_ase = velocities / (1000.0 * units.fs)  # Å/ps -> ASE
    kinetic = 0.5 * (masses * in_ase**2).sum()
    assert kinetic == pytest.approx(1.5 * (len(atoms) - 1) * units.kB * 450.0)
    assert np.allclose((masses * velocities).sum(axis=0), 0.0, atol=1e-9)
    # equipartition: light atoms are faster by the square root of the mass ratio
    sodium, chlorine = (atoms.symbols == s for s in ("Na", "Cl"))
    ratio = np.std(velocities[sodium]) / np.std(velocities[chlorine])
    assert ratio == pytest.approx(np.sqrt(35.45 / 22.99), rel=0.2)
    assert np.array_equal(velocities, maxwell_velocities(atoms, 450.0, np.random.default_rng(5)))
    assert not np.allclose(velocities, maxwell_velocities(atoms, 450.0, np.random.default_rng(6)))
