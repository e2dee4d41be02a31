"""The screen on several processes: same verdicts, in order, each with its reason; deaths cost
nothing but time.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.errors import MissingProgramError, MlipError
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.remote.calculator import RemoteCalculator
from mlip_autopipec.proposing.pieces import screened
from mlip_autopipec.proposing.pool import SurrogatePool, opened
from mlip_autopipec.science.screening import Limits, evaluate, screen
from mlip_autopipec.testing import SimulatedSurrogate, simulated_plan

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

def load(options):
    return Moody().calculator(), ["Cu", "Ag", "Ni"]
"""


def _copper(dx: float = 0.0, scale: float = 1.0, symbol: str = "Cu") -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.positions[0, 0] += dx
    atoms.symbols[1] = symbol
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    return atoms


def _candidates(*structures: Atoms) -> list[Candidate]:
    return [
        Candidate(atoms, Provenance("test", str(index))) for index, atoms in enumerate(structures)
    ]


def _told(_what: str, _share: float) -> None:
    pass


def test_verdicts_are_those_of_one_process_whatever_the_number_of_processes() -> None:
    shapes = [
        (0.0, 1.0),
        (1.6, 1.0),
        (0.7, 1.0),
        (0.0, 1.6),
        (0.1, 1.0),
        (0.2, 1.01),
        (0.05, 0.99),
        (0.3, 1.0),
    ]
    candidates = _candidates(*(_copper(*shape) for shape in shapes))
    alone = screen(candidates, SimulatedSurrogate().calculator(), LIMITS)
    assert [verdict.kind for verdict in alone.verdicts[:5]] == [
        None,
        "too_close",
        "large_force",
        "high_energy",
        None,
    ]
    plan = simulated_plan(
        surrogate={
            "engine": ENGINE,
            "max_force_ev_per_a": 4.0,
            "max_energy_above_lowest_ev_per_atom": 1.0,
        }
    )
    for processes in (1, 2):
        with opened(plan, processes, _told) as pool:
            assert pool.processes == processes
            assert screened(plan, candidates, [], pool) == alone


@pytest.fixture
def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "moody.py").write_text(MOODY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ONCE", str(tmp_path / "died_once"))
    return "moody:Moody"


def _loaded(engine: str) -> Calculator:
    return registry.surrogate(engine).calculator()


def test_a_structure_that_kills_its_process_twice_is_rejected_with_that_reason(moody: str) -> None:
    plan = simulated_plan(surrogate={"engine": moody})
    candidates = _candidates(
        *(_copper(0.02 * n, symbol="Ag" if n == 1 else "Cu") for n in range(7))
    )
    with opened(plan, 2, _told) as pool:
        found = screened(plan, candidates, [], pool)
        assert [verdict.kind for verdict in found.verdicts] == [
            None,
            "surrogate_failed",
            *[None] * 5,
        ]
        reason = found.verdicts[1].reason
        assert reason is not None and "twice" in reason
        with pytest.raises(MlipError, match="killed"):  # work that nothing can stand in for
            pool.evaluate("starts", partial(evaluate, limits=LIMITS), [_copper(symbol="Ag")])


def test_a_process_that_dies_once_costs_no_structure(moody: str) -> None:
    told: list[float] = []
    structures = [_copper(0.02 * n, symbol="Ni" if n == 3 else "Cu") for n in range(7)]
    with SurrogatePool(partial(_loaded, moody), 2, lambda _, share: told.append(share)) as pool:
        found = pool.evaluate("screen", partial(evaluate, limits=LIMITS), structures)
        alone = [evaluate(atoms, SimulatedSurrogate().calculator(), LIMITS) for atoms in structures]
        assert found == alone and len({evaluation.energy_ev_per_atom for evaluation in found}) == 7
        assert told[-1] == 1
        # One that is killed while it waits for work is replaced as well.
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)
        assert pool.evaluate("screen", partial(evaluate, limits=LIMITS), structures) == alone


def _remote(backend: str) -> Calculator:
    return RemoteCalculator("EMT", sys.executable, Path(backend), {})


def test_an_interpreter_of_the_model_that_dies_is_replaced_too(
    moody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures = [_copper(0.02 * n, symbol="Ni" if n == 1 else "Cu") for n in range(4)]
    with SurrogatePool(partial(_remote, str(tmp_path / "moody.py")), 2, _told) as pool:
        found = pool.evaluate("screen", partial(evaluate, limits=LIMITS), structures)
    assert [evaluation.kind for evaluation in found] == [None] * 4
    assert Path(os.environ["ONCE"]).exists()


def test_a_bug_in_the_surrogate_is_no_reason_to_reject(moody: str) -> None:
    with (
        pytest.raises(ZeroDivisionError, match="a bug"),
        SurrogatePool(partial(_loaded, moody), 2, _told) as pool,
    ):
        pool.evaluate("screen", partial(evaluate, limits=LIMITS), [_copper(), _copper(symbol="Al")])


def _absent() -> Calculator:
    raise MissingProgramError("the Python package 'chgnet'", "pip install chgnet")


def _deadly() -> Calculator:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_model_that_cannot_be_loaded_says_why_and_blames_no_structure() -> None:
    with (
        pytest.raises(MissingProgramError, match="pip install chgnet"),
        SurrogatePool(_absent, 2, _told) as pool,
    ):
        pool.evaluate("screen", partial(evaluate, limits=LIMITS), [_copper()])
    with pytest.raises(MlipError, match="fewer cores"), SurrogatePool(_deadly, 2, _told) as pool:
        pool.evaluate("screen", partial(evaluate, limits=LIMITS), [_copper()], pytest.fail)


def test_an_element_that_the_surrogate_lacks_leaves_geometry() -> None:
    plan = simulated_plan(
        surrogate={"engine": ENGINE}, material={"formula": "Si", "fractions": {"Si": 1.0}}
    )
    with opened(plan, 2, _told) as pool:
        assert screened(plan, _candidates(bulk("Si", cubic=True)), [], pool).geometry_only
        assert pool.evaluate("nothing", partial(evaluate, limits=LIMITS), []) == []
