"""A run that the version before began goes on to its end; nothing is calculated twice."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from killing import label_names, times_done

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.campaign.events import DriverStarted
from mlip_autopipec.campaign.upgrade import LOG_VERSION
from mlip_autopipec.commands.run import run
from mlip_autopipec.config import load
from mlip_autopipec.config.upgrade import PLAN_VERSION
from mlip_autopipec.runtime.store import EventStore

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run_v1"


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The stored folder as if the version before had been killed on this machine."""
    root = tmp_path / "runs" / "copper"
    with tarfile.open(FIXTURE / "copper.tar.gz") as archive:
        archive.extractall(root.parent, filter="data")
    for path in root.rglob("*"):
        if path.is_file() and path.suffix != ".db":
            text = path.read_text()
            here = text.replace("@ROOT@", str(root)).replace("@HOST@", socket.gethostname())
            if here != text:
                path.write_text(here)
    return root


def log_of(root: Path) -> list[object]:
    store = EventStore(root / "campaign.db")
    try:
        return [event for _, event in store.load()]
    finally:
        store.close()


@pytest.mark.xdist_group("earlier version")
def test_a_run_of_the_version_before_goes_on_to_its_end(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger.txt"
    shutil.copy(FIXTURE / "ledger.txt", ledger)
    monkeypatch.setenv("MLIP_TESTING_LEDGER", str(ledger))
    before, labelled = times_done(ledger), set(label_names(begun / "dataset.db"))
    log = log_of(begun)
    prepared = load.load(begun / "plan.yaml", runs_dir=tmp_path / "runs", cores=None)
    load.check_same_plan(prepared)

    summary = run(prepared)

    assert summary["end_state"] == "converged"
    after = log_of(begun)
    assert after[: len(log)] == log, "what was known stays as it was"
    assert sum(isinstance(event, DriverStarted) for event in after) == 2
    done = times_done(ledger)
    assert set(done.values()) == {1}, "no calculation was made a second time"
    assert set(done) > set(before)
    assert set(label_names(begun / "dataset.db")) > labelled
    assert read_json(begun / "plan.json")["version"] == PLAN_VERSION
    with closing(sqlite3.connect(begun / "campaign.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (LOG_VERSION,)


def test_a_run_of_a_later_version_is_refused_in_one_line_and_left_alone(
    begun: Path, tmp_path: Path
) -> None:
    prepared = load.load(begun / "plan.yaml", runs_dir=tmp_path / "runs", cores=None)
    with closing(sqlite3.connect(begun / "campaign.db")) as connection:
        connection.execute(f"PRAGMA user_version={LOG_VERSION + 1}")
    before = (begun / "campaign.db").read_bytes()
    with pytest.raises(CampaignStateError, match=r"campaign\.db: an event log of version \d+"):
        run(prepared)
    # Only the mark of the write-ahead log in the header may differ.
    assert (begun / "campaign.db").read_bytes()[100:] == before[100:]
