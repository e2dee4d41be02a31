"""Failures of the real pw.x, provoked and healed by the loop that the benchmark shows in full."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mlip_autopipec.types import Label

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
    result = healing.heal(healing.Case("untroubled", "ok"), tmp_path_factory.mktemp("untroubled")).result
    assert isinstance(result, Label)
    return result.energy_ev


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("cg with one iteration", "diagonalization=david"),
        ("time limit (continued)", "walltime_factor=2.0"),
        ("crash in the SCF cycle", "diagonalization=ppcg"),
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
