"""The status page: tells a living driver from a dead one, during and after a run, and never
guesses.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import write_json
from mlip_autopipec.report import status_page


def snapshot(**changes) -> dict:
    now = time.time()
    return {
        "name": "silicon",
        "phase": "explore",
        "end_state": None,
        "reason": None,
        "started": now - 600,
        "updated": now,
        "pid": os.getpid(),
        "wall_s": 600.0,
        "budget": {"dft_calls": 80, "dft_calls_used": 41, "wall_minutes": 60},
        "tasks": {
            "queued": 3,
            "running": [
                {
                    "id": "explore-0123",
                    "kind": "explore",
                    "detail": "nvt-1200K visit 1",
                    "started": now - 90,
                    "elapsed_s": 90,
                    "eta_s": 300,
                    "state": "waiting",
                }
            ],
            "done": {"label": 38, "train": 2},
            "quarantined": 1,
        },
        "labels": {"train": 30, "validate": 7, "masked": 4},
        "hit_rate": {
            "n_accepted": 36,
            "n_hits": 35,
            "n_audited": 2,
            "n_false_rejections": 1,
            "force_correlation": 0.934,
            "geometry_only": False,
        },
        "potentials": [
            {
                "name": "002-abc",
                "trainer": "linear",
                "labels": 30,
                "test": {"energy_rmse_mev_per_atom": 4.21, "force_rmse_mev_per_a": 88.4},
                "train": {"energy_rmse_mev_per_atom": None, "force_rmse_mev_per_a": 61.0},
                "published_at": now - 100,
            }
        ],
        "conditions": [
            {
                "name": "nvt-1200K",
                "state": "waiting",
                "clean_ps": 0.4,
                "ps": 2.0,
                "gamma_max": 12.5,
                "potential": "002-abc",
            }
        ],
        "swaps": 3,
        "cutouts": 4,
        "failures": {"not_converged": 2},
        "cures": {"not_converged": 2},
        "core_hours": {"label": 0.31, "train": 0.12, "explore": 0.2},
        "events": [{"time": now - 5, "text": "label-77 failed: [not_converged] beta 0.3"}],
        **changes,
    }


def written(root: Path, **changes) -> Path:
    write_json(root / "status.json", snapshot(**changes))
    return root


def page(root: Path) -> str:
    console = Console(file=io.StringIO(), width=160)
    status_page.show(root, console=console)
    return console.file.getvalue()


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return child.pid


def test_a_living_driver_runs(tmp_path):
    assert status_page.collect(written(tmp_path))["driver"]["state"] == "running"
    text = page(tmp_path)
    for part in (
        "silicon",
        "running",
        "41 of 80",
        "4.21",
        "88.4",
        "nvt-1200K visit 1",
        "12.5",
        "[not_converged] beta",
        "30 for training (4 of them masked), 7 for validation",
        (
            "35 of 36 first labels as the surrogate promised, 1 of 2 rejected ones wrongly; forces"
            " correlated by 0.934"
        ),
        "3 potential swaps",
    ):
        assert part in text


def test_a_dead_driver_is_said_to_have_stopped(tmp_path):
    root = written(tmp_path, pid=dead_pid())
    assert status_page.collect(root)["driver"]["state"] == "stopped"
    assert "stopped before its end" in page(root)


def test_a_reused_process_number_is_not_the_driver(tmp_path):
    """This process lives, but began after the snapshot was written."""
    root = written(tmp_path, updated=time.time() - 7 * 86400)
    assert status_page.collect(root)["driver"]["state"] == "stopped"


def test_a_zombie_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    deadline = time.time() + 20
    while (
        Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        and time.time() < deadline
    ):
        time.sleep(0.02)
    try:
        assert status_page.collect(written(tmp_path, pid=child.pid))["driver"]["state"] == "stopped"
    finally:
        child.wait()


def test_a_driver_that_hangs_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(status_page, "SILENT_AFTER_S", -1.0)
    assert status_page.collect(written(tmp_path))["driver"]["state"] == "silent"


def test_a_finished_run_says_how_it_ended(tmp_path):
    root = written(
        tmp_path, end_state="budget_exhausted", reason="80 of 80 DFT calls spent", pid=dead_pid()
    )
    assert status_page.collect(root)["driver"]["state"] == "ended"
    assert "ended: budget_exhausted" in page(root)
    assert "80 of 80 DFT calls spent" in page(root)


def test_json_is_one_object_for_programs(tmp_path):
    console = Console(file=io.StringIO(), width=20)
    status_page.show(written(tmp_path), json=True, console=console)
    data = json.loads(console.file.getvalue())
    assert data["budget"]["dft_calls_used"] == 41
    assert data["driver"]["state"] == "running"


def test_a_run_that_has_just_begun_has_a_page(tmp_path):
    write_json(tmp_path / "status.json", {"name": "new", "phase": "generate", "pid": os.getpid()})
    assert "new" in page(tmp_path)


def test_times_may_be_iso(tmp_path):
    root = written(tmp_path, updated=datetime.now(UTC).isoformat())
    found = status_page.collect(root)["driver"]
    assert found["state"] == "running"
    assert 0 <= found["updated_s_ago"] < 30


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "holds no run"), ("{", "not a status"), ("[]", "not a status"), ("{}", "not a")],
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


def test_watch_follows_until_the_end(tmp_path):
    root = written(tmp_path)
    pauses = []

    def next_snapshot(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            written(root, end_state="converged", reason="all conditions met")

    console = Console(file=io.StringIO(), width=120)
    status_page.watch(root, interval_s=0.5, console=console, sleep=next_snapshot)
    assert pauses == [0.5, 0.5, 0.5]
    assert "ended: converged" in console.file.getvalue()


def test_ctrl_c_ends_the_watching_and_not_the_run(tmp_path):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    before = (written(tmp_path) / "status.json").read_bytes()
    status_page.watch(tmp_path, console=Console(file=io.StringIO()), sleep=interrupt)
    assert (tmp_path / "status.json").read_bytes() == before


def test_the_dashboard_changes_nothing(tmp_path):
    root = written(tmp_path)
    page(root)
    assert [path.name for path in root.iterdir()] == ["status.json"]
