"""The table of ``make mutants`` fits the code: a fault that is not in it tests nothing."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.mutants.__main__")


def test_every_fault_stands_once_in_the_code_and_names_its_tests(mutants: ModuleType) -> None:
    assert len(mutants.MUTANTS) >= 40
    assert len({mutant.name for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS)
    problems = {mutant.name: mutants.misfit(mutant, ROOT) for mutant in mutants.MUTANTS}
    assert not {name: problem for name, problem in problems.items() if problem}
    missing = [
        test
        for mutant in mutants.MUTANTS
        for test in mutant.tests
        if not (ROOT / "tests" / test).exists()
    ]
    assert not missing
