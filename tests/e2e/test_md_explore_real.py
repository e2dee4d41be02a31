"""Exploration by real LAMMPS: frames kept, potentials swapped, breaks rewound, runs resumed."""

import json
from collections import Counter

import numpy as np
import pytest
from copper_md import ase_calculator, copper, lines, make_job, point_at

from mlip_autopipec.base.structures import Candidate, atoms_from_json
from mlip_autopipec.engines.md.lammps import engine as engine_module
from mlip_autopipec.engines.md.lammps.stream import Pointer, is_sane
from mlip_autopipec.engines.ports import MdEngine
from mlip_autopipec.engines.registry import md_engine

pytestmark = pytest.mark.real


def test_engine_meets_the_port():
    assert isinstance(md_engine("lammps"), MdEngine)


def kept(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_a_run_ends_after_its_time_with_frames_of_this_very_potential(wide, tmp_path):
    point_at(tmp_path, "wide", wide)
    result = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), temperature_k=300.0), tmp_path
    )
    assert result.clean
    assert (result.ps, result.clean_ps) == (pytest.approx(0.8), pytest.approx(0.6))
    assert (result.breaks, result.swaps, result.candidates, result.samples) == (0, 0, 0, 6)
    assert 0.3 < result.gamma_max <= 2.0
    assert 150 < result.temperature_mean_k < 450
    happened = Counter(line["type"] for line in lines(tmp_path))
    assert set(happened) == {"progress"} and happened["progress"] >= 2  # more on a busy machine
    frames = kept(tmp_path)
    assert [line["step"] for line in frames] == [150, 200, 250, 300, 350, 400]
    for line in frames:
        atoms = atoms_from_json(line["atoms"])
        atoms.calc = ase_calculator(wide)
        atoms.get_potential_energy()
        assert line["gamma_max"] == pytest.approx(max(atoms.calc.results["gamma"]), rel=1e-3)


@pytest.mark.parametrize("count", [8, 15])
def test_small_cells_run_and_move_at_constant_pressure(wide, tmp_path, count):
    """Cells smaller than twice the cutoff, with a vacancy or without, under a little pressure."""
    start = copper((2, 1, 1) if count == 8 else (2, 2, 1))[:count]
    point_at(tmp_path, "wide", wide)
    job = make_job(
        tmp_path, start, ensemble="npt", temperature_k=300.0, pressure_gpa=1.0, cell_motion="tri"
    )
    result = md_engine("lammps").run(job, tmp_path)
    assert (result.clean, result.breaks) == (True, 0)
    cells = np.array([line["atoms"]["cell"] for line in kept(tmp_path)])
    volumes = np.abs(np.linalg.det(cells))
    assert np.ptp(volumes) > 0 and (np.abs(volumes / start.get_volume() - 1) < 0.15).all()
    assert np.abs(cells[-1][1, 0]) > 0, "angles move"


def pointer(potential):
    return Pointer("wide" if "wide" in potential.name else "narrow", potential, "linear")


def scripted_pointer(monkeypatch, looks, first, second):
    """The pointer file names ``first`` for so many looks, then ``second``."""
    seen = []

    def read(path):
        seen.append(path)
        return first if len(seen) <= looks else second

    monkeypatch.setattr(engine_module, "read_pointer", read)


@pytest.mark.parametrize(("looks", "serve"), [(4, False), (12, True)])
def test_new_potential_is_swapped_in_while_running(
    narrow, wide, tmp_path, monkeypatch, looks, serve
):
    """Within a run, and long after it where MD serves while a fit runs."""
    scripted_pointer(monkeypatch, looks, pointer(narrow), pointer(wide))
    started = []
    simulate = engine_module.Simulation
    monkeypatch.setattr(
        engine_module, "Simulation", lambda *a, **k: started.append(1) or simulate(*a, **k)
    )
    job = make_job(tmp_path, copper((2, 2, 2)), serve=serve, wait_s=600.0)
    result = md_engine("lammps").run(job, tmp_path)
    assert (result.swaps, result.breaks, result.potential) == (1, 0, "wide")
    (swap,) = (line for line in lines(tmp_path) if line["type"] == "swap")
    assert (swap["old"], swap["new"]) == ("narrow", "wide")
    assert (swap["step"] > 400) == serve
    assert result.clean and len(started) == 1, "one simulation, from end to end"
    # the new potential makes the whole run itself
    assert result.steps - swap["step"] == 400
    assert [line["potential"] for line in kept(tmp_path)][-result.samples :] == ["wide"] * 6


