"""What ``import mlip_autopipec`` promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import mlip_autopipec
from mlip_autopipec import (
    DFTFactory,
    Failure,
    InputError,
    Label,
    SurrogateExplorer,
    WorkflowManager,
    make_plan,
)
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Outcome, TaskSpec
from mlip_autopipec.testing import SimulatedDft, simulated_plan


@pytest.mark.parametrize("name", mlip_autopipec.__all__)
def test_every_public_name_exists_and_says_what_it_is(name: str) -> None:
    assert getattr(mlip_autopipec, name).__doc__
    assert name in dir(mlip_autopipec)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = mlip_autopipec.Nothing


def test_import_is_light() -> None:
    code = (
        "import sys, mlip_autopipec\nassert not {'ase', 'numpy', 'pydantic', 'torch'} &"
        " set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_make_plan_checks_its_keys() -> None:
    assert make_plan(material="Si").material.formula == "Si"
    with pytest.raises(InputError, match="did you mean 'material'"):
        make_plan(matrial="Si")


class _Engine(SimulatedDft):
    """Mends a failure once; then it is out of ideas."""

    def repair(self, job: object, failures: list[Failure]) -> object | None:
        return job if len(failures) < 2 else None


def _answers(monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome]) -> list[Path]:
    folders: list[Path] = []

    def run(spec: TaskSpec, plan: object, folder: Path) -> Outcome:
        folders.append(folder)
        return outcomes[len(folders) - 1]

    monkeypatch.setattr("mlip_autopipec.tasks.label.run", run)
    monkeypatch.setattr("mlip_autopipec.engines.registry.dft_engine", lambda name: _Engine())
    return folders


def _label() -> Label:
    return Label(-1.0, np.zeros((2, 3)), np.zeros(6), "hash", 5, 1.0)


def test_dft_factory_mends_and_counts_attempts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = Outcome(None, Failure("scf", "not converged"))
    folders = _answers(monkeypatch, [failed, Outcome(_label().to_json())])
    label = DFTFactory(simulated_plan()).run_calculation(bulk("Si"), folder=tmp_path)
    assert isinstance(label, Label)
    assert label.attempts == 2
    assert [folder.name for folder in folders] == ["attempt-1", "attempt-2"]


def test_dft_factory_gives_the_failure_that_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failures = [Failure("scf", "first"), Failure("scf", "second")]
    _answers(monkeypatch, [Outcome(None, failure) for failure in failures])
    result = DFTFactory(simulated_plan()).run_calculation(bulk("Si"), folder=tmp_path)
    assert result == failures[-1]


def test_dft_factory_never_reuses_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = _answers(monkeypatch, [Outcome(_label().to_json())] * 2)
    factory = DFTFactory(simulated_plan())
    for _ in range(2):
        factory.run_calculation(bulk("Si"), folder=tmp_path)
    assert len(set(folders)) == 2


def test_explorer_picks_what_differs() -> None:
    def candidate(atoms: Atoms) -> Candidate:
        return Candidate(atoms, Provenance("test", "test"))

    same = [candidate(bulk("Si", a=5.43 + 0.001 * step)) for step in range(4)]
    other = candidate(bulk("Si", "fcc", a=4.0))
    plan = make_plan(material="Si")
    plan = plan.model_copy(
        update={"selection": plan.selection.model_copy(update={"random_fraction": 0.0})}
    )
    picked = SurrogateExplorer(plan).select([*same, other], 2, seed=1)
    assert len(picked) == 2
    assert any(item is other for item in picked)


def test_workflow_manager_reads_inputs_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "input.yaml"
    path.write_text("material: Si\n")
    workflow = WorkflowManager(path, runs_dir=tmp_path / "runs")
    assert workflow.root == tmp_path / "runs" / "Si"
    assert workflow.reasons["dft.method.cutoff_ry"]
    assert WorkflowManager(workflow.plan, runs_dir=tmp_path / "runs").root == workflow.root
    assert not workflow.root.exists()
    with pytest.raises(InputError, match="no such run folder"):
        workflow.status()
