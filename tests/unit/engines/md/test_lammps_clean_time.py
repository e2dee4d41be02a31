"""Real LAMMPS under a pair potential: pressure, moving cells, liquids, and what counts as a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from pair_evaluator import PairEvaluator, potential, reference

from mlip_autopipec.base.files import write_json
from mlip_autopipec.engines.md.lammps import engine as engine_module
from mlip_autopipec.engines.md.lammps import melting
from mlip_autopipec.engines.md.lammps.simulation import Dynamics, Simulation, maxwell_velocities
from mlip_autopipec.engines.ports import MdJob, MdResult
from mlip_autopipec.engines.registry import md_engine

RUN_STEPS, SETTLING_STEPS, SAMPLE_STEPS = 240, 60, 40
ALL_STEPS = SETTLING_STEPS + RUN_STEPS
TIMESTEP_FS = 2.0


def simulation(atoms: Atoms, ensemble: str = "nve", **more: Any) -> Simulation:
    velocities = maxwell_velocities(atoms, 300.0, np.random.default_rng(4))
    dynamics = Dynamics(ensemble, 300.0, 0.0, TIMESTEP_FS, seed=5, **more)
    evaluator: Any = PairEvaluator(Path("nowhere"), ("Cu",))
    return Simulation(atoms, velocities, ("Cu",), dynamics, evaluator)


@pytest.mark.parametrize("edge_a", [3.4, 3.8], ids=["compressed", "stretched"])
def test_pressure_tensor_in_md_is_that_of_the_potential(edge_a: float) -> None:
    """By ASE's own Lennard-Jones, component by component: sign, unit and order of the virial."""
    start = bulk("Cu", a=edge_a, cubic=True) * (3, 3, 3)
    start.set_cell(start.cell.array @ [[1.0, 0.05, 0.0], [0.0, 0.97, 0.03], [0.0, 0.0, 1.02]], True)
    start.rattle(0.05, seed=2)
    md = simulation(start)
    md.run(0)
    atoms, velocities = md.atoms(), md.velocities_a_per_ps() / (1000 * units.fs)
    atoms.calc = reference()
    kinetic = velocities.T * atoms.get_masses() @ velocities
    expected = kinetic / atoms.get_volume() - atoms.get_stress(voigt=False)
    found = [md.thermo(f"p{name}") * units.bar for name in ("xx", "yy", "zz", "xy", "xz", "yz")]
    energy = md.thermo("pe")
    md.close()
    order = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    assert np.allclose(found, [expected[i, j] for i, j in order], rtol=1e-6, atol=1e-9)
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    assert (np.trace(expected) > 0) == (edge_a == 3.4), "what is pressed together pushes outwards"


def test_a_compressed_crystal_expands_at_constant_pressure() -> None:
    start = bulk("Cu", a=3.4, cubic=True) * (2, 2, 2)
    md = simulation(start, "npt")
    md.run(100)
    volume = md.thermo("vol")
    md.close()
    assert volume > 1.01 * start.get_volume()


@pytest.mark.parametrize("motion", ["iso", "aniso", "tri"])
def test_the_cell_moves_as_it_may(motion: str) -> None:
    start = bulk("Cu", a=3.55, cubic=True) * (2, 2, 2)
    start.set_cell(start.cell.array @ [[1.05, 0, 0], [0, 0.97, 0], [0, 0.04, 1.0]], True)
    md = simulation(start, "npt", cell_motion=motion)
    md.run(200)
    before, after = start.cell.standard_form()[0].cellpar(), md.atoms().cell.cellpar()
    md.close()
    stretch, angles = after[:3] / before[:3], np.abs(after[3:] - before[3:]).max()
    assert (np.ptp(stretch) > 1e-3) == (motion != "iso"), "axes relax by themselves"
    # Angles change a little where axes alone do, since tilts are scaled with them.
    assert (angles > 0.3) == (motion == "tri")


