"""Failures of the real pw.x, provoked and healed by the loop that the benchmark shows in full."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Task, TaskSpec
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.tasks import label

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def healing() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "healing.py"
    spec = importlib.util.spec_from_file_location("healing_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def energy_ev(healing: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> float:
    result = healing.heal(
        healing.Case("untroubled", "ok"), tmp_path_factory.mktemp("untroubled")
    ).result
    assert isinstance(result, Label)
    return result.energy_ev


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("cg with one iteration", "diagonalization=david"),
        ("time limit (continued)", "walltime_factor=2.0"),
        ("crash in the SCF cycle", "diagonalization=cg"),
    ],
)
def test_provoked_failures_are_healed(
    name: str, cure: str, healing: ModuleType, energy_ev: float, tmp_path: Path
) -> None:
    case = next(case for case in healing.CASES if case.name == name)
    found = healing.heal(case, tmp_path)
    assert found.classes == [case.expected]
    assert isinstance(found.result, Label), found.result
    assert found.result.energy_ev == pytest.approx(energy_ev, abs=1e-5)
    assert cure in found.cures[0]
    if case.keep_state:
        assert "restart_mode = 'restart'" in (tmp_path / "attempt-2" / "pw.in").read_text()


def test_a_task_out_of_time_goes_on_in_its_next_attempt(
    healing: ModuleType, energy_ev: float, tmp_path: Path
) -> None:
    dft = SimpleNamespace(
        engine="quantum_espresso", walltime_s=300.0, cores=1, threads=1, max_force_ev_per_a=50.0
    )
    plan = cast(Plan, SimpleNamespace(dft=dft))
    outcomes = []
    for attempt, factor in ((1, 5e-4), (2, 1.0)):
        job = LabelJob(
            healing.structure(), healing.METHOD, {"walltime_factor": factor}, healing.KMESH
        )
        payload = {"job": job.to_json(), "candidate": {}, "purpose": "train"}
        spec = TaskSpec(Task("label", payload), attempt, str(tmp_path), payload, {}, None)
        outcomes.append(label.run(spec, plan, tmp_path / f"attempt-{attempt}"))
    assert outcomes[0].failure is not None and outcomes[0].failure.kind == "out_of_walltime"
    assert outcomes[1].result is not None
    found = Label.from_json(outcomes[1].result)
    assert found.energy_ev == pytest.approx(energy_ev, abs=1e-5)
    assert "restart_mode = 'restart'" in (tmp_path / "attempt-2" / "pw.in").read_text()
    assert not list(tmp_path.rglob("charge-density*")), "what only a continuation needs is gone"
