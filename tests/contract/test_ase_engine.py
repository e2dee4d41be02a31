"""Any ASE calculator as the labelling engine: the suite of the port, and what it says when a
calculator fails.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, SCFError
from ase.calculators.emt import EMT

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft.ase_calculator.engine import KINDS, AseCalculator
from mlip_autopipec.engines.dft.ase_calculator.method import method_of
from mlip_autopipec.testing import DftEngineContract

ENGINE = registry.dft_engine("ase_calculator")


def rattled() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


class TestEffectiveMediumTheory(DftEngineContract):
    engine = ENGINE
    wishes: ClassVar[dict[str, Any]] = {
        "calculator": "ase.calculators.emt:EMT",
        "arguments": {"asap_cutoff": False},
    }
    job = LabelJob(rattled(), method_of("ase.calculators.emt:EMT", {"asap_cutoff": False}))
    force_tolerance = 2e-3


@pytest.mark.real
class TestTightBinding(DftEngineContract):
    """Extended tight binding (GFN2-xTB), a self-consistent method, through tblite."""

    engine = ENGINE
    wishes: ClassVar[dict[str, Any]] = {
        "calculator": "tblite.ase:TBLite",
        "arguments": {"method": "GFN2-xTB", "verbosity": 0},
    }
    job = LabelJob(
        molecule("CH3CH2OH"), method_of("tblite.ase:TBLite", {"method": "GFN2-xTB", "verbosity": 0})
    )

    @classmethod
    def setup_class(cls) -> None:
        cls.job.atoms.rattle(0.1, seed=1)


def test_values_units_and_signs_are_the_calculators(tmp_path: Path) -> None:
    job = LabelJob(rattled(), method_of("ase.calculators.emt:EMT"))
    label = _run(job, tmp_path)
    assert isinstance(label, Label) and label.stress is not None
    atoms = rattled()
    atoms.calc = EMT()
    assert label.energy_ev == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert np.allclose(label.forces, atoms.get_forces(), atol=1e-6)
    assert np.allclose(label.stress, atoms.get_stress(), atol=1e-8)


def test_no_stress_without_three_periodic_directions(tmp_path: Path) -> None:
    label = _run(LabelJob(molecule("CO"), method_of("ase.calculators.emt:EMT")), tmp_path)
    assert isinstance(label, Label) and label.stress is None


def test_a_calculator_without_stress_gives_a_label_without_it(tmp_path: Path) -> None:
    label = _run(_job("Broken", {"how": "stressless"}), tmp_path)
    assert isinstance(label, Label) and label.stress is None


def test_the_energy_is_the_one_that_the_forces_belong_to(tmp_path: Path) -> None:
    label = _run(_job("Broken", {"how": "smeared"}), tmp_path)
    assert isinstance(label, Label)
    assert label.energy_ev == -2.0
    assert label.total_magnetization == 3.0


def test_arguments_and_version_are_physics() -> None:
    one, other = (
        method_of("ase.calculators.emt:EMT", {"asap_cutoff": flag}) for flag in (True, False)
    )
    assert LabelJob(rattled(), one).method_hash != LabelJob(rattled(), other).method_hash
    assert one["calculator_version"].startswith("ase 3.")


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("scf", "scf_not_converged", "SCFError"),
        ("scf_words", "scf_not_converged", "did not converge"),
        ("nan", "geometry", "not finite"),
        ("huge", "geometry", "above the ceiling"),
        ("net", "scf_not_converged", "net force"),
        ("dies", "unknown", "exit code 139"),
        ("killed", "interrupted", "exit code 137"),
        ("bug", "unknown", "ZeroDivisionError"),
    ],
)
def test_failures_are_named(how: str, kind: str, words: str, tmp_path: Path) -> None:
    failure = _run(_job("Broken", {"how": how}), tmp_path)
    assert isinstance(failure, Failure)
    assert failure.kind == kind and kind in KINDS
    assert words in failure.message


def test_a_hanging_calculator_is_killed_and_gets_more_time(tmp_path: Path) -> None:
    job = _job("Broken", {"how": "hangs"})
    failure = _run(job, tmp_path, walltime_s=3.0)
    assert isinstance(failure, Failure) and failure.kind == "out_of_walltime"
    again = ENGINE.repair(job, [failure])
    assert again is not None and again.numerics["walltime_factor"] == 2.0
    assert ENGINE.repair(again, [failure, failure]) is None


@pytest.mark.parametrize(
    ("calculator", "arguments", "words"),
    [
        ("no_such_package.calc:Thing", {}, "no_such_package"),
        ("ase.calculators.emt:EMTT", {}, "EMTT"),
        ("ase.calculators.singlepoint:SinglePointCalculator", {}, "atoms"),
    ],
)
def test_what_cannot_be_used_is_bad_input(
    calculator: str, arguments: dict[str, Any], words: str, tmp_path: Path
) -> None:
    failure = _run(LabelJob(rattled(), method_of(calculator, arguments)), tmp_path)
    assert isinstance(failure, Failure) and failure.kind == "input"
    assert words in failure.message
    assert ENGINE.repair(LabelJob(rattled(), {}), [failure]) is None


def test_another_version_than_the_methods_is_refused(tmp_path: Path) -> None:
    method = {**method_of("ase.calculators.emt:EMT"), "calculator_version": "ase 3.0.0"}
    failure = _run(LabelJob(rattled(), method), tmp_path)
    assert isinstance(failure, Failure) and failure.kind == "input"
    assert "made for ase 3.0.0" in failure.message


def test_a_method_without_a_calculator_is_refused_before_the_start() -> None:
    with pytest.raises(InputError, match="module:attribute"):
        AseCalculator().prepare(LabelJob(rattled(), {"calculator": "emt"}), walltime_s=1, cores=1)
    with pytest.raises(InputError, match="plain values"):
        method_of("ase.calculators.emt:EMT", {"x": object()})


def test_machine_troubles_are_tried_again_as_they_are() -> None:
    job, failure = LabelJob(rattled(), {}), Failure("interrupted", "killed")
    assert ENGINE.repair(job, [failure]) == job
    assert ENGINE.repair(job, [failure] * 2) == job
    assert ENGINE.repair(job, [failure] * 3) is None
    assert ENGINE.repair(job, [Failure("scf_not_converged", "")]) is None


def _job(name: str, arguments: dict[str, Any]) -> LabelJob:
    return LabelJob(rattled(), method_of(f"{Path(__file__).stem}:{name}", arguments))


def _run(job: LabelJob, folder: Path, walltime_s: float = 100.0) -> Label | Failure:
    prepared = ENGINE.prepare(job, walltime_s=walltime_s, cores=1)
    # The child finds the calculators of this file, too.
    places = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    prepared = type(prepared)(
        prepared.files,
        prepared.command,
        env={**prepared.env, "PYTHONPATH": os.pathsep.join(filter(None, places))},
    )
    return ENGINE.parse(folder, job, run_prepared(prepared, folder, walltime_s))


class Broken(Calculator):
    """Fails in the way it is told to."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.implemented_properties = ["energy", "free_energy", "forces", "magmom"]
        if how != "stressless":
            self.implemented_properties.append("stress")

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = None
    ) -> None:
        import signal
        import time

        match self.how:
            case "scf":
                raise SCFError
            case "scf_words":
                raise RuntimeError("SCF did not converge in 250 cycles")
            case "dies":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hangs":
                time.sleep(1000)
            case "bug":
                1 / 0  # noqa: B018
        forces = np.zeros((len(atoms), 3))
        forces[0, 0] = {"nan": np.nan, "huge": 1e3, "net": 0.1}.get(self.how, 0.0)
        if self.how == "huge":
            forces[1, 0] = -1e3
        self.results = {
            "energy": -1.0,
            "free_energy": -2.0,
            "forces": forces,
            "stress": np.zeros(6),
            "magmom": 3.0,
        }
