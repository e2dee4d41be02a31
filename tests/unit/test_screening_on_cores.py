"""The screen on several processes: same verdicts, in order, each with its reason; deaths cost nothing but time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.engines.worker_process import WorkerEndedError
from mlip_autopipec.errors import InputError
from mlip_autopipec.runtime.screening import LOOKAHEAD, evaluate_stream, screen_on_cores, useful_workers
from mlip_autopipec.science.screening import Limits, screen
from mlip_autopipec.testing import SimulatedSurrogate
from mlip_autopipec.types import Candidate, Provenance

ENGINE = "mlip_autopipec.testing:SimulatedSurrogate"
LIMITS = Limits(0.7, max_force_ev_per_a=4.0, max_energy_above_lowest_ev_per_atom=1.0)

MOODY = """
import os, signal
from pathlib import Path
from mlip_autopipec.testing import SimulatedSurrogate

class Moody(SimulatedSurrogate):
    def calculator(self):
        calculator = super().calculator()
        calculate = calculator.calculate
        def moody(atoms=None, *args, **kwargs):
            symbols = str(atoms.symbols)
            if "Ag" in symbols or ("Ni" in symbols and not Path(os.environ["ONCE"]).exists()):
                Path(os.environ["ONCE"]).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if "Al" in symbols:
                raise ZeroDivisionError("a bug")
            calculate(atoms, *args, **kwargs)
        calculator.calculate = moody
        return calculator
"""


def _copper(dx: float = 0.0, scale: float = 1.0, symbol: str = "Cu") -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.positions[0, 0] += dx
    atoms.symbols[1] = symbol
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    return atoms


def _candidates() -> list[Candidate]:
    shapes = [(0.0, 1.0), (1.6, 1.0), (0.7, 1.0), (0.0, 1.6), (0.1, 1.0), (0.2, 1.01), (0.05, 0.99), (0.3, 1.0)]
    return [Candidate(_copper(*shape), Provenance("test", str(index))) for index, shape in enumerate(shapes)]


def test_verdicts_are_those_of_one_process_whatever_the_number_of_workers() -> None:
    candidates = _candidates()
    alone = screen(candidates, SimulatedSurrogate().calculator(), LIMITS)
    assert [verdict.kind for verdict in alone.verdicts[:5]] == [None, "too_close", "large_force", "high_energy", None]
    told: list[tuple[int, int, float | None]] = []
    for workers in (1, 3):
        told.clear()
        many = screen_on_cores(
            candidates,
            ENGINE,
            LIMITS,
            workers=workers,
            progress=lambda done, total, eta: told.append((done, total, eta)),
        )
        assert many == alone
        assert [done for done, _, _ in told] == list(range(1, 9)) and {total for _, total, _ in told} == {8}
        assert told[0][2] is None and told[-1][2] == 0 and all(eta >= 0 for _, _, eta in told[1:] if eta is not None)


def test_a_long_stream_is_drawn_as_it_is_needed() -> None:
    drawn = 0

    def source() -> Iterator[Atoms]:
        nonlocal drawn
        while True:
            drawn += 1
            yield _copper(0.001 * drawn)

    stream = evaluate_stream(source(), ENGINE, LIMITS, workers=1)
    for expected in range(5):
        index, evaluation = next(stream)
        assert index == expected and evaluation.reason is None and evaluation.energy_ev_per_atom is not None
    assert drawn <= 5 + LOOKAHEAD
    stream.close()


@pytest.fixture
def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "moody.py").write_text(MOODY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("ONCE", str(tmp_path / "died_once"))
    return "moody:Moody"


def test_a_structure_that_kills_its_process_twice_is_rejected_with_that_reason(moody: str) -> None:
    structures = [_copper(0.1), _copper(symbol="Ag"), _copper(0.2), _copper(0.3)]
    found = [evaluation for _, evaluation in evaluate_stream(structures, moody, LIMITS, workers=1)]
    assert [evaluation.kind for evaluation in found] == [None, "surrogate_failed", None, None]
    assert found[1].reason is not None and "twice" in found[1].reason and "-9" in found[1].reason


def test_a_process_that_dies_once_costs_no_structure(moody: str) -> None:
    structures = [_copper(0.1), _copper(symbol="Ni"), _copper(0.2)]
    found = [evaluation for _, evaluation in evaluate_stream(structures, moody, LIMITS, workers=1)]
    assert [evaluation.kind for evaluation in found] == [None, None, None]


def test_a_bug_in_the_surrogate_is_no_reason_to_reject(moody: str) -> None:
    with pytest.raises(WorkerEndedError, match="ZeroDivisionError"):
        list(evaluate_stream([_copper(symbol="Al")], moody, LIMITS, workers=1))


def test_an_element_that_the_surrogate_lacks_leaves_geometry_and_an_unknown_engine_is_named() -> None:
    silicon = [Candidate(bulk("Si", cubic=True), Provenance("test", "si"))]
    assert screen_on_cores(silicon, ENGINE, LIMITS, workers=2).geometry_only
    with pytest.raises(InputError, match="chgnet"):
        screen_on_cores(silicon, "chgnt", LIMITS, workers=2)
    with pytest.raises(ValueError, match="at least 1"):
        list(evaluate_stream([], ENGINE, LIMITS, workers=0))
    assert list(evaluate_stream([], ENGINE, LIMITS, workers=2)) == []


def test_workers_are_started_where_they_pay() -> None:
    assert [useful_workers(count, 8) for count in (0, 150, 400, 5000)] == [1, 1, 4, 8]
