"""The log of a real run through to the pages: summary, report and training file say what it holds
and what the version that made it said of it.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from ase.io import iread
from parsed_page import Page
from stored import Run, load, troubled

from mlip_autopipec.base.files import read_json
from mlip_autopipec.campaign.events import AttemptEnded, AttemptPlanned
from mlip_autopipec.report.findings import findings
from mlip_autopipec.report.result_folder import write_campaign_result
from mlip_autopipec.report.timeline import timeline
from mlip_autopipec.report.values import SCHEMA_VERSION, Summary, from_json

WALL_S = 2764.809304733


def written(root: Path, run: Run) -> tuple[dict, Page]:
    write_campaign_result(root, run.plan, run.state, run.history, WALL_S)
    text = (root / "result/report.html").read_text(encoding="utf-8")
    return read_json(root / "result/summary.json"), Page(text)


def same(old: object, new: object) -> bool:
    """Whether ``new`` holds all that ``old`` does, with the same numbers."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(same(old[key], new.get(key)) for key in old)
    if isinstance(old, list):
        return len(old) == len(new) and all(map(same, old, new))
    return new == (pytest.approx(old, rel=1e-9) if isinstance(old, float) else old)


def test_the_summary_has_all_that_its_version_wrote_under_the_same_names(stored_run):
    before = read_json(stored_run / "result/summary.json")
    after, _ = written(stored_run, load(stored_run))
    # Not of the log: packages of this interpreter, and files that the fixture lacks.
    # What is asked of a potential is another thing since: a log of that time does not know it.
    for key in set(before) - {"versions", "files", "notes", "targets", "stop_rules", "thresholds"}:
        assert same(before[key], after[key]), key
    assert after["version"] == SCHEMA_VERSION
    assert [item["key"] for item in after["targets"]] == [
        *(
            f"{kind}_high.{name}"
            for name in ("npt-300K", "npt-900K", "nvt-900K")
            for kind in ("energy_rmse_mev_per_atom", "force_rmse_mev_per_a")
        ),
        "lattice_constant_a",
        "bulk_modulus_gpa",
    ]
    assert {item["key"]: item["dft"] for item in after["properties"]} == {
        key: before[key]["dft"] for key in ("lattice_constant_a", "bulk_modulus_gpa")
    }
    assert json.loads(json.dumps(after)) == after
    assert from_json(Summary, after).released == before["released"]


def test_failures_and_cures_are_in_the_summary_and_on_the_report(stored_run):
    run = troubled(load(stored_run))
    summary, page = written(stored_run, run)
    failures = {row["class"]: row for row in summary["failures"]}
    assert summary["failed_attempts"] == 2 and summary["dft_calls"] == 58
    assert set(failures) == {"scf_not_converged", "geometry"}
    (cure,) = failures["scf_not_converged"]["cures"]
    assert (cure["tried"], cure["worked"]) == (1, 1)
    assert failures["scf_not_converged"]["core_hours_lost"] == pytest.approx(0.1)
    assert failures["geometry"]["quarantined"] == 1 and failures["geometry"]["cures"] == []
    lost = sum(
        event.outcome.cpu_s
        for _, event in run.history
        if isinstance(event, AttemptEnded) and event.task_id.startswith("label-")
    )
    assert summary["core_hours"]["label"] == pytest.approx(lost / 3600)
    words = f"scf_not_converged 1 1 1 0 0 0.100 {cure['cure']} 1 1 convergence NOT achieved"
    assert words in page.text
    assert "geometry 1 1 0 1 0 0.010 none atoms overlap" in page.text


def test_the_report_shows_the_numbers_of_the_log(stored_run):
    summary, page = written(stored_run, load(stored_run))
    assert [image["alt"].split(".")[0] for image in page.images] == [
        "Parity",
        "Learning curve",
        "Equation of state",
        "Extrapolation grades",
        "Force masks",
        "DFT spend",
        "Timeline",
    ]
    for part in (
        "Stopped at the budget, not converged. wall time: 46 of 60 minutes",
        "57 DFT calculations of at most 80",
        "4 potentials were trained; MD took over a newer one 2 times",
        "6 periodic cutouts were labelled",
        "force RMSE at npt-900K, at most not known meV/Å at most 100 meV/Å not known",
        "lattice constant 5.4701 Å 5.4695 Å +0.01 %",
        "bulk modulus 86.0 GPa 88.2 GPa -2.54 %",
        "training 42 2.33 63.1",
        "held out 8 5.75 94.2",
        "cutout, held out 1 not known 58.2",
        "003-102003c6e6b0 (released) pacemaker 50 5.75 94.2",
        "npt-900K visited 2 45.6 8 4.91 0 12 0 002-66f13f71d4f6",
        "nvt-900K cancelled 21 213 4.14 5.59 0 13 5 002-66f13f71d4f6",  # not its last visit alone
        "Of 251 proposed structures 251 passed the screen by chgnet",
        "36 of 36 as promised",
        "No attempt failed.",
        "For 5.6 minutes at least two of DFT, training and MD were at work",
        "MD at npt-300K is not explored not met",
        "method hash 0832aae97216",
    ):
        assert part in page.text, part
    strategies = Counter(
        record.task.payload["candidate"]["provenance"]["strategy"]
        for record in load(stored_run).state.of_kind("label")
    )
    for strategy, many in strategies.items():
        assert f"{strategy} {many}" in page.text
    assert summary["overlap_min"] == pytest.approx(5.591, abs=1e-3)


def test_the_training_file_has_every_label_with_its_split(stored_run):
    run = load(stored_run)
    summary, _ = written(stored_run, run)
    frames = list(iread(stored_run / "result/training.extxyz"))
    splits = Counter(frame.info["split"] for frame in frames)
    assert splits == {
        "train": summary["train"]["n_structures"],
        "test": summary["test"]["n_structures"],
        "validate": 7,
    }
    energies = {record.task.id: record.result["energy_ev"] for record in run.state.of_kind("label")}
    for frame in frames:
        assert frame.get_potential_energy() == pytest.approx(energies[frame.info["name"]])


def test_the_timeline_has_a_row_for_every_attempt_of_the_log(stored_run):
    run = load(stored_run)
    rows = timeline(run.state, run.history)
    begun = [when for when, event in run.history if isinstance(event, AttemptPlanned)]
    assert [row.start for row in rows] == begun
    ended = {event.task_id: when for when, event in run.history if isinstance(event, AttemptEnded)}
    assert {row.end for row in rows} >= set(ended.values())
    waited = [row for row in rows if row.waits]
    assert [row.kind for row in waited] == ["explore"]
    # MD at 900 K slept from its last frame until the fit of the cutouts was published.
    (wait,) = waited[0].waits
    swapped = next(
        when for when, event in run.history if getattr(event, "new", "") == "002-66f13f71d4f6"
    )
    assert wait[1] == swapped
    assert wait[1] - wait[0] == pytest.approx(870, abs=15)


def test_grades_of_md_belong_to_the_potential_in_force(stored_run):
    run = load(stored_run)
    found = findings(run.plan, run.state, run.history, WALL_S)
    assert list(found.gamma) == [
        "000-d786ba2e2265",
        "001-2cfe4b14ad6f",
        "002-66f13f71d4f6",
    ]
    assert max(found.gamma["001-2cfe4b14ad6f"]) == pytest.approx(5.587, abs=1e-3)
