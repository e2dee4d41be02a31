"""Reading files of labelled structures: what is accepted and what is told to the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.api import PacemakerTrainer, make_plan
from mlip_autopipec.base.errors import InputError
from mlip_autopipec.commands.labelled_file import read_file
from mlip_autopipec.commands.train import read_labelled, train_file
from mlip_autopipec.engines.ports import TrainJob


def silicon(number: int) -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=number)
    return atoms


def test_energies_and_forces_come_from_results_or_arrays(tmp_path: Path) -> None:
    forces = np.arange(24.0).reshape(8, 3)
    calculated, plain = silicon(0), silicon(1)
    calculated.calc = SinglePointCalculator(calculated, energy=-43.5, forces=forces)
    plain.info["energy"], plain.arrays["force"] = -43.0, -forces
    for name in ("a.extxyz", "a.extxyz.gz"):
        ase.io.write(tmp_path / name, [calculated, plain], format="extxyz")
        first, second = read_labelled(tmp_path / name)
        assert first.label.energy_ev == -43.5
        np.testing.assert_allclose(first.label.forces, forces)
        assert second.label.energy_ev == -43.0
        np.testing.assert_allclose(second.label.forces, -forces)
        assert first.provenance.group != second.provenance.group


@pytest.mark.parametrize("missing", ["energy", "forces"])
def test_structures_without_labels_are_counted_and_left_out(tmp_path: Path, missing: str) -> None:
    good, bad = silicon(0), silicon(1)
    good.calc = SinglePointCalculator(good, energy=-1.0, forces=np.zeros((8, 3)))
    if missing == "energy":
        bad.arrays["forces"] = np.zeros((8, 3))
    else:
        bad.info["energy"] = -1.0
    ase.io.write(tmp_path / "a.extxyz", [good, bad], format="extxyz")
    found = read_file(tmp_path / "a.extxyz")
    assert [item.name for item in found.items] == ["a.extxyz:0"] and found.of == 2
    assert found.left_out == (f"1 of 2 structures left out, no usable {missing}: 1",)
    ase.io.write(tmp_path / "a.extxyz", [bad, bad], format="extxyz")
    with pytest.raises(InputError, match=f"no {missing} under a known name: its keys are .*"):
        read_file(tmp_path / "a.extxyz")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_labelled(tmp_path / "nowhere.extxyz")
    (tmp_path / "noise.extxyz").write_text("this is\nnot a structure\n")
    with pytest.raises(InputError, match=r"noise\.extxyz"):
        read_labelled(tmp_path / "noise.extxyz")


def test_a_test_set_of_strange_elements_is_refused(tmp_path: Path) -> None:
    for name, symbol in (("train.extxyz", "Si"), ("test.extxyz", "Ge")):
        atoms = bulk(symbol, cubic=True)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((8, 3)))
        other = atoms.copy()
        other.rattle(0.1)
        other.calc = SinglePointCalculator(other, energy=-0.9, forces=np.ones((8, 3)))
        ase.io.write(tmp_path / name, [atoms, other], format="extxyz")
    with pytest.raises(InputError, match="elements"):
        train_file(
            tmp_path / "train.extxyz", tmp_path / "test.extxyz", tmp_path / "out", trainer="linear"
        )


@pytest.mark.parametrize("fast", [True, False])
def test_python_and_the_command_line_fit_a_file_with_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    jobs: list[tuple[str, TrainJob]] = []

    def keep(name: str, job: TrainJob, out: Path, walltime_s: float | None) -> dict[str, Any]:
        jobs.append((name, job))
        return {}

    monkeypatch.setattr("mlip_autopipec.commands.train._fit", keep)
    copper = bulk("Cu", cubic=True)
    copper.calc = SinglePointCalculator(copper, energy=-1.0, forces=np.zeros((4, 3)))
    file = tmp_path / "a.extxyz"
    other = bulk("Cu", a=3.7, cubic=True)
    other.calc = SinglePointCalculator(other, energy=-0.9, forces=np.zeros((4, 3)))
    ase.io.write(file, [copper, other], format="extxyz")
    plan = make_plan(material="Cu", temperatures_k=[300], seed=5)
    trainer = plan.training.fast_trainer if fast else plan.training.trainer
    train_file(file, file, tmp_path / "out", trainer=trainer, seed=5)
    PacemakerTrainer(plan).train(file, file, tmp_path / "out", fast=fast)
    PacemakerTrainer(plan).train(file, file, tmp_path / "out", fast=fast, kappa=0.2)
    (name, by_command), (same, in_python), (_, changed) = jobs
    assert (name, by_command.seed) == (same, in_python.seed) == (trainer, 5)
    assert in_python.settings == by_command.settings
    # the weight of forces that was measured on files, not that of a campaign's small cells
    assert in_python.settings.model_dump()["kappa"] == 0.05
    assert plan.training.settings_of(trainer).model_dump()["kappa"] == 0.1
    assert changed.settings.model_dump() == {**in_python.settings.model_dump(), "kappa": 0.2}


def labelled(number: int, **info: Any) -> Atoms:
    atoms = silicon(number)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-43.0, forces=np.zeros((8, 3)), stress=np.arange(1.0, 7.0) / 100
    )
    atoms.info.update(info)
    return atoms


def test_stress_of_the_file_is_kept_with_its_sign_and_order(tmp_path: Path) -> None:
    stressed, virial, none = labelled(0), silicon(1), silicon(2)
    stressed.calc.results["free_energy"] = -43.5  # that is the one that matches the forces
    tensor = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]]) / 100
    for atoms in (virial, none):
        atoms.info["energy"], atoms.arrays["forces"] = -43.0, np.zeros((8, 3))
    virial.info["virial"] = -tensor * virial.get_volume()
    none.center(vacuum=4)
    none.pbc = False
    none.info["virial"] = virial.info["virial"]
    ase.io.write(tmp_path / "a.extxyz", [stressed, virial, none], format="extxyz")
    first, second, third = read_labelled(tmp_path / "a.extxyz")
    for item in (first, second):
        np.testing.assert_allclose(item.label.stress, np.arange(1.0, 7.0) / 100, atol=1e-8)
    assert [first.label.energy_ev, second.label.energy_ev] == [-43.5, -43.0]
    assert third.label.stress is None  # a free molecule has none
    del virial.info["virial"]
    virial.info["virials"] = [1.0, 2.0, 3.0]
    ase.io.write(tmp_path / "b.extxyz", [virial], format="extxyz")
    with pytest.raises(InputError, match="virials of structure 0 is no tensor"):
        read_labelled(tmp_path / "b.extxyz")


def test_groups_splits_and_force_weights_of_the_file_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[TrainJob] = []
    monkeypatch.setattr(
        "mlip_autopipec.commands.train._fit", lambda name, job, out, limit: jobs.append(job) or {}
    )
    frames = [labelled(n, group=f"g{n // 2}", split="train", basis="x") for n in range(4)]
    frames += [labelled(4, group="g9", split="test", basis="x")]
    for atoms in frames:
        atoms.arrays["force_weight"] = np.ones(8)
        atoms.arrays["colour"] = np.zeros(8)
    frames[1].arrays["force_weight"] = np.array([1, 0, 1, 1, 0, 0, 0, 1.0])
    file = tmp_path / "a.extxyz"
    ase.io.write(file, frames, format="extxyz")
    told = train_file(file, None, tmp_path / "out", trainer="linear")
    (job,) = jobs
    assert [item.name for item in job.test] == ["a.extxyz:4"]
    assert [item.provenance.group for item in job.train] == ["g0", "g0", "g1", "g1"]
    assert [item.core for item in job.train] == [None, (0, 2, 3, 7), None, None]
    assert told["ignored"] == "basis, colour"
    assert "stress of 5 and force weights of 0 in 1 of 5 structures" in told["read"]
    for atoms in frames:
        atoms.info["split"] = "test"
    ase.io.write(file, frames, format="extxyz")
    with pytest.raises(InputError, match="no structure may be learned"):
        train_file(file, None, tmp_path / "out", trainer="linear")
