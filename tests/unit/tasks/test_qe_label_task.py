"""The label task around an engine: refusal, failure, salvage, clean-up."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.base import process
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.tasks import Failure, Task, TaskSpec
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.runtime.executors.parsl import block
from mlip_autopipec.tasks import label
from mlip_autopipec.testing import SimulatedDft

SCRIPT = """
import pathlib
pathlib.Path("out/p.save").mkdir(parents=True)
saved = [f"p.save/{name}" for name in ("wfc1.dat", "data-file-schema.xml", "charge-density.dat")]
for name in ("p.xml", *saved):
    pathlib.Path("out", name).write_text("x")
print("energy", -5.5)
"""


class OneLineEngine(SimulatedDft):
    """A program that prints an energy; ``seen`` records the wall times that were asked for."""

    seen: list[float] = []  # noqa: RUF012

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        type(self).seen.append(walltime_s)
        return Prepared({"run.py": SCRIPT}, (sys.executable, "run.py"))

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        output = folder / "stdout.txt"
        if not output.is_file() or "energy" not in output.read_text():
            return Failure("interrupted", "no energy")
        energy = float(output.read_text().split()[1])
        if energy < -job.numerics["max_force_ev_per_a"]:
            return Failure("geometry", "beyond the ceiling")
        return Label(energy, np.zeros((len(job.atoms), 3)), np.zeros(6), job.method_hash, 1, 0.0)

    def repair(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        return None

    def scratch(self, folder: Path) -> list[Path]:
        return [path for path in (folder / "out").rglob("*") if path.suffix == ".dat"]


def plan(ceiling: float = 50.0) -> Plan:
    dft = SimpleNamespace(
        engine=f"{__name__}:OneLineEngine",
        walltime_s=20.0,
        cores=1,
        threads=1,
        max_force_ev_per_a=ceiling,
    )
    return cast(Plan, SimpleNamespace(dft=dft))


def spec(
    root: Path, atoms: Atoms, salvage: str | None = None, attempt: int = 2, **numerics: Any
) -> TaskSpec:
    payload = {
        "candidate": {},
        "job": LabelJob(atoms, {"a": 1}, numerics).to_json(),
        "purpose": "train",
    }
    return TaskSpec(Task("label", payload), attempt, str(root), payload, {}, salvage)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    OneLineEngine.seen.clear()


def test_label_is_the_result_and_only_small_files_stay(tmp_path: Path) -> None:
    outcome = label.run(
        spec(tmp_path, bulk("Si"), walltime_factor=2.0), plan(), tmp_path / "attempt-1"
    )
    assert outcome.ok and outcome.result is not None
    assert Label.from_json(outcome.result).energy_ev == -5.5
    assert OneLineEngine.seen == [40.0]
    left = {path.name for path in (tmp_path / "attempt-1" / "out").rglob("*") if path.is_file()}
    assert left == {"p.xml", "data-file-schema.xml"}


def test_atoms_on_top_of_each_other_never_start_the_program(tmp_path: Path) -> None:
    atoms = bulk("Si", cubic=True)
    atoms.positions[3] = atoms.positions[1] + [0.0, 0.3, 0.2]
    outcome = label.run(spec(tmp_path, atoms), plan(), tmp_path / "attempt-1")
    assert outcome.failure is not None and outcome.failure.kind == "geometry"
    assert "1 and 3 are 0.361" in outcome.failure.message
    assert OneLineEngine.seen == []
    image = Atoms("Si", cell=[0.7, 5, 5], pbc=True)
    assert label.too_close(image) is not None
    assert label.too_close(bulk("Si", cubic=True)) is None
    assert label.too_close(Atoms("H2", [(0, 0, 0), (0, 0, 0.74)], cell=[8, 8, 8], pbc=True)) is None


def test_the_plan_gives_the_force_ceiling(tmp_path: Path) -> None:
    outcome = label.run(spec(tmp_path, bulk("Si")), plan(ceiling=5.0), tmp_path / "attempt-1")
    assert (
        outcome.failure is not None
        and outcome.failure.kind == "geometry"
        and outcome.result is None
    )


def test_finished_work_of_a_dead_attempt_is_taken_over(tmp_path: Path) -> None:
    dead = tmp_path / "tasks" / "t" / "attempt-1"
    dead.mkdir(parents=True)
    (dead / "stdout.txt").write_text("energy -7.25")
    folder = tmp_path / "tasks" / "t" / "attempt-2"
    outcome = label.run(spec(tmp_path, bulk("Si"), salvage="tasks/t/attempt-1"), plan(), folder)
    assert outcome.result is not None and Label.from_json(outcome.result).energy_ev == -7.25
    assert OneLineEngine.seen == [] and (folder / "salvaged").read_text() == "attempt-1\n"


def test_unfinished_work_of_a_dead_attempt_is_done_again(tmp_path: Path) -> None:
    outcome = label.run(spec(tmp_path, bulk("Si"), salvage="gone"), plan(), tmp_path / "attempt-2")
    assert outcome.result is not None and Label.from_json(outcome.result).energy_ev == -5.5
    assert not (tmp_path / "attempt-2" / "salvaged").exists()


class PatientEngine(OneLineEngine):
    """Goes on where an attempt ran out of time; ``looked`` counts how often a run was watched."""

    looked: list[Path] = []  # noqa: RUF012

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        type(self).seen.append(walltime_s)
        script = (
            "import pathlib, time; time.sleep(0.6); print('energy', -7.0 if"
            " pathlib.Path('state').exists() else 0)"
        )
        return Prepared({"run.py": script}, (sys.executable, "run.py"))

    def resume(self, prepared: Prepared, earlier: Path, folder: Path) -> Prepared:
        folder.mkdir(parents=True, exist_ok=True)
        (earlier / "state").rename(folder / "state")
        return prepared

    def watch(self, folder: Path) -> None:
        type(self).looked.append(folder)

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        found = super().parse(folder, job, exit_code)
        return (
            found
            if isinstance(found, Label) and found.energy_ev
            else Failure(label.OUT_OF_WALLTIME, "no time")
        )


def patient_plan() -> Plan:
    dft = SimpleNamespace(
        engine=f"{__name__}:PatientEngine",
        walltime_s=200.0,
        cores=1,
        threads=1,
        max_force_ev_per_a=50.0,
    )
    return cast(Plan, SimpleNamespace(dft=dft))


def test_the_next_attempt_goes_on_from_the_state_of_one_that_ran_out_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_WATCH_EVERY_S", 0.1)
    first = tmp_path / "attempt-1"
    (first / "out").mkdir(parents=True)
    (first / "state").touch()
    (first / "out" / "wfc1.dat").touch()
    outcome = label.run(spec(tmp_path, bulk("Si")), patient_plan(), tmp_path / "attempt-2")
    assert outcome.result is not None and Label.from_json(outcome.result).energy_ev == -7.0
    assert not any(path.is_file() for path in first.rglob("*")), (
        "what the next attempt does not need is gone"
    )
    assert PatientEngine.looked and set(PatientEngine.looked) == {tmp_path / "attempt-2"}


def test_a_run_out_of_time_keeps_its_state_and_another_failure_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "attempt-1"
    (folder / "out").mkdir(parents=True)
    (folder / "out" / "charge-density.dat").touch()
    outcome = label.run(spec(tmp_path, bulk("Si"), attempt=1), patient_plan(), folder)
    assert outcome.failure is not None and outcome.failure.kind == "out_of_walltime"
    assert (folder / "out" / "charge-density.dat").exists()
    other = tmp_path / "attempt-0"
    (other / "out").mkdir(parents=True)
    (other / "out" / "charge-density.dat").touch()
    assert label.run(spec(tmp_path, bulk("Si")), plan(ceiling=5.0), other).failure is not None
    assert not (other / "out" / "charge-density.dat").exists()


def test_a_calculation_ends_before_its_allocation_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(block.ENDS, "1160")
    monkeypatch.setattr(block.time, "time", lambda: 1000.0)
    label.run(spec(tmp_path, bulk("Si"), walltime_factor=20.0), plan(), tmp_path / "attempt-1")
    assert OneLineEngine.seen == [100.0]
