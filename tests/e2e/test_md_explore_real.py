"""Exploration by real LAMMPS: frames streamed, potentials swapped, breaks rewound, runs resumed."""

import json
from collections import Counter

import numpy as np
import pytest
from copper_md import ase_calculator, copper, lines, make_job, point_at

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.engines.md.lammps import engine as engine_module
from mlip_autopipec.engines.md.lammps.stream import Pointer, is_sane
from mlip_autopipec.engines.ports import MdEngine
from mlip_autopipec.engines.registry import md_engine

pytestmark = pytest.mark.real


def test_engine_meets_the_port():
    assert isinstance(md_engine("lammps"), MdEngine)


def test_clean_run_ends_after_the_clean_time(wide, tmp_path):
    point_at(tmp_path, "wide", wide)
    result = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), temperature_k=300.0), tmp_path
    )
    assert result.clean
    assert result.ps == pytest.approx(0.6, abs=0.21)
    assert (result.breaks, result.swaps, result.candidates) == (0, 0, 0)
    assert 0.3 < result.gamma_max <= 2.0
    assert 150 < result.temperature_mean_k < 450
    happened = Counter(line["type"] for line in lines(tmp_path))
    assert set(happened) == {"progress"} and happened["progress"] >= 2  # more on a busy machine


def test_extrapolating_frames_are_streamed_apart_and_the_run_goes_on(narrow, tmp_path):
    point_at(tmp_path, "narrow", narrow)
    result = md_engine("lammps").run(make_job(tmp_path, copper((2, 2, 2)), max_ps=1.0), tmp_path)
    assert not result.clean
    assert result.steps <= 500
    found = [line for line in lines(tmp_path) if line["type"] == "candidate"]
    assert len(found) == result.candidates == 3  # the limit for one potential
    assert (np.diff([line["step"] for line in found]) >= 50).all()  # 100 fs
    for line in found:
        data = json.loads((tmp_path / line["file"]).read_text())
        atoms = Candidate.from_json(data).atoms
        atoms.calc = ase_calculator(narrow)
        atoms.get_potential_energy()
        assert np.allclose(
            data["gamma"], atoms.calc.results["gamma"], rtol=1e-3
        )  # the grade of this very frame
        assert max(data["gamma"]) == pytest.approx(line["gamma"], abs=1e-5)
        assert line["gamma"] > 2.0


def pointer(potential):
    return Pointer("wide" if "wide" in potential.name else "narrow", potential, "linear")


def scripted_pointer(monkeypatch, looks, first, second):
    """The pointer file names ``first`` for so many looks, then ``second``."""
    seen = []

    def read(path):
        seen.append(path)
        return first if len(seen) <= looks else second

    monkeypatch.setattr(engine_module, "read_pointer", read)


def test_new_potential_is_swapped_in_while_running(narrow, wide, tmp_path, monkeypatch):
    scripted_pointer(monkeypatch, 4, pointer(narrow), pointer(wide))
    job = make_job(tmp_path, copper((2, 2, 2)), max_candidates_per_potential=30)
    result = md_engine("lammps").run(job, tmp_path)
    assert (result.swaps, result.breaks, result.potential) == (1, 0, "wide")
    (swap,) = (line for line in lines(tmp_path) if line["type"] == "swap")
    assert (swap["old"], swap["new"]) == ("narrow", "wide")
    assert result.clean
    # the time before the swap does not count as clean time of the new potential
    assert result.clean_ps == pytest.approx((result.steps - swap["step"]) * 0.002)


def test_with_nothing_left_to_add_it_waits_and_goes_on_where_it_stood(
    narrow, wide, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine_module, "POLL_S", 0.01)
    scripted_pointer(monkeypatch, 60, pointer(narrow), pointer(wide))
    started = []
    simulate = engine_module.Simulation
    monkeypatch.setattr(
        engine_module, "Simulation", lambda *a, **k: started.append(1) or simulate(*a, **k)
    )
    result = md_engine("lammps").run(make_job(tmp_path, copper((2, 2, 2)), wait_s=60.0), tmp_path)
    happened = lines(tmp_path)
    waits = [
        line["step"]
        for line in happened
        if line["type"] == "progress" and line["state"] == "waiting"
    ]
    (swap,) = (line for line in happened if line["type"] == "swap")
    assert result.candidates == 3 and set(waits) == {swap["step"]}
    assert 0 < swap["step"] < result.steps
    assert (result.clean, result.breaks, len(started)) == (True, 0, 1), (
        "one simulation, from end to end"
    )


def test_break_rewinds_waits_and_resumes_with_the_next_potential(
    narrow, wide, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine_module, "POLL_S", 0.01)
    scripted_pointer(monkeypatch, 8, pointer(narrow), pointer(wide))
    job = make_job(tmp_path, copper((2, 2, 2)), gamma_break=2.6, wait_s=60.0, max_ps=4.0)
    result = md_engine("lammps").run(job, tmp_path)
    happened = lines(tmp_path)
    kinds = [line["type"] for line in happened if line["type"] in ("break", "swap", "resume")]
    assert kinds == ["break", "swap", "resume"]
    broke = next(line for line in happened if line["type"] == "break")
    assert broke["gamma"] > 2.6
    assert broke["potential"] == "narrow"
    assert any(line["type"] == "progress" and line["state"] == "waiting" for line in happened)
    offending = [
        line for line in happened if line["type"] == "candidate" and line["gamma"] == broke["gamma"]
    ]
    assert len(offending) == 1
    candidate = Candidate.from_json(json.loads((tmp_path / offending[0]["file"]).read_text()))
    assert is_sane(candidate.atoms)
    assert (result.clean, result.potential, result.breaks) == (True, "wide", 1)
    after = [
        line for line in happened if line["type"] == "progress" and line["potential"] == "wide"
    ]
    assert all(line["gamma_max"] <= 2.0 for line in after)


def test_waiting_in_vain_ends_unclean(narrow, tmp_path):
    point_at(tmp_path, "narrow", narrow)
    result = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), gamma_break=2.2), tmp_path
    )
    assert (result.clean, result.breaks, result.potential) == (False, 1, "narrow")
    assert (tmp_path / "snapshot.json").exists()


def test_overlapping_atoms_are_a_break_and_no_candidate(narrow, tmp_path):
    point_at(tmp_path, "narrow", narrow)
    start = copper((2, 2, 2))
    start.positions[0] = start.positions[1] + [0.4, 0.1, 0.0]
    result = md_engine("lammps").run(
        make_job(tmp_path, start, gamma_break=1e12, gamma_select=1e11), tmp_path
    )
    assert (result.clean, result.breaks, result.candidates) == (False, 1, 0)
    assert not any(line["type"] == "candidate" for line in lines(tmp_path))


def test_restarted_run_goes_on_from_its_snapshot(wide, tmp_path):
    point_at(tmp_path, "wide", wide)
    options = {"temperature_k": 300.0, "clean_ps": 5.0}
    first = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), max_ps=0.4, **options), tmp_path
    )
    kept = json.loads((tmp_path / "snapshot.json").read_text())
    assert 0 < kept["step"] <= first.steps == 200
    moved = np.abs(np.array(kept["atoms"]["positions"]) - copper((2, 2, 2)).positions) % 7.22
    assert 0.0 < np.minimum(moved, 7.22 - moved).max() < 1.0
    second = md_engine("lammps").run(
        make_job(tmp_path, copper((2, 2, 2)), max_ps=0.6, **options), tmp_path
    )
    assert second.steps == 300
    resumed = [line["step"] for line in lines(tmp_path) if line["type"] == "resume"]
    assert resumed == [kept["counters"]["step"]]
