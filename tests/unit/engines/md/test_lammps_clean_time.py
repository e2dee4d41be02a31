"""Real LAMMPS under a pair potential: pressure, and what ends the clean time of a potential."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from pair_evaluator import PairEvaluator, potential, reference

from mlip_autopipec.base.files import write_json
from mlip_autopipec.engines.md.lammps import engine as engine_module
from mlip_autopipec.engines.md.lammps.simulation import Dynamics, Simulation, maxwell_velocities
from mlip_autopipec.engines.ports import MdJob, MdResult
from mlip_autopipec.engines.registry import md_engine

CLEAN_STEPS = 200
SEGMENT = 100
TIMESTEP_FS = 2.0


def simulation(atoms: Atoms, ensemble: str = "nve") -> Simulation:
    velocities = maxwell_velocities(atoms, 300.0, np.random.default_rng(4))
    dynamics = Dynamics(ensemble, 300.0, 0.0, TIMESTEP_FS, seed=5)
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


@pytest.fixture
def explore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Explore from a first potential; returns result and stream."""
    pointer = tmp_path / "current.json"
    monkeypatch.setattr(
        engine_module,
        "evaluator_of",
        lambda folder, trainer, elements: PairEvaluator(folder, elements, pointer),
    )

    def run(first: Path, wait_s: float = 60.0) -> tuple[MdResult, list[dict[str, Any]]]:
        write_json(pointer, {"name": first.name, "folder": str(first), "trainer": "linear"})
        job = MdJob(
            start=bulk("Cu", a=3.6, cubic=True) * (2, 2, 2),
            elements=("Cu",),
            ensemble="nvt",
            temperature_k=300.0,
            pressure_gpa=0.0,
            timestep_fs=TIMESTEP_FS,
            clean_ps=CLEAN_STEPS * TIMESTEP_FS / 1000,
            max_ps=4.0,
            gamma_select=2.0,
            gamma_break=8.0,
            gamma_every=10,
            max_candidates_per_potential=3,
            wait_s=wait_s,
            seed=3,
            pointer=pointer,
        )
        result = md_engine("lammps").run(job, tmp_path / "md")
        text = (tmp_path / "md" / "stream.jsonl").read_text()
        assert isinstance(result, MdResult)
        return result, [json.loads(line) for line in text.splitlines()]

    return run


def of_type(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["type"] == kind]


def test_a_run_that_meets_nothing_new_ends_after_the_clean_time(
    explore: Any, tmp_path: Path
) -> None:
    result, lines = explore(potential(tmp_path / "000"))
    assert (result.clean, result.steps, result.potential) == (True, CLEAN_STEPS, "000")
    assert not of_type(lines, "candidate")


def test_a_grade_above_select_starts_the_clean_time_anew(explore: Any, tmp_path: Path) -> None:
    result, lines = explore(potential(tmp_path / "000", [0.5] * 14 + [3.0, 0.5]))
    (met,) = of_type(lines, "candidate")
    assert met["step"] > CLEAN_STEPS / 2
    assert result.clean
    since = result.steps - met["step"]
    assert CLEAN_STEPS <= since < CLEAN_STEPS + SEGMENT, "to the end of a segment"
    assert result.clean_ps == pytest.approx(since * TIMESTEP_FS / 1000)


def test_a_potential_that_comes_into_force_earns_its_clean_time_itself(
    explore: Any, tmp_path: Path
) -> None:
    second = potential(tmp_path / "001")
    result, lines = explore(potential(tmp_path / "000", [0.5] * 8, then=second))
    (swap,) = of_type(lines, "swap")
    assert (swap["old"], swap["new"]) == ("000", "001")
    assert 0 < swap["step"] < CLEAN_STEPS
    assert (result.clean, result.potential, result.swaps) == (True, "001", 1)
    assert result.steps - swap["step"] == CLEAN_STEPS


def test_a_break_ends_the_clean_time_and_the_next_potential_goes_on(
    explore: Any, tmp_path: Path
) -> None:
    second = potential(tmp_path / "001")
    result, lines = explore(potential(tmp_path / "000", [0.5] * 12 + [9.0, 9.0], then=second))
    (stopped,) = of_type(lines, "break")
    assert stopped["gamma"] == 9.0 and stopped["potential"] == "000"
    assert [line["gamma"] for line in of_type(lines, "candidate")] == [9.0]
    assert (result.clean, result.potential, result.breaks) == (True, "001", 1)
    assert result.steps - stopped["step"] == CLEAN_STEPS


def test_a_break_with_no_better_potential_in_sight_is_no_clean_run(
    explore: Any, tmp_path: Path
) -> None:
    result, lines = explore(potential(tmp_path / "000", [0.5] * 15 + [9.0]), wait_s=0.0)
    assert not result.clean
    assert result.clean_ps == 0.0
    assert of_type(lines, "break") and not of_type(lines, "resume")


def test_a_break_for_another_reason_than_the_grade_ends_the_clean_time_as_well(
    explore: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "is_sane", lambda atoms: False)
    result, lines = explore(potential(tmp_path / "000"), wait_s=0.0)
    (stopped,) = of_type(lines, "break")
    assert stopped["reason"] == "atoms too close" and stopped["step"] > 0
    assert (result.clean, result.clean_ps) == (False, 0.0)
    assert not of_type(lines, "candidate"), "what is not sane is not worth a calculation"
