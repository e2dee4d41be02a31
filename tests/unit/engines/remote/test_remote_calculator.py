"""A calculator in another process answers like one here, says why it cannot, and never outlives its
parent.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed
from ase.calculators.emt import EMT

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.engines.remote.calculator import RemoteCalculator
from mlip_autopipec.engines.remote.process import WorkerEndedError, find_interpreter

BACKEND = """
import os, signal, time
from ase.calculators.calculator import CalculationFailed
from ase.calculators.emt import EMT

class Moody(EMT):
    def calculate(self, atoms, properties, changes):
        print("a library that talks on standard output")
        case = {5: "fail", 6: "bug", 7: "die", 8: "sleep"}.get(len(atoms))
        if case == "fail":
            raise CalculationFailed("no neighbour")
        if case == "bug":
            raise ZeroDivisionError("a bug")
        if case == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if case == "sleep":
            time.sleep(1000)
        super().calculate(atoms, properties, changes)

def load(options):
    print(options)
    if options.get("broken"):
        raise FileNotFoundError("weights.pth")
    return Moody(), ["Cu", "Au"]
"""


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(BACKEND)
    return path


def _remote(backend: Path, **options: bool) -> RemoteCalculator:
    return RemoteCalculator("EMT", sys.executable, backend, options)


def _crystal() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = "Au"
    atoms.set_cell(
        atoms.cell.array @ [[1.02, 0.03, 0], [0, 0.97, 0.01], [0, 0, 1.04]], scale_atoms=True
    )
    atoms.rattle(0.1, seed=0)
    return atoms


def test_it_answers_like_the_calculator_itself(backend: Path) -> None:
    here, there = _crystal(), _crystal()
    here.calc, there.calc = EMT(), _remote(backend)
    assert there.get_potential_energy() == here.get_potential_energy()
    assert there.get_potential_energy(force_consistent=True) == here.get_potential_energy()
    assert np.array_equal(there.get_forces(), here.get_forces())
    assert np.array_equal(there.get_stress(), here.get_stress())
    there.positions[1] += 0.1
    assert there.get_potential_energy() != here.get_potential_energy()


def test_a_failed_calculation_keeps_its_reason_and_the_process_goes_on(backend: Path) -> None:
    calculator = _remote(backend)
    five, four = Atoms("Cu5", positions=np.eye(5, 3)), _crystal()
    five.calc = four.calc = calculator
    with pytest.raises(CalculationFailed, match="EMT: no neighbour"):
        five.get_potential_energy()
    pid = calculator.worker.pid
    assert np.isfinite(four.get_potential_energy())
    assert calculator.worker.pid == pid


def test_an_element_of_another_model_is_named_before_anything_is_sent(backend: Path) -> None:
    atoms = bulk("Si")
    atoms.calc = _remote(backend)
    with pytest.raises(InputError, match="Si"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(("n_atoms", "said"), [(6, "ZeroDivisionError: a bug"), (7, "code -9")])
def test_a_bug_or_a_death_is_an_error_with_its_last_words(
    backend: Path, n_atoms: int, said: str
) -> None:
    atoms = Atoms(f"Cu{n_atoms}", positions=3 * np.arange(3 * n_atoms).reshape(-1, 3))
    atoms.calc = _remote(backend)
    with pytest.raises(WorkerEndedError, match=said):
        atoms.get_potential_energy()


def test_a_model_that_cannot_be_loaded_says_why_at_once(backend: Path) -> None:
    with pytest.raises(WorkerEndedError, match=r"weights\.pth"):
        _remote(backend, broken=True)


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def _gone(pid: int, within_s: float = 20) -> bool:
    end = time.monotonic() + within_s
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not _alive(pid)


def test_kill_9_of_the_parent_ends_a_worker_in_the_middle_of_its_work(backend: Path) -> None:
    code = (
        "import sys, pathlib, numpy as np\nfrom ase import Atoms\nfrom"
        " mlip_autopipec.engines.remote.calculator import RemoteCalculator\natoms = Atoms('Cu8',"
        " positions=3.0 * np.arange(24).reshape(8, 3))\natoms.calc = RemoteCalculator('EMT',"
        f" sys.executable, pathlib.Path({str(backend)!r}), {{}})\nprint(atoms.calc.worker.pid,"
        " flush=True)\natoms.get_potential_energy()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        time.sleep(0.5)
        assert _alive(worker)
        parent.kill()
    assert _gone(worker)


def test_a_worker_ends_with_its_calculator(backend: Path) -> None:
    calculator = _remote(backend)
    pid = calculator.worker.pid
    del calculator
    gc.collect()  # ASE's calculators refer to themselves
    assert _gone(pid)


def test_the_interpreter_comes_from_the_variable_the_folder_beside_or_this_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def find(package: str) -> str:
        return find_interpreter(
            package, variable="MLIP_X_PYTHON", venv=".venv-x", install="make surrogate-x"
        )

    monkeypatch.delenv("MLIP_X_PYTHON", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert find("ase") == sys.executable
    beside = tmp_path / ".venv-x" / "bin" / "python"
    beside.parent.mkdir(parents=True)
    beside.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    beside.chmod(0o755)
    assert find("ase") == str(beside)
    monkeypatch.setenv("MLIP_X_PYTHON", sys.executable)
    assert find("ase") == sys.executable
    with pytest.raises(MissingProgramError, match=r"no_such.*make surrogate-x"):
        find("no_such")
    monkeypatch.setenv("MLIP_X_PYTHON", os.devnull)
    with pytest.raises(MissingProgramError, match="MLIP_X_PYTHON=/dev/null"):
        find("ase")