def test_break_rewinds_waits_and_resumes_with_the_next_potential(
    narrow, wide, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine_module, "POLL_S", 0.01)
    scripted_pointer(monkeypatch, 8, pointer(narrow), pointer(wide))
    job = make_job(tmp_path, copper((2, 2, 2)), gamma_break=2.6, wait_s=60.0, run_ps=2.0)
    result = md_engine("lammps").run(job, tmp_path)
    happened = lines(tmp_path)
    kinds = [line["type"] for line in happened if line["type"] in ("break", "swap", "resume")]
    assert kinds == ["break", "swap", "resume"]
    broke = next(line for line in happened if line["type"] == "break")
    assert broke["gamma"] > 2.6
    assert broke["potential"] == "narrow"
    assert any(line["type"] == "progress" and line["state"] == "waiting" for line in happened)
    before, offending = (line for line in happened if line["type"] == "candidate")
    assert offending["gamma"] == broke["gamma"]
    assert offending["step"] - before["step"] == 50, "100 fs on the way to it"
    data = json.loads((tmp_path / offending["file"]).read_text())
    atoms = Candidate.from_json(data).atoms
    assert is_sane(atoms)
    atoms.calc = ase_calculator(narrow)
    atoms.get_potential_energy()
    assert np.allclose(data["gamma"], atoms.calc.results["gamma"], rtol=1e-3)
    assert (result.clean, result.potential, result.breaks) == (True, "wide", 1)
    assert result.clean_ps == pytest.approx(2.0)
    after = [
        line for line in happened if line["type"] == "progress" and line["potential"] == "wide"
    ]
    assert all(line["gamma_max"] <= 2.6 for line in after)


def test_waiting_in_vain_ends_unclean(narrow, tmp_path):
    point_at(tmp_path, "narrow", narrow)
    result = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), gamma_break=2.2, run_ps=3.0), tmp_path
    )
    assert (result.clean, result.breaks, result.potential) == (False, 1, "narrow")
    assert (tmp_path / "snapshot.json").exists()


def test_overlapping_atoms_are_a_break_and_no_candidate(narrow, tmp_path):
    point_at(tmp_path, "narrow", narrow)
    start = copper((2, 2, 2))
    start.positions[0] = start.positions[1] + [0.4, 0.1, 0.0]
    result = md_engine("lammps").run(make_job(tmp_path, start, gamma_break=1e12), tmp_path)
    assert (result.clean, result.breaks, result.candidates) == (False, 1, 0)
    assert not any(line["type"] == "candidate" for line in lines(tmp_path))


def test_restarted_run_goes_on_from_its_snapshot(wide, tmp_path):
    point_at(tmp_path, "wide", wide)
    job = make_job(tmp_path, copper((2, 2, 2)), temperature_k=300.0)
    first = md_engine("lammps").run(job, tmp_path)
    kept_frame = json.loads((tmp_path / "snapshot.json").read_text())
    assert 0 < kept_frame["step"] <= first.steps == 400
    moved = np.abs(np.array(kept_frame["atoms"]["positions"]) - copper((2, 2, 2)).positions) % 7.22
    assert 0.0 < np.minimum(moved, 7.22 - moved).max() < 1.0
    second = md_engine("lammps").run(job, tmp_path)
    (resumed,) = [line["step"] for line in lines(tmp_path) if line["type"] == "resume"]
    assert resumed == kept_frame["counters"]["step"]
    assert second.clean and second.steps == resumed + 400, "the whole run again from there"
    assert second.samples == 6
