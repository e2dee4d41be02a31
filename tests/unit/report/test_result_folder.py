"""The result folder: complete, honest about what is missing, and the comparison with DFT that goes
into it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from result_examples import campaign, labelled, rattled, screen, validation_spec

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.tasks import Outcome, TaskSpec
from mlip_autopipec.commands.labelled_file import read_file
from mlip_autopipec.report.findings import Findings
from mlip_autopipec.report.publishing import MANIFEST, contents
from mlip_autopipec.report.result_folder import write_result
from mlip_autopipec.report.timeline import TimelineRow, overlap_minutes
from mlip_autopipec.report.training_file import training_frames
from mlip_autopipec.report.values import to_json
from mlip_autopipec.science.properties.port import Comparison, Found
from mlip_autopipec.science.properties.stored import comparisons
from mlip_autopipec.tasks import validate
from mlip_autopipec.testing import simulated_plan

STRAINS = [-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06]


def trained_by(trainer: str):
    plan = simulated_plan()
    return plan.model_copy(
        update={"training": plan.training.model_copy(update={"trainer": trainer})}
    )


def validated(tmp_path: Path, trainer: str = "mlip_autopipec.testing:SimulatedTrainer"):
    plan = trained_by(trainer)
    return validate.run(validation_spec(tmp_path, plan, STRAINS), plan, tmp_path)


# --- the validate task
# -------------------------------------------------------------------------------------------


def compared(tmp_path: Path, trainer: str) -> Comparison:
    outcome = validated(tmp_path, trainer)
    assert outcome.ok
    return comparisons(outcome.result)["equation_of_state"]


def test_a_perfect_potential_agrees_with_dft(tmp_path):
    outcome = validated(tmp_path)
    assert outcome.ok
    found = comparisons(outcome.result)["equation_of_state"]
    for key in ("lattice_constant_a", "bulk_modulus_gpa"):
        potential, dft = found.value(key)
        assert potential == pytest.approx(dft, rel=1e-5)
    # ASE's EMT copper: a = 3.59 Å, B = 134 GPa.
    assert found.dft.values["lattice_constant_a"] == pytest.approx(3.590, abs=0.005)
    assert found.dft.values["bulk_modulus_gpa"] == pytest.approx(134, abs=4)
    assert np.all(np.diff(found.dft.details["volumes_a3_per_atom"]) > 0)
    grades = found.potential.details["gamma_max"]
    assert len(grades) == len(STRAINS) and min(grades) >= 1.0
    assert found.dft.details["gamma_max"] == [None] * len(STRAINS)
    assert read_json(tmp_path / "validation.json") == json.loads(json.dumps(outcome.result))


def test_a_soft_potential_is_seen_to_be_soft(tmp_path):
    found = compared(tmp_path, "result_examples:SoftTrainer")
    potential, dft = found.value("bulk_modulus_gpa")
    assert potential == pytest.approx(0.9 * dft, rel=1e-4)
    potential, dft = found.value("lattice_constant_a")
    assert potential == pytest.approx(dft, rel=1e-5)


def test_a_potential_without_a_minimum_has_no_lattice_constant_and_says_why(tmp_path):
    found = compared(tmp_path, "result_examples:FlatTrainer")
    potential, dft = found.value("bulk_modulus_gpa")
    assert potential is None
    assert dft > 100
    assert "minimum" in found.potential.failure


def test_too_few_labels_are_a_failure_of_the_data(tmp_path):
    plan = simulated_plan()
    outcome = validate.run(validation_spec(tmp_path, plan, STRAINS[:4]), plan, tmp_path)
    assert outcome.failure is not None
    assert outcome.failure.kind == "validation_data"


def test_labels_of_two_methods_never_meet(tmp_path):
    plan = simulated_plan()
    spec = validation_spec(tmp_path, plan, STRAINS)
    path = spec.input_folder(spec.task.needs[0]) / "outcome.json"
    outcome = read_json(path)
    write_json(path, {**outcome, "result": {**outcome["result"], "method_hash": "another"}})
    found = validate.run(spec, plan, tmp_path)
    assert found.failure is not None
    assert "different DFT methods" in found.failure.message


def test_energies_are_per_atom_whatever_the_cell(tmp_path):
    """A cubic cell of four atoms gives what the primitive cell gives."""
    plan = simulated_plan()
    small = _dft(validate.run(validation_spec(tmp_path / "a", plan, STRAINS), plan, tmp_path))
    spec: TaskSpec = validation_spec(tmp_path / "b", plan, STRAINS, bulk("Cu", cubic=True))
    cubic = _dft(validate.run(spec, plan, tmp_path))
    assert cubic.values["lattice_constant_a"] == pytest.approx(
        small.values["lattice_constant_a"], rel=1e-7
    )
    assert cubic.details["energies_ev_per_atom"] == pytest.approx(
        small.details["energies_ev_per_atom"], abs=1e-7
    )


def _dft(outcome: Outcome) -> Found:
    assert outcome.result is not None
    found = comparisons(outcome.result)["equation_of_state"].dft
    assert found is not None
    return found


# --- the result folder
# -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch):
    """The page itself is tested in test_page.py; drawing it costs two seconds each time."""
    monkeypatch.setattr(
        "mlip_autopipec.report.page.render",
        lambda plan, found, summary, predictions: json.dumps(to_json(summary)),
    )


def lammps_plan():
    """The simulated plan, with an MD program that writes examples."""
    plan = simulated_plan()
    exploration = plan.exploration.model_copy(update={"engine": "lammps"})
    return plan.model_copy(update={"exploration": exploration})


@pytest.fixture
def result(tmp_path) -> Path:
    write_result(tmp_path, lammps_plan(), campaign(tmp_path))
    return tmp_path / "result"


def test_everything_a_user_needs_is_there(result):
    names = set(contents(result))
    assert {
        *(f"fit/{name}" for name in ("potential.yaml", "guard.yaml", "potential.asi")),
        *("fit/posterior.npz", "fit/potential.json", "potential.py"),
        "potential.yace",
        "training.extxyz",
        "summary.json",
        "report.html",
        "metrics.json",
        "predictions.json",
        "in.lammps",
        "structure.data",
        "ase_example.py",
    } <= names
    assert "001-abc" in (result / "fit/potential.yaml").read_text()
    assert not read_json(result / "summary.json")["notes"]
    assert not [path for path in result.parent.iterdir() if path.name.startswith(".result")]


def test_summary_has_the_figures_of_the_run(result):
    summary = read_json(result / "summary.json")
    assert summary["end_state"] == "budget_exhausted"
    assert summary["dft_calls"] == 20
    assert summary["wall_s"] == 1500.0
    assert summary["test"]["energy_rmse_mev_per_atom"] == 3.2
    assert summary["test"]["force_rmse_mev_per_a"] == 71.5
    first, second = summary["conditions"]
    assert (first["name"], first["n"], first["explored"]) == ("300K", 6, True)
    assert first["force_rmse_mev_per_a"] == 71.5
    assert first["force_rmse_mev_per_a_low"] < 71.5 < first["force_rmse_mev_per_a_high"]
    assert (second["explored"], second["unknown"], second["n"]) == (False, 7, 0)
    assert second["energy_rmse_mev_per_atom"] is None
    (kind,) = summary["cross_validation"]
    assert (kind["name"], kind["n"], kind["energy_rmse_mev_per_atom"]) == ("rattle", 6, 3.2)
    kinds = summary["errors_by_strategy"]
    assert sum(row["n_structures"] for row in kinds) == summary["labels"]["train"]
    assert {row["split"] for row in kinds} == {"train", "test"}
    assert summary["lattice_constant_a"] == {"potential": 3.592, "dft": 3.590}
    assert summary["bulk_modulus_gpa"] == {"potential": 128.0, "dft": 134.6}
    assert (summary["potentials"], summary["swaps"], summary["cutouts"]) == (2, 2, 3)
    assert summary["labels"] == {"train": 11, "masked": 3, "validate": 7, "audit": 1}
    assert summary["screen"]["hit_rate"]["force_correlation"] == 0.934
    plan = lammps_plan()
    assert (summary["method_hash"], summary["plan_hash"]) == (plan.dft.method_hash, plan.hash)
    assert summary["versions"]["pw.x"] == "6.7"
    assert "ase" in summary["versions"]
    assert summary["thresholds"]["gamma_select"] == plan.exploration.gamma_select
    assert {*summary["files"], MANIFEST} == set(contents(result))


def test_targets_are_judged(result):
    met = {item["name"]: item["met"] for item in read_json(result / "summary.json")["targets"]}
    assert met == {
        "energy RMSE at 300K, at most": True,
        "force RMSE at 300K, at most": True,
        "energy RMSE at 900K, at most": None,
        "force RMSE at 900K, at most": None,
        "lattice constant against our DFT": True,
        "bulk modulus against our DFT": True,
    }


@pytest.mark.parametrize(
    ("potential", "met"), [(141.0, True), (142.0, False), (127.0, False), (None, None)]
)
def test_tolerance_is_two_sided_and_missing_is_not_met(tmp_path, potential, met):
    validation = {"bulk_modulus_gpa": {"potential": potential, "dft": 134.6}}
    summary = write_result(tmp_path, lammps_plan(), campaign(tmp_path, validation=validation))
    (found,) = [item for item in summary.targets if item.key == "bulk_modulus_gpa"]
    assert found.met is met


def test_training_data_come_back_with_labels_masks_and_provenance(result):
    frames = read(result / "training.extxyz", ":")
    assert [frame.info["split"] for frame in frames].count("train") == 9
    assert [frame.info["split"] for frame in frames].count("test") == 2
    assert [frame.info["split"] for frame in frames].count("validate") == 7
    assert [frame.info["name"] for frame in frames if frame.info["split"] == "audit"] == [
        "label-a0"
    ]
    frame = next(item for item in frames if item.info["name"] == "label-c1")
    original = labelled("label-c1", rattled(3, repeat=2)[1], "cutout", tuple(range(6)))
    assert frame.get_potential_energy() == pytest.approx(original.label.energy_ev, abs=1e-6)
    assert frame.get_forces() == pytest.approx(original.label.forces, abs=1e-6)
    assert frame.get_stress() == pytest.approx(original.label.stress, abs=1e-8)
    assert frame.arrays["force_weight"].tolist() == [1.0] * 6 + [0.0] * 26
    assert frame.info["energy_weight"] == 0.0
    assert frame.info["strategy"] == "cutout"
    provenance = frame.info["provenance"]
    assert (provenance if isinstance(provenance, dict) else json.loads(provenance))["seed"] == 3
    whole = next(item for item in frames if item.info["name"] == "label-0")
    assert whole.arrays["force_weight"].tolist() == [1.0] * 4
    assert whole.info["energy_weight"] == 1.0


def test_training_data_are_understood_by_our_own_train(result):
    given = read_file(result / "training.extxyz")
    splits = [atoms.info["split"] for atoms in read(result / "training.extxyz", ":")]
    assert list(given.splits) == splits
    learned = [i for i, split in zip(given.items, splits, strict=True) if split == "train"]
    assert list(given.train) == learned and len(learned) == 9
    # Held out, validation and audit rows judge the fit and are not learned.
    assert len(given.held_out) == 2 + 7 + 1
    masked = [item for item in given.train if item.core is not None]
    assert [len(item.core) for item in masked] == [5, 6, 7]
    assert {item.provenance.group for item in masked} != {item.name for item in masked}
    assert all(item.label.stress is not None for item in given.items)
    assert {"split", "group", "force_weight", "free_energy", "forces", "stress"} <= set(given.used)


def test_a_label_without_stress_is_written_without_one():
    item = labelled("x", bulk("Cu"), "rattle")
    bare = Label(item.label.energy_ev, item.label.forces, None, "method", 1, 0.0)
    frame = training_frames([type(item)("x", item.atoms, bare, item.provenance)], [], set(), 0.0)[0]
    assert "stress" not in frame.calc.results


def test_what_was_not_learned_and_which_fits_failed_is_told(tmp_path):
    lost = "the fit of 8 labels by pacemaker failed (no); linear stands in for it"
    found = campaign(tmp_path, failed_fits=(lost,))
    found.potential.metrics["set_aside"] = {"label-2": "the energy is not finite"}
    told = {lost, "label label-2 (rattle) was not learned: the energy is not finite"}
    assert told <= set(write_result(tmp_path, lammps_plan(), found).notes)
    page = (tmp_path / "result/report.html").read_text()
    assert all(line in page for line in told)


def test_a_run_without_a_potential_still_reports(tmp_path):
    summary = write_result(
        tmp_path, simulated_plan(), Findings("needs_attention", "no pw.x", 3.0, 0)
    )
    stored = read_json(tmp_path / "result/summary.json")
    assert stored == json.loads(json.dumps(to_json(summary)))
    assert stored["test"] == {
        "energy_rmse_mev_per_atom": None,
        "force_rmse_mev_per_a": None,
        "n_structures": None,
    }
    assert stored["lattice_constant_a"] == {"potential": None, "dft": None}
    assert all(item["met"] is None for item in stored["targets"])
    assert "no potential was trained" in stored["notes"]
    assert set(contents(tmp_path / "result")) == {"summary.json", "report.html", MANIFEST}


def test_a_surrogate_that_does_not_rank_the_material_is_warned_of_with_the_number(tmp_path):
    poor = screen(force_correlation=0.41, geometry_only=True)
    (note,) = write_result(tmp_path, lammps_plan(), campaign(tmp_path, screen=poor)).notes
    assert "does not rank this material" in note and "0.41" in note and "0.7" in note


def test_a_screen_by_geometry_alone_says_so(tmp_path):
    blind = replace(screen(), geometry_only=True, hit_rate=None)
    (note,) = write_result(tmp_path, lammps_plan(), campaign(tmp_path, screen=blind)).notes
    assert "does not know every element" in note


def test_the_released_potential_may_be_an_earlier_one(tmp_path):
    summary = write_result(tmp_path, lammps_plan(), campaign(tmp_path, released="000-abc"))
    assert summary.released == "000-abc"
    assert summary.test.force_rmse_mev_per_a == 150.0
    assert "000-abc" in (tmp_path / "result/fit/potential.yaml").read_text()


def test_a_missing_file_is_named(tmp_path):
    finished = campaign(tmp_path)
    (tmp_path / "potentials/001-abc/potential.yace").unlink()
    summary = write_result(tmp_path, lammps_plan(), finished)
    assert "potential 001-abc has no potential.yace" in summary.notes
    assert "fit/potential.yace" not in summary.files


def test_writing_again_replaces_and_leaves_nothing_stale(tmp_path):
    write_result(tmp_path, lammps_plan(), campaign(tmp_path))
    (tmp_path / ".result-killed").mkdir()
    write_result(
        tmp_path,
        simulated_plan(),
        campaign(tmp_path, potentials=(), validation=None, end_state="stalled"),
    )
    assert set(contents(tmp_path / "result")) == {
        "report.html",
        "summary.json",
        "training.extxyz",
        MANIFEST,
    }
    assert read_json(tmp_path / "result/summary.json")["end_state"] == "stalled"
    assert not (tmp_path / ".result-killed").exists()


def test_overlap_counts_minutes_with_two_kinds_of_work():
    dft = TimelineRow("label", 0, 600)
    assert overlap_minutes([dft, dft]) == 0
    assert overlap_minutes([dft, TimelineRow("explore", 300, 900)]) == pytest.approx(5)
    assert overlap_minutes([dft, TimelineRow("generate", 0, 600)]) == 0
    three = [TimelineRow(kind, 0, 600) for kind in ("label", "explore", "train")]
    assert overlap_minutes(three) == pytest.approx(10)


def test_md_that_waits_is_not_at_work():
    label = TimelineRow("label", 0, 600)
    md = TimelineRow("explore", 0, 900, waits=((120, 480), (540, 2000)))
    assert overlap_minutes([label, md]) == pytest.approx(3)
    assert overlap_minutes([label, replace(md, waits=((0, 900),))]) == 0