@pytest.fixture
def explore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Explore from a first potential; returns result and stream."""
    pointer = tmp_path / "current.json"
    monkeypatch.setattr(
        engine_module,
        "evaluator_of",
        lambda folder, trainer, elements: PairEvaluator(folder, elements, pointer),
    )

    def run(
        first: Path, wait_s: float = 60.0, **changes: Any
    ) -> tuple[MdResult, list[dict[str, Any]]]:
        write_json(pointer, {"name": first.name, "folder": str(first), "trainer": "linear"})
        values = {
            "start": bulk("Cu", a=3.6, cubic=True) * (2, 2, 2),
            "elements": ("Cu",),
            "ensemble": "nvt",
            "temperature_k": 300.0,
            "pressure_gpa": 0.0,
            "timestep_fs": TIMESTEP_FS,
            "run_ps": RUN_STEPS * TIMESTEP_FS / 1000,
            "equilibration_ps": SETTLING_STEPS * TIMESTEP_FS / 1000,
            "sample_every_ps": SAMPLE_STEPS * TIMESTEP_FS / 1000,
            "gamma_break": 8.0,
            "gamma_every": 10,
            "wait_s": wait_s,
            "seed": 3,
            "pointer": pointer,
        }
        result = md_engine("lammps").run(MdJob(**{**values, **changes}), tmp_path / "md")
        text = (tmp_path / "md" / "stream.jsonl").read_text()
        assert isinstance(result, MdResult)
        return result, [json.loads(line) for line in text.splitlines()]

    return run


def of_type(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["type"] == kind]


def samples(folder: Path) -> list[tuple[str, int]]:
    """Potential and step of every frame that was kept."""
    lines = [
        json.loads(line) for line in (folder / "md" / "samples.jsonl").read_text().splitlines()
    ]
    return [(line["potential"], line["step"]) for line in lines]


def test_a_run_has_a_fixed_length_and_its_frames_are_decorrelated(
    explore: Any, tmp_path: Path
) -> None:
    result, lines = explore(potential(tmp_path / "000", [0.5] * 14 + [5.0, 0.5]))
    assert (result.clean, result.steps, result.potential) == (True, ALL_STEPS, "000")
    assert result.clean_ps == pytest.approx(RUN_STEPS * TIMESTEP_FS / 1000)
    assert not of_type(lines, "candidate"), "a grade below the limit breaks nothing"
    assert samples(tmp_path) == [
        ("000", SETTLING_STEPS + n * SAMPLE_STEPS) for n in range(1, RUN_STEPS // SAMPLE_STEPS + 1)
    ]
    assert result.samples == len(samples(tmp_path))


def test_a_potential_that_comes_into_force_makes_the_whole_run_from_where_the_atoms_stand(
    explore: Any, tmp_path: Path
) -> None:
    second = potential(tmp_path / "001")
    result, lines = explore(potential(tmp_path / "000", [0.5] * 14, then=second))
    (swap,) = of_type(lines, "swap")
    assert (swap["old"], swap["new"]) == ("000", "001")
    assert SETTLING_STEPS < swap["step"] < ALL_STEPS
    assert (result.clean, result.potential, result.swaps) == (True, "001", 1)
    assert result.steps - swap["step"] == ALL_STEPS
    own = [step for name, step in samples(tmp_path) if name == "001"]
    assert len(own) == result.samples == RUN_STEPS // SAMPLE_STEPS
    assert min(own) > swap["step"] + SETTLING_STEPS
    assert samples(tmp_path)[0][0] == "000", "what the old one met is kept as well"


def test_a_break_ends_the_run_and_the_next_potential_makes_it(explore: Any, tmp_path: Path) -> None:
    second = potential(tmp_path / "001")
    result, lines = explore(potential(tmp_path / "000", [0.5] * 12 + [9.0, 9.0], then=second))
    (stopped,) = of_type(lines, "break")
    assert stopped["gamma"] == 9.0 and stopped["potential"] == "000"
    before, broke = of_type(lines, "candidate")
    assert (before["gamma"], broke["gamma"]) == (0.5, 9.0), "one on the way, and what broke it"
    assert before["step"] < broke["step"] == stopped["step"]
    assert (result.clean, result.potential, result.breaks) == (True, "001", 1)
    assert result.steps - stopped["step"] == ALL_STEPS
    assert result.samples == RUN_STEPS // SAMPLE_STEPS


def test_a_break_with_no_better_potential_in_sight_is_no_clean_run(
    explore: Any, tmp_path: Path
) -> None:
    result, lines = explore(potential(tmp_path / "000", [0.5] * 20 + [9.0]), wait_s=0.0)
    assert samples(tmp_path), "it had begun"
    assert not result.clean
    assert (result.clean_ps, result.samples) == (0.0, 0)
    assert of_type(lines, "break") and not of_type(lines, "resume")


def test_a_break_for_another_reason_than_the_grade_ends_the_run_as_well(
    explore: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "is_sane", lambda atoms: False)
    result, lines = explore(potential(tmp_path / "000"), wait_s=0.0)
    (stopped,) = of_type(lines, "break")
    assert stopped["reason"] == "atoms too close" and stopped["step"] > 0
    assert (result.clean, result.clean_ps) == (False, 0.0)
    assert not of_type(lines, "candidate"), "what is not sane is not worth a calculation"


def test_serving_md_moves_on_until_the_fit_has_ended_and_keeps_no_more_frames(
    explore: Any, tmp_path: Path
) -> None:
    second = potential(tmp_path / "001")
    first = potential(tmp_path / "000", [0.5] * 70, then=second)
    result, lines = explore(first, serve=True)
    (swap,) = of_type(lines, "swap")
    assert swap["step"] > 1.5 * ALL_STEPS, "long after its own run was made"
    assert (result.clean, result.potential) == (True, "001")
    assert result.steps - swap["step"] == ALL_STEPS
    assert [name for name, _ in samples(tmp_path)] == ["000"] * 6 + ["001"] * 6
    assert not of_type(lines, "break") and not of_type(lines, "resume")


def test_a_liquid_is_counted_once_it_is_one(explore: Any, tmp_path: Path) -> None:
    """Lennard-Jones copper of this depth melts at some 2400 K; a crystal is given."""
    hot = {"temperature_k": 3200.0, "gamma_every": 10, "timestep_fs": 1.0}
    start = bulk("Cu", a=3.75, cubic=True) * (2, 2, 2)
    options = {"run_ps": 0.5, "equilibration_ps": 0.1, "sample_every_ps": 0.1}
    result, _ = explore(potential(tmp_path / "000"), start=start, melt_k=6000.0, **hot, **options)
    assert (result.clean, result.breaks) == (True, 0)
    assert result.clean_ps == pytest.approx(0.5)
    assert result.ps > 1.6 + 0.6, "melting and cooling do not count"
    assert 0.7 * 3200 < result.temperature_mean_k < 1.3 * 3200, "nor does the heat of melting"


def test_what_stays_a_crystal_is_never_counted_as_a_liquid(
    explore: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(melting, "HEATING_PS", 0.2)
    result, lines = explore(potential(tmp_path / "000"), wait_s=0.0, melt_k=150.0)
    (stopped,) = of_type(lines, "break")
    assert stopped["reason"].startswith("it does not melt at")
    assert (result.clean, result.samples) == (False, 0)


def test_nothing_of_a_run_stays_in_shared_memory() -> None:
    program = (
        "from mlip_autopipec.engines.md.lammps.library import open_lammps\n"
        "import os\n"
        "for _ in range(2):\n"
        "    lmp = open_lammps()\n"
        "    lmp.command('units metal')\n"
        "    lmp.close()\n"
        "print(f'{os.getpid():x}')\n"
    )
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    name = made.stdout.decode().split()[-1]
    assert not list(Path("/dev/shm").glob(f"mpich_shm_{name}_*"))
