"""What the trainers hand over and how they judge the folder that a fit leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import Trained, Trainer, TrainJob
from mlip_autopipec.engines.train.pacemaker import config

FILES = (
    "potential.yaml",
    "potential.yace",
    "guard.yaml",
    "potential.asi",
    "posterior.npz",
    "predictions.json",
)
GOOD = {"n_structures": 1, "energy_rmse_mev_per_atom": 1.0, "force_rmse_mev_per_a": 30.0}


def job(count: int = 3, name: str = "linear") -> TrainJob:
    items = []
    for number in range(count):
        atoms = bulk("Si", cubic=True)
        label = Label(-40.0, np.zeros((8, 3)), None, "m", 1, 0.0)
        items.append(LabelledStructure(f"s{number}", atoms, label, Provenance("t", f"g{number}")))
    settings = {"cutoff_a": 5.0, "functions_per_element": 10, "kappa": 0.05}
    if name == "pacemaker":
        settings |= {"max_iterations": 20, "warm_iterations": 10}
    schema = registry.trainer(name).schema.model_validate(settings)
    return TrainJob(("Si",), tuple(items), (), schema, seed=1, threads=2)


def left_by_a_fit(folder: Path, **changes: object) -> Path:
    potential = folder / "potential"
    potential.mkdir()
    for name in FILES:
        (potential / name).write_text("x")
    metrics = {"trainer": "linear", "train": GOOD, "test": GOOD, "gamma_train_max": 1.0, **changes}
    (potential / "metrics.json").write_text(json.dumps(metrics))
    return potential


@pytest.mark.parametrize("name", ["linear", "pacemaker"])
def test_trainers_keep_the_port_and_the_threads(name: str, tmp_path: Path) -> None:
    trainer = registry.trainer(name)
    assert isinstance(trainer, Trainer)
    prepared = trainer.prepare(job(name=name), tmp_path)
    assert json.loads(prepared.files["job.json"])["settings"]["trainer"] == name
    assert prepared.env["OMP_NUM_THREADS"] == prepared.env["TF_NUM_INTRAOP_THREADS"] == "2"
    assert list(tmp_path.iterdir()) == []


def test_a_fit_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training structures"):
        registry.trainer("linear").prepare(job(0), tmp_path)


def test_a_missing_program_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(config.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError, match="pip install"):
        registry.trainer("pacemaker").prepare(job(), tmp_path)


def test_a_finished_fit_is_read(tmp_path: Path) -> None:
    potential = left_by_a_fit(tmp_path)
    result = registry.trainer("linear").parse(job(), tmp_path, 0)
    assert isinstance(result, Trained)
    assert result.folder == potential
    assert result.metrics["test"]["force_rmse_mev_per_a"] == 30.0


def test_an_empty_test_set_is_no_failure(tmp_path: Path) -> None:
    nothing = {"n_structures": 0, "energy_rmse_mev_per_atom": None, "force_rmse_mev_per_a": None}
    left_by_a_fit(tmp_path, test=nothing)
    assert isinstance(registry.trainer("linear").parse(job(), tmp_path, 0), Trained)


def failure(folder: Path, exit_code: int) -> Failure:
    result = registry.trainer("pacemaker").parse(job(), folder, exit_code)
    assert isinstance(result, Failure)
    return result


def test_failures_are_told_apart(tmp_path: Path) -> None:
    assert failure(tmp_path, 0).kind == "no_potential"
    assert failure(tmp_path, 124).kind == "walltime"
    (tmp_path / "stderr.txt").write_text("first\nsecond\nValueError: the loss is nan\n\n")
    broken = failure(tmp_path, 1)
    assert broken.kind == "fit_failed"
    assert broken.evidence[-1].text == "ValueError: the loss is nan"
    assert broken.evidence[-1].line == 3


def test_the_message_of_a_failed_fit_is_what_the_program_said_first(tmp_path: Path) -> None:
    said = "ValueError: Only fully periodic or non-periodic cell are supported"
    (tmp_path / "stderr.txt").write_text(
        f"Traceback (most recent call last):\n  File x, line 1\n{said}\n"
        "Traceback (most recent call last):\nRuntimeError: pacemaker ended with exit code 1\n"
    )
    broken = failure(tmp_path, 1)
    assert broken.message == f"the fit ended with exit code 1: {said}"
    assert (broken.evidence[0].line, broken.evidence[0].text) == (3, said)


def test_a_potential_that_gives_nan_is_a_failure(tmp_path: Path) -> None:
    left_by_a_fit(tmp_path, test={**GOOD, "force_rmse_mev_per_a": float("nan")})
    assert failure(tmp_path, 0).kind == "not_finite"


def test_a_potential_without_an_active_set_is_a_failure(tmp_path: Path) -> None:
    (left_by_a_fit(tmp_path) / "potential.asi").unlink()
    found = failure(tmp_path, 0)
    assert found.kind == "no_potential"
    assert "potential.asi" in found.message
