"""Predicted against true force errors: the figures themselves, and what a real fit leaves of them
in summary and report.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from parsed_page import Page
from result_examples import campaign, labelled

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.engines.ports import Trained, TrainJob
from mlip_autopipec.engines.train.pacemaker.engine import LinearAce
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings
from mlip_autopipec.report.findings import Findings
from mlip_autopipec.report.result_folder import write_result
from mlip_autopipec.report.words import number
from mlip_autopipec.science.calibration import Calibration, calibration
from mlip_autopipec.science.predictions import Predicted, Predictions
from mlip_autopipec.testing import simulated_plan
from mlip_autopipec.testing.contracts.running import execute


def rows(told: np.ndarray, gamma: np.ndarray | None, scale: float = 1.0) -> list[Predicted]:
    """Structures of ten atoms whose force components are off by ``scale`` x normal x ``told``."""
    rng = np.random.default_rng(0)
    found = []
    for start in range(0, len(told), 10):
        own = told[start : start + 10]
        off = scale * own[:, None] * rng.normal(size=(len(own), 3))
        found.append(
            Predicted(
                name=f"s{start}",
                n_atoms=len(own),
                masked=False,
                energy_dft_ev_per_atom=0.0,
                energy_potential_ev_per_atom=0.0,
                forces_dft_ev_per_a=[0.0] * off.size,
                forces_potential_ev_per_a=off.ravel().tolist(),
                force_errors_ev_per_a=own.tolist(),
                gamma=None if gamma is None else gamma[start : start + 10].tolist(),
            )
        )
    return found


def known(found: Calibration | None) -> Calibration:
    assert found is not None
    return found


def test_errors_that_are_as_predicted_lie_on_the_line() -> None:
    told = np.geomspace(0.01, 1.0, 2000)
    found = known(calibration(rows(told, None)))
    assert found.n_atoms == 2000 and found.rank_correlation > 0.9
    for item in found.bins:
        assert item.true_mev_per_a == pytest.approx(item.predicted_mev_per_a, rel=0.15)
    assert found.bins[0].predicted_mev_per_a < 20 and found.bins[-1].predicted_mev_per_a > 700
    assert sum(item.n_atoms for item in found.bins) == 2000
    assert found.rank_correlation_of_gamma is None and found.bins_of_gamma == ()


def test_a_prediction_that_is_half_of_the_error_is_seen_to_be() -> None:
    found = known(calibration(rows(np.geomspace(0.01, 1.0, 2000), None, scale=2.0)))
    assert found.true_mev_per_a == pytest.approx(2 * found.predicted_mev_per_a, rel=0.1)


def test_a_grade_that_says_nothing_is_flat() -> None:
    rng = np.random.default_rng(1)
    told = np.geomspace(0.05, 0.5, 1000)
    found = known(calibration(rows(told, rng.uniform(0.3, 1.0, 1000))))
    assert abs(found.rank_correlation_of_gamma or 1.0) < 0.1
    true = [item.true_mev_per_a for item in found.bins_of_gamma]
    assert max(true) < 1.7 * min(true)
    assert known(calibration(rows(told, told))).rank_correlation_of_gamma == pytest.approx(
        found.rank_correlation
    )


def test_without_predicted_errors_there_is_nothing_to_say() -> None:
    bare = [replace(row, force_errors_ev_per_a=None) for row in rows(np.full(100, 0.1), None)]
    assert calibration(bare) is None and calibration([]) is None


# --- what a real fit writes


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Calm and shaken copper: errors differ tenfold."""
    rng, items = np.random.default_rng(0), []
    for index in range(24):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * (1 + 0.03 * rng.uniform(-1, 1)), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.1 if index < 14 else 0.35, size=(4, 3))
        items.append(labelled(f"s{index}", atoms, "rattle"))
    settings = LinearSettings(cutoff_a=4.5, functions_per_element=60, kappa=0.05)
    asked = TrainJob(("Cu",), tuple(items), (), settings, seed=0)
    folder, trainer = tmp_path_factory.mktemp("real"), LinearAce()
    trained = trainer.parse(asked, folder, execute(trainer.prepare(asked, folder), folder))
    assert isinstance(trained, Trained), trained
    return trained


def test_a_real_fit_predicts_the_errors_of_what_it_had_not_learned(real: Trained) -> None:
    unseen = Predictions.from_json(read_json(real.folder / "predictions.json")).test
    assert len(unseen) == 24
    assert all(len(row.force_errors_ev_per_a or ()) == row.n_atoms for row in unseen)
    found = known(calibration(unseen))
    assert found.n_atoms == 96 and found.rank_correlation > 0.5
    assert 0.5 < found.true_mev_per_a / found.predicted_mev_per_a < 2.0
    assert found.bins[-1].true_mev_per_a > 3 * found.bins[0].true_mev_per_a


def test_grades_are_those_of_a_guard_without_the_structure(real: Trained) -> None:
    unseen = Predictions.from_json(read_json(real.folder / "predictions.json")).test
    grades = np.concatenate([row.gamma or () for row in unseen])
    # By a guard that knows an atom its grade is at most one.
    assert len(grades) == 96 and (grades > 1.1).any() and (grades > 0).all()


def found_with(root: Path, real: Trained) -> Findings:
    """A campaign that released the real fit."""
    folder = "potentials/real"
    (root / folder).parent.mkdir(parents=True)
    (root / folder).symlink_to(real.folder)
    one = PotentialRef("real", folder, "linear", ("Cu",), 24, real.metrics)
    return campaign(root, potentials=(one,), released="real")


def test_summary_and_report_tell_it(real: Trained, tmp_path: Path) -> None:
    summary = write_result(tmp_path, simulated_plan(), found_with(tmp_path, real))
    stored = read_json(tmp_path / "result/summary.json")
    found = known(summary.calibration)
    assert stored["calibration"]["rank_correlation"] == found.rank_correlation
    assert stored["calibration"]["bins_of_gamma"][0]["gamma"] == found.bins_of_gamma[0].gamma
    limits = real.metrics["limits"]
    assert stored["limits"] == {
        key: limits[key]
        for key in (
            "limited_by",
            "force_rmse_training_mev_per_a",
            "force_rmse_out_of_fold_mev_per_a",
        )
    }
    page = Page((tmp_path / "result/report.html").read_text(encoding="utf-8"))
    assert any(image["alt"].startswith("Predicted and true errors") for image in page.images)
    assert "of 96 atoms that fits had not learned" in page.text.lower()
    assert f"a rank correlation of {found.rank_correlation:.2f}" in page.text
    word = {"data": "Data limit this", "capacity": "Capacity limits this"}[limits["limited_by"]]
    assert word in page.text
    assert number(limits["force_rmse_out_of_fold_mev_per_a"]) in page.text


def test_a_potential_that_predicts_no_errors_has_none(tmp_path: Path) -> None:
    summary = write_result(tmp_path, simulated_plan(), campaign(tmp_path))
    assert summary.calibration is None
    assert "Predicted and true errors" not in (tmp_path / "result/report.html").read_text()
