"""Kill -9 at random moments: nothing finished is lost or done twice, and the campaign ends as it
would have.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from killing import kill, label_names, launch, times_done, workers

from mlip_autopipec.base.files import read_json
from mlip_autopipec.campaign.attempts import MAX_LOST
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.store import EventStore

KILLS = 54
pytestmark = pytest.mark.xdist_group("crash")  # one campaign for all tests of this file
SCRIPT = """
import sys
from pathlib import Path
from mlip_autopipec.commands.active_learning import run_campaign
from mlip_autopipec.testing import simulated_plan
surrogate = {"engine": "mlip_autopipec.testing:SimulatedSurrogate", "max_force_ev_per_a": 3.5}
run_campaign(simulated_plan(initial=10, surrogate=surrogate), {}, Path(sys.argv[1]), tick_s=0.05)
"""


def start_driver(root: Path, ledger: Path, log: Path) -> subprocess.Popen[bytes]:
    return launch([sys.executable, "-c", SCRIPT, str(root)], ledger, log)


def state_of(root: Path) -> CampaignState:
    store = EventStore(root / "campaign.db")
    try:
        state = CampaignState()
        for _, event in store.load():
            state.apply(event)
        return state
    finally:
        store.close()


def nearly_given_up(root: Path) -> bool:
    """Whether another kill or two would make the driver give up a task that was lost again and
    again.
    """
    for task in (root / "tasks").glob("*"):
        attempts = list(task.glob("attempt-*"))
        if (
            len(attempts) >= MAX_LOST - 1
            and not (task / f"attempt-{len(attempts)}" / layout.OUTCOME).exists()
        ):
            return True
    return False


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """A campaign that was killed KILLS times (driver, a worker, or everything) and then left to
    end.
    """
    folder = tmp_path_factory.mktemp("crash")
    root, ledger, log = folder / "run", folder / "ledger.txt", folder / "driver.log"
    rng, kills = random.Random(7), Counter[str]()
    driver = start_driver(root, ledger, log)
    while sum(kills.values()) < KILLS:
        time.sleep(rng.uniform(0.05, 1.6))
        while driver.poll() is None and nearly_given_up(root):
            time.sleep(
                0.2
            )  # on a busy machine: a task that is killed too often counts as hopeless, rightly so
        if driver.poll() is not None:
            break  # it ended before all kills were made; the test below says so
        target = rng.choice(["driver", "worker", "everything"])
        victims = workers(root) if target != "driver" else []
        if target == "worker":
            victims = [rng.choice(victims)] if victims else []
            if not victims:
                target = "driver"
        if target in ("driver", "everything"):
            driver.kill()
            driver.wait()
        for victim in victims:
            kill(victim)
        kills[target] += 1
        if target != "worker":
            driver = start_driver(root, ledger, log)
    driver.wait(timeout=600)
    assert (root / "result" / "summary.json").exists(), log.read_text()[-3000:]
    return root, ledger, sum(kills.values())


def test_at_least_fifty_kills_were_made(survivor: tuple[Path, Path, int]) -> None:
    assert survivor[2] >= 50


def test_the_campaign_ends_as_it_would_have(survivor: tuple[Path, Path, int]) -> None:
    summary = read_json(survivor[0] / "result" / "summary.json")
    assert summary["end_state"] == "converged"


def test_the_surrogate_was_judged(survivor: tuple[Path, Path, int]) -> None:
    """Surrogate and DFT are one and the same here, so that every promise is kept and every
    rejection right.
    """
    summary = read_json(survivor[0] / "result" / "summary.json")
    found = summary["screen"]["hit_rate"]
    assert found["n_accepted"] == found["n_hits"] == 10
    assert (
        found["n_audited"] == summary["labels"]["audit"] == 1 and found["n_false_rejections"] == 0
    )
    assert found["force_correlation"] > 0.999 and abs(found["force_rmse_mev_per_a"]) < 1e-3
    state = state_of(survivor[0])
    audited = {record.task.id for record in state.labels("audit")}
    assert len(audited) == 1
    assert not any(
        audited & set(record.task.payload["labels"]) for record in state.of_kind("train")
    )


def test_no_finished_calculation_was_done_twice(survivor: tuple[Path, Path, int]) -> None:
    done = times_done(survivor[1])
    assert {name: count for name, count in done.items() if count > 1} == {}


def test_no_label_is_missing_and_none_is_there_twice(survivor: tuple[Path, Path, int]) -> None:
    root = survivor[0]
    state = state_of(root)
    planned = [record for record in state.of_kind("label") if record.status != "cancelled"]
    assert planned and all(record.status in ("done", "quarantined") for record in planned)
    names = Counter(label_names(root / "dataset.db"))
    assert set(names.values()) == {1}
    assert set(names) == {record.task.id for record in planned if record.status == "done"}


def test_every_finished_calculation_became_a_label(survivor: tuple[Path, Path, int]) -> None:
    root, ledger, _ = survivor
    done = [record for record in state_of(root).of_kind("label") if record.status == "done"]
    assert len(times_done(ledger)) == len(done)


def test_a_run_that_has_ended_is_not_run_again(survivor: tuple[Path, Path, int]) -> None:
    root, ledger, _ = survivor
    before = ledger.read_text()
    events = len(state_of(root).tasks)
    driver = start_driver(root, ledger, root.parent / "again.log")
    assert driver.wait(timeout=120) == 0
    assert ledger.read_text() == before and len(state_of(root).tasks) == events


def test_the_data_base_is_rebuilt_from_the_attempt_folders(
    survivor: tuple[Path, Path, int],
) -> None:
    root, ledger, _ = survivor
    rows = label_names(root / "dataset.db")
    (root / "dataset.db").unlink()
    assert start_driver(root, ledger, root.parent / "again.log").wait(timeout=120) == 0
    assert sorted(label_names(root / "dataset.db")) == sorted(rows)
