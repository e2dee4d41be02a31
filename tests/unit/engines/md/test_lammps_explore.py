"""The explore task: start cell, job and the takeover of a dead attempt's snapshot; the export of
examples.
"""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read
from ase.io.lammpsdata import read_lammps_data

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure, Task, TaskSpec
from mlip_autopipec.config.plan import Exploration, Material, Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.md.lammps.examples import export
from mlip_autopipec.engines.ports import MdExample, MdResult
from mlip_autopipec.science.lattices import md_cell
from mlip_autopipec.tasks import explore


@pytest.mark.parametrize(
    ("atoms", "wanted", "expected"),
    [
        (bulk("Si"), 64, 64),
        (bulk("Si", cubic=True), 64, 64),
        (bulk("NaCl", "rocksalt", a=5.6), 64, 64),
        (bulk("Fe"), 54, 54),
        (bulk("Cu") * (5, 5, 5), 32, 32),  # a supercell that came in is reduced first
    ],
)
def test_supercell_has_the_asked_size_and_is_a_cube(atoms, wanted, expected):
    cell = md_cell(atoms, wanted)
    assert len(cell) == expected
    lengths = cell.cell.lengths()
    assert lengths.max() == pytest.approx(lengths.min())
    assert np.allclose(cell.cell.angles(), 90.0)
    density = len(atoms) / atoms.cell.volume
    assert len(cell) / cell.cell.volume == pytest.approx(density, rel=1e-6)


def test_hexagonal_supercell_stays_near_the_size_and_not_a_needle():
    cell = md_cell(bulk("Ti"), 64)
    assert abs(len(cell) - 64) <= 16
    assert cell.cell.lengths().max() / cell.cell.lengths().min() < 1.5


def test_a_molecule_gets_a_box_instead_of_copies():
    cell = md_cell(molecule("C2H6"), 64)
    assert len(cell) == 8
    assert cell.pbc.all()
    assert (cell.cell.lengths() >= 16.0).all()


class RecordingEngine:
    def __init__(self, answer):
        self.answer, self.job, self.folder = answer, None, None

    def run(self, job, folder):
        self.job, self.folder = job, folder
        return self.answer


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """A run folder with a finished generate task; returns (run task, engine)."""
    generated = tmp_path / "tasks" / "generate-1" / "attempt-0"
    low = Candidate(bulk("Si", a=5.47), Provenance("prototype", "diamond"))
    high = Candidate(bulk("Si", "fcc", a=3.9), Provenance("prototype", "fcc"))
    write_json(generated / "start.json", [low.to_json(), high.to_json()])
    plan = Plan.model_construct(
        material=Material(formula="Si", fractions={"Si": 1.0}),
        exploration=Exploration(
            conditions=[],
            md_atoms=16,
            timestep_fs=2.0,
            run_ps=3.0,
            equilibration_ps=0.5,
            sample_every_ps=0.2,
            gamma_break=20.0,
        ),
    )
    engine = RecordingEngine(MdResult("007-abc", clean=True))
    monkeypatch.setattr(registry, "md_engine", lambda name: engine)
    condition = {"name": "hot", "ensemble": "npt", "temperature_k": 600.0, "pressure_gpa": 1.5}

    def run(salvage=None, serve=None, visit=0, **changes):
        payload = {"condition": {**condition, **changes}, "visit": visit, "seed": 11}
        if serve is not None:
            payload["serve"] = serve
        task = Task("explore", payload, needs=("generate-1",))
        spec = TaskSpec(
            task, 0, str(tmp_path), payload, {"generate-1": "tasks/generate-1/attempt-0"}, salvage
        )
        folder = tmp_path / "tasks" / "explore" / "attempt-0"
        folder.mkdir(parents=True, exist_ok=True)
        return explore.run(spec, plan, folder)

    return run, engine, tmp_path


