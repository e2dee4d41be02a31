"""The status page: tells a living driver from a dead one, during and after a run, and never
guesses.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from stored import Run, load, troubled, until

from mlip_autopipec.base.errors import CampaignStateError, InputError
from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.campaign.events import (
    AttemptEnded,
    AttemptPlanned,
    MdBroke,
    MdProgressed,
    MdStreamed,
    TaskPlanned,
)
from mlip_autopipec.report import status_page
from mlip_autopipec.report.status import line
from mlip_autopipec.report.values import SCHEMA_VERSION, to_json


@pytest.fixture
def run(stored_run) -> Run:
    """The stored run as it stood after 2000 s: MD waits for a potential, DFT is at work."""
    return until(load(stored_run), 2000.0)


def written(root: Path, run: Run, **changes) -> Path:
    """A folder with the status that the product writes of ``run``."""
    write_json(root / "status.json", to_json(run.status(**changes)))
    return root


def page(root: Path) -> str:
    console = Console(file=io.StringIO(), width=160)
    status_page.show(root, console=console)
    return console.file.getvalue()


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return child.pid


def planned_labels(run: Run) -> int:
    return sum(
        isinstance(event, AttemptPlanned) and event.task_id.startswith("label-")
        for _, event in run.history
    )


def made(run: Run, purpose: str) -> int:
    """Labels of a purpose that the log says are finished."""
    asked = {
        event.task.id: event.task.payload["purpose"]
        for _, event in run.history
        if isinstance(event, TaskPlanned) and event.task.kind == "label"
    }
    ended = [event.task_id for _, event in run.history if isinstance(event, AttemptEnded)]
    return sum(asked.get(name) == purpose for name in ended)


def test_a_living_driver_runs(tmp_path, run):
    root = written(tmp_path, run)
    assert status_page.collect(root).driver.state == "running"
    text = page(root)
    for part in (
        "Si  running  phase exploring",
        f"{planned_labels(run)} of 80",
        "33 min of 60 min",
        "explore  MD npt-900K",
        "waiting",
        "label    DFT cutout (32 atoms)",
        "6.33",
        "86.4",
        f"{made(run, 'train')} for training ({made(run, 'train') - 36} of them masked),"
        f" {made(run, 'validate')} for validation",
        (
            "36 of 36 first labels as the surrogate promised, 0 of 0 rejected ones wrongly; forces"
            " correlated by 0.957"
        ),
        "1 potential swaps",
        "DFT cutout (32 atoms) done in 200 s",
    ):
        assert part in text, part
    assert "Failed attempts" not in text


def row(text: str, begin: str) -> list[str]:
    """The cells of the only line of a page that begins so; two spaces part them."""
    (line,) = [line for line in text.splitlines() if line.startswith(begin)]
    return re.split(r"  +", line.strip())


def test_a_cure_that_worked_is_on_the_page(tmp_path, stored_run):
    run = troubled(load(stored_run))
    text = page(written(tmp_path, run))
    cures = [event.cure for _, event in run.history if isinstance(event, AttemptEnded)]
    (cure,) = set(cures) - {None}
    assert "mixing_beta" in cure
    heads = row(text, "class")
    cells = dict(zip(heads, row(text, "scf_not_converged"), strict=True))
    assert cells == {
        "class": "scf_not_converged",
        "met": "1",
        "tasks": "1",
        "healed": "1",
        "given up": "0",
        "open": "0",
        "core-h lost": "0.100",
        "cure": cure,
        "tried": "1",
        "worked": "1",
    }
    given_up = row(text, "geometry")
    assert given_up == ["geometry", "1", "1", "0", "1", "0", "0.010", "none"]
    assert "58 of 80" in text and "1 quarantined" in text


def test_targets_are_on_the_page_with_what_the_newest_potential_reaches(tmp_path, stored_run):
    run = load(stored_run)
    told = read_json(stored_run / "result/summary.json")["targets"]
    # Those of the properties: its errors at conditions that log does not know.
    said = {item["name"]: item for item in told if "DFT" in item["name"]}
    text = page(written(tmp_path, run))
    assert len(said) == 2
    for name, item in said.items():
        _, reached, limit, met = row(text, name)
        assert reached == f"{item['value']:.3g} {item['unit']}"
        assert limit == f"at most {item['limit']:g} {item['unit']}"
        assert met == ("met" if item["met"] else "not met")


def test_a_condition_shows_all_visits_and_the_one_that_is_going_on(tmp_path, run):
    cells = row(page(written(tmp_path, run)), "npt-900K")
    own = {
        record.task.id
        for record in run.state.of_kind("explore")
        if record.task.payload["condition"]["name"] == "npt-900K"
    }
    told = [
        event
        for _, event in run.history
        if isinstance(event, MdProgressed | MdStreamed | MdBroke) and event.task_id in own
    ]
    lines = [event for event in told if isinstance(event, MdProgressed)]
    last = [event for event in lines if event.task_id == "explore-89b5dfff22f6"][-1]
    # A visit is one attempt in this log; its time is that of its last line.
    time_ps = {event.task_id: event.ps for event in lines}
    worst = max((e.gamma_max or 0.0) if isinstance(e, MdProgressed) else e.gamma for e in told)
    assert last.ps > 10 and sum(time_ps.values()) > last.ps
    asked_for = sum(isinstance(event, MdStreamed) for event in told)
    visits, clean_ps, ps, gamma, unknown = cells[2:7]
    assert visits == str(len(own)) == "2"
    assert clean_ps == f"{last.clean_ps:.3g}"
    assert float(ps) == pytest.approx(sum(time_ps.values()), rel=0.01)
    assert float(gamma) == pytest.approx(worst, rel=0.01)
    assert int(unknown) == asked_for
    assert cells[-1] == last.potential == "001-2cfe4b14ad6f"


def test_a_dead_driver_is_said_to_have_stopped(tmp_path, run):
    root = written(tmp_path, run, pid=dead_pid())
    assert status_page.collect(root).driver.state == "stopped"
    assert "stopped before its end" in page(root)


def test_a_reused_process_number_is_not_the_driver(tmp_path, run):
    """This process lives, but began after the snapshot was written."""
    root = written(tmp_path, run, updated=time.time() - 7 * 86400)
    assert status_page.collect(root).driver.state == "stopped"


def test_a_zombie_is_dead(tmp_path, run):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    deadline = time.time() + 20
    while (
        Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        and time.time() < deadline
    ):
        time.sleep(0.02)
    try:
        assert status_page.collect(written(tmp_path, run, pid=child.pid)).driver.state == "stopped"
    finally:
        child.wait()


def test_a_driver_that_hangs_is_silent(tmp_path, run, monkeypatch):
    monkeypatch.setattr(status_page, "SILENT_AFTER_S", -1.0)
    assert status_page.collect(written(tmp_path, run)).driver.state == "silent"


def test_a_finished_run_says_how_it_ended(tmp_path, run):
    root = written(
        tmp_path,
        run,
        end_state="budget_exhausted",
        reason="80 of 80 DFT calls spent",
        pid=dead_pid(),
    )
    assert status_page.collect(root).driver.state == "ended"
    assert "ended: budget_exhausted" in page(root)
    assert "80 of 80 DFT calls spent" in page(root)


def test_json_is_one_object_for_programs(tmp_path, run):
    console = Console(file=io.StringIO(), width=20)
    status_page.show(written(tmp_path, run), json=True, console=console)
    data = json.loads(console.file.getvalue())
    assert data["budget"]["dft_calls_used"] == planned_labels(run)
    assert data["driver"]["state"] == "running"
    assert data["version"] == SCHEMA_VERSION


def test_a_run_that_has_just_begun_has_a_page(tmp_path, stored_run):
    begun = until(load(stored_run), 0.0)
    text = page(written(tmp_path, begun))
    assert "Si  running  phase generating" in text
    assert "0 of 80" in text
    told = row(text, "force RMSE at npt-900K, at most")
    assert told[1:] == ["- meV/Å", "at most 100 meV/Å", "not known"]


def test_a_status_of_version_one_still_has_its_page(stored_run):
    old = read_json(stored_run / "status.json")
    old["healing"] = [
        {
            "class": "scf_not_converged",
            "met": 3,
            "tasks": 2,
            "healed": 2,
            "quarantined": 0,
            "open": 0,
            "core_hours_lost": 0.25,
            "cures": [{"cure": "mixing_beta=0.3", "tried": 3, "worked": 2}],
        }
    ]
    write_json(stored_run / "status.json", old)
    text = page(stored_run)
    assert "ended: budget_exhausted" in text and "57 of 80" in text
    assert row(text, "scf_not_converged")[-4:] == ["0.250", "mixing_beta=0.3", "3", "2"]
    assert (
        status_page.collect(stored_run).potentials[-1].test.force_rmse_mev_per_a
        == (old["potentials"][-1]["test"]["force_rmse_mev_per_a"])
    )


def test_a_status_of_a_later_version_is_one_clear_line(tmp_path, run):
    root = written(tmp_path, run, version=SCHEMA_VERSION + 1)
    with pytest.raises(CampaignStateError, match=f"a status of version {SCHEMA_VERSION + 1}"):
        status_page.collect(root)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no run"),
        ("{", "not a status"),
        ("[]", "not a status"),
        ("{}", "not a"),
        ('{"version": "x"}', "no number"),
    ],
)
def test_a_folder_without_a_run_is_one_clear_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "status.json").write_text(content)
    with pytest.raises(InputError, match=words) as error:
        status_page.show(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        status_page.collect(tmp_path / "nowhere")


def test_watch_follows_until_the_end(tmp_path, run):
    root = written(tmp_path, run)
    pauses = []

    def next_snapshot(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            written(root, run, end_state="converged", reason="all conditions met")

    console = Console(file=io.StringIO(), width=120)
    status_page.watch(root, interval_s=0.5, console=console, sleep=next_snapshot)
    assert pauses == [0.5, 0.5, 0.5]
    assert "ended: converged" in console.file.getvalue()


def test_ctrl_c_ends_the_watching_and_not_the_run(tmp_path, run):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    before = (written(tmp_path, run) / "status.json").read_bytes()
    status_page.watch(tmp_path, console=Console(file=io.StringIO()), sleep=interrupt)
    assert (tmp_path / "status.json").read_bytes() == before


def test_the_dashboard_changes_nothing(tmp_path, run):
    root = tmp_path / "watched"
    root.mkdir()
    page(written(root, run))
    assert [path.name for path in root.iterdir()] == ["status.json"]


def test_what_is_left_is_an_expectation_within_the_budget(run: Run, tmp_path: Path) -> None:
    shown = run.status()
    budget_s = 60 * run.plan.budget.wall_minutes
    assert shown.eta_s is not None and 0 < shown.eta_s <= budget_s - shown.wall_s
    assert "Time left" in page(written(tmp_path, run))
    soon, late = (run.status(eta_s=left_s) for left_s in (60.0, budget_s - shown.wall_s))
    rest = round((budget_s - shown.wall_s) / 60)
    assert line(soon).endswith(f"about 1 to go, at most {rest}")
    assert line(late).endswith(f"about {rest} to go")
    assert "to go" not in line(run.status(eta_s=None))
    assert "Time left" not in page(written(tmp_path, run, eta_s=None))
