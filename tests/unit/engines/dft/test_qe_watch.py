"""A hopeless SCF cycle is stopped; a slow one is not.

A run that stopped itself is continued, no other.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso.continuation import can_continue, resume
from mlip_autopipec.engines.dft.quantum_espresso.engine import QuantumEspresso
from mlip_autopipec.engines.dft.quantum_espresso.watch import (
    NOTE,
    PATIENCE,
    accuracies_ry,
    stop_if_stuck,
    stuck,
)

FIXTURES = Path(__file__).parents[3] / "fixtures"
START = "     scf convergence threshold =      1.0E-08\n     Self-consistent Calculation\n"


def cycle(values: list[float]) -> str:
    rows = (
        f"     iteration # {i}\n     estimated scf accuracy    < {value:12.3E} Ry\n"
        for i, value in enumerate(values)
    )
    return START + "".join(rows)


def test_a_cycle_that_oscillates_is_stuck_after_its_patience() -> None:
    values = [2.0, 0.5, *(0.16 + 0.05 * np.sin(i) for i in range(60))]
    assert stuck(cycle(values[: PATIENCE + 1])) is None
    reason = stuck(cycle(values))
    assert reason is not None and "Ry after 62 iterations" in reason


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_a_slow_cycle_is_left_alone(rate: float) -> None:
    values = [float(v) for v in 2.0 * np.exp(-rate * np.arange(90))]
    assert all(stuck(cycle(values[:n])) is None for n in range(1, 90))


def test_close_to_the_threshold_and_after_the_end_nothing_is_stopped() -> None:
    assert stuck(cycle([1.0, *[5e-8] * 60])) is None
    assert stuck(cycle([0.5] * 60) + "     End of self-consistent calculation\n") is None
    assert stuck("") is None and accuracies_ry("") == []


def test_each_cycle_of_a_relaxation_is_judged_alone() -> None:
    text = cycle([0.5] * 25) + "     End of self-consistent calculation\n" + cycle([0.5] * 25)
    assert accuracies_ry(text) == [0.5] * 25 and stuck(text) is None


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("qe*/*/*.out")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_no_recorded_run_is_taken_for_stuck(path: Path) -> None:
    lines = path.read_text(errors="replace").splitlines()
    assert stuck("\n".join(lines)) is None
    assert stuck("\n".join(lines[: len(lines) // 2])) is None


def test_a_stopped_run_is_called_not_converged(tmp_path: Path) -> None:
    (tmp_path / "pw.out").write_text(cycle([0.5] * 60))
    assert stop_if_stuck(tmp_path) and (tmp_path / "p.EXIT").exists()
    assert not stop_if_stuck(tmp_path)
    with (tmp_path / "pw.out").open("a") as file:
        file.write("     Program stopped by user request\n   JOB DONE.\n")
    failure = QuantumEspresso().parse(tmp_path, LabelJob(bulk("Si"), {}), 255)
    assert isinstance(failure, Failure) and failure.kind == "scf_not_converged" and failure.evidence
    (tmp_path / NOTE).unlink()
    failure = QuantumEspresso().parse(tmp_path, LabelJob(bulk("Si"), {}), 255)
    assert isinstance(failure, Failure) and failure.kind == "interrupted"


def test_a_run_that_stopped_itself_is_continued(tmp_path: Path) -> None:
    earlier, folder = tmp_path / "attempt-1", tmp_path / "attempt-2"
    (earlier / "out" / "p.save").mkdir(parents=True)
    prepared = Prepared({"pw.in": "&control\n  restart_mode = 'from_scratch'\n/\n"}, ("pw.x",))
    (earlier / "pw.out").write_text("     Maximum CPU time exceeded\n   JOB DONE.\n")
    assert resume(prepared, earlier, folder) == prepared and not can_continue(earlier)
    (earlier / "out" / "p.save" / "charge-density.dat").write_text("x")
    again = resume(prepared, earlier, folder)
    assert "restart_mode = 'restart'" in str(again.files["pw.in"])
    assert (folder / "out" / "p.save" / "charge-density.dat").exists() and not (
        earlier / "out"
    ).exists()
    (folder / "pw.out").write_text("     iteration #  1\n")
    assert not can_continue(folder)