def test_job_follows_plan_condition_and_lowest_start(campaign):
    run, engine, root = campaign
    outcome = run()
    assert (outcome.result["clean"], outcome.result["potential"]) == (True, "007-abc")
    job = engine.job
    assert len(job.start) == 16
    assert job.start.get_volume() == pytest.approx(2 * 5.47**3)
    assert (job.ensemble, job.temperature_k, job.pressure_gpa, job.seed) == ("npt", 600.0, 1.5, 11)
    assert (job.run_ps, job.equilibration_ps, job.sample_every_ps) == (3.0, 0.5, 0.2)
    assert (job.gamma_break, job.serve, job.melt_k, job.cell_motion) == (20.0, False, None, "iso")
    assert job.pointer == root / "potentials" / "current.json"


def test_each_start_of_a_condition_reaches_the_md(campaign):
    run, engine, _ = campaign
    run(start="vacancy")
    assert len(engine.job.start) == 15
    run(strain=0.03)
    assert engine.job.start.get_volume() == pytest.approx(1.03 * 2 * 5.47**3)
    run(start="phase")
    assert engine.job.start.get_volume() / len(engine.job.start) == pytest.approx(3.9**3 / 4)
    run(start="melt", temperature_k=2000.0)
    assert engine.job.melt_k == pytest.approx(4000.0)
    run(role="check", atoms=216)
    assert len(engine.job.start) == 216
    assert 0 < engine.job.run_ps < 3.0, "many atoms need less time"


def test_md_that_is_to_serve_is_told_so(campaign):
    run, engine, root = campaign
    write_json(root / "potentials/current.json", {"name": "003-abc"})
    run(serve="003-abc")
    assert engine.job.serve


def test_md_that_comes_too_late_to_serve_waits_for_nobody(campaign):
    run, engine, root = campaign
    write_json(root / "potentials/current.json", {"name": "004-def"})
    run(serve="003-abc")
    assert not engine.job.serve, "the potential it was to wait for is in force"


def test_failure_of_the_engine_is_a_value(campaign):
    run, engine, _ = campaign
    engine.answer = Failure("md", "gave up")
    outcome = run()
    assert not outcome.ok
    assert outcome.failure == Failure("md", "gave up")


def test_snapshot_of_a_dead_attempt_is_taken_over(campaign):
    run, engine, root = campaign
    write_json(root / "tasks" / "explore" / "dead" / "snapshot.json", {"step": 40})
    run(salvage="tasks/explore/dead")
    assert (engine.folder / "snapshot.json").read_text().strip().startswith("{")


def test_export_writes_the_same_structure_for_lammps_and_ase(tmp_path):
    potential = tmp_path / "potential"
    potential.mkdir()
    for name in ("potential.yaml", "guard.yaml", "potential.asi", "potential.yace"):
        (potential / name).write_text(name)
    start = bulk("GaAs", "zincblende", a=5.65) * (2, 2, 2)
    start.rattle(0.05, seed=1)
    out = tmp_path / "result"
    export(MdExample(potential, start, out, out, 600.0, ("As", "Ga")))
    data = read_lammps_data(
        out / "structure.data", units="metal", atom_style="atomic", sort_by_id=True
    )
    assert data.get_chemical_symbols() == start.get_chemical_symbols()
    ours, theirs = read(out / "structure.extxyz"), data
    assert np.allclose(
        ours.get_all_distances(mic=True), theirs.get_all_distances(mic=True), atol=1e-5
    )
    assert np.allclose(
        ours.get_all_distances(mic=True), start.get_all_distances(mic=True), atol=1e-5
    )
    script = (out / "in.lammps").read_text()
    assert "pair_coeff      * * pace ${here}/potential.yace ${element1} ${element2}" in script
    assert "pace/extrapolation ${here}/fit/guard.yaml ${here}/fit/potential.asi" in script
    assert (
        "variable        temperature index 600" in script
        and "nvt temp ${temperature} ${temperature}" in script
    )
    # Parts of the fit alone, which give other energies than DFT, stay in its own folder.
    assert (out / "potential.yace").read_text() == "potential.yace"
    assert not (out / "potential.yaml").exists() and not (out / "guard.yaml").exists()
