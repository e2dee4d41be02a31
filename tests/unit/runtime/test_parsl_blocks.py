"""Blocks of a cluster: when they are given up, one task inside, those of dead drivers. No cluster
needed.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from queue_for_tests import SLURM, FakeQueue

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.tasks import Outcome
from mlip_autopipec.config.plan import ExecutorPlan
from mlip_autopipec.runtime import heartbeat, layout
from mlip_autopipec.runtime.executors import local
from mlip_autopipec.runtime.executors.parsl import block, pilot
from mlip_autopipec.runtime.executors.parsl.executor import ParslExecutor
from mlip_autopipec.runtime.executors.parsl.health import MAX_FAILURES, BlockHealth
from mlip_autopipec.runtime.executors.parsl.orphans import (
    Orphans,
    record_block,
    record_session,
    run_label,
)
from mlip_autopipec.runtime.executors.parsl.queues import QueuedJob
from mlip_autopipec.runtime.executors.registry import opened
from mlip_autopipec.testing import simulated_plan

# --- when to give up
# -------------------------------------------------------------------------------------------------


def _status(name: str, message: str = "", stderr: Path | None = None) -> SimpleNamespace:
    over = name in ("FAILED", "COMPLETED", "SCALED_IN", "CANCELLED")
    where = {"stdout_path": None, "stderr_path": None if stderr is None else str(stderr)}
    return SimpleNamespace(
        state=SimpleNamespace(name=name), terminal=over, message=message, **where
    )


class FakeParsl:
    def __init__(self) -> None:
        self.connected: list[str] = []
        self.provider = SimpleNamespace(max_blocks=5)

    def connected_blocks(self) -> list[str]:
        return self.connected


def test_pilots_that_die_at_once_stop_the_run_with_their_last_words(tmp_path: Path) -> None:
    now, parsl, queue = [0.0], FakeParsl(), FakeQueue()
    health = BlockHealth(queue, 5, clock=lambda: now[0])
    (tmp_path / "err").write_text("module: command not found")
    blocks: dict[str, SimpleNamespace] = {}
    for number in range(MAX_FAILURES):
        assert health.verdict is None
        blocks[str(number)] = _status("COMPLETED", stderr=tmp_path / "err")
        health(parsl, blocks)
        assert parsl.provider.max_blocks == 0  # a pause, longer after each failure
        now[0] += 10.0 * 2**number - 1
        health(parsl, blocks)
        assert parsl.provider.max_blocks == 0
        now[0] += 2
        health(parsl, blocks)
    assert health.verdict is not None and "module: command not found" in health.verdict
    assert parsl.provider.max_blocks == 0


def test_an_outage_of_the_scheduler_is_waited_for(tmp_path: Path) -> None:
    now, parsl, queue = [0.0], FakeParsl(), FakeQueue()
    queue.content = None
    health = BlockHealth(queue, 5, clock=lambda: now[0])
    blocks = {
        str(number): _status("FAILED", "sbatch: Unable to contact slurm controller")
        for number in range(20)
    }
    health(parsl, blocks)
    assert health.verdict is None and parsl.provider.max_blocks == 0
    now[0] = 11.0
    health(parsl, blocks)
    assert parsl.provider.max_blocks == 5


def test_blocks_that_worked_are_no_failures() -> None:
    parsl, health = FakeParsl(), BlockHealth(FakeQueue(), 3)
    parsl.connected = [str(number) for number in range(20)]
    health(parsl, {number: _status("COMPLETED") for number in parsl.connected})
    health(parsl, {str(number): _status("SCALED_IN") for number in range(20, 40)})
    assert health.verdict is None and parsl.provider.max_blocks == 3


def test_a_block_must_hold_one_calculation(tmp_path: Path) -> None:
    plan = ExecutorPlan.model_validate({**SLURM, "walltime_minutes": 30})
    with pytest.raises(InputError, match="more than 31 minutes"):
        ParslExecutor(tmp_path, plan, reserve_s=1800.0, queue=FakeQueue())
    with pytest.raises(InputError, match="must fit on one node"):
        ParslExecutor(tmp_path, plan, task_cores=5, queue=FakeQueue())


def test_without_parsl_the_install_line_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "parsl", None)
    with (
        pytest.raises(MissingProgramError, match=r"pip install parsl=="),
        opened(simulated_plan(executor=SLURM), tmp_path),
    ):
        pass


# --- one task in a block
# ---------------------------------------------------------------------------------------------


def test_a_task_sees_its_own_cores_and_no_scheduler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "64")
    monkeypatch.setenv("PBS_NODEFILE", "/nodes")
    monkeypatch.setenv("MLIP_BLOCK", "17")
    script = (
        "import os, json; json.dump(dict(os.environ), open('seen.json', 'w')); raise SystemExit(7)"
    )
    assert pilot.run((sys.executable, "-c", script), str(tmp_path), 3) == 7
    seen = read_json(tmp_path / "seen.json")
    assert seen["OMP_NUM_THREADS"] == "3" and seen["MLIP_BLOCK"] == "17"
    assert not [key for key in seen if key.startswith(("SLURM_", "PBS_"))]


def test_a_cancelled_task_ends_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "_LOOK_EVERY_S", 0.05)
    script = "sleep 600 & echo $! > child; sleep 600 & wait"
    starter = subprocess.Popen(
        [
            "sh",
            "-c",
            f"while [ ! -s {tmp_path}/child ]; do sleep 0.05; done; touch {tmp_path}/cancel",
        ]
    )
    assert pilot.run(("sh", "-c", script), str(tmp_path), 1) == pilot.CANCELLED
    starter.wait()
    child = int((tmp_path / "child").read_text())
    # The signal is sent; a busy kernel may take a moment to carry it out.
    give_up = time.monotonic() + 30
    while psutil.pid_exists(child) and time.monotonic() < give_up:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
                break
        time.sleep(0.05)
    assert time.monotonic() < give_up
    assert pilot.run(("touch", "started"), str(tmp_path), 1) == pilot.CANCELLED
    assert not (tmp_path / "started").exists()


def test_dynamics_that_waits_gives_up_its_place_but_not_its_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "_LOOK_EVERY_S", 0.05)
    stream = tmp_path / layout.STREAM
    stream.write_text('{"type": "progress", "state": "running"}\n')
    assert not pilot.sleeps(stream) and not pilot.sleeps(tmp_path / "none")
    script = (
        f'echo $$ > pid; echo \'{{"type": "progress", "state": "waiting"}}\' >> {layout.STREAM};'
        " exec sleep 600"
    )
    assert pilot.run(("sh", "-c", script), str(tmp_path), 1) == pilot.WAITING
    sleeper = psutil.Process(int((tmp_path / "pid").read_text()))
    assert sleeper.is_running() and pilot.sleeps(stream)
    (tmp_path / pilot.CANCEL).touch()
    psutil.wait_procs([sleeper], timeout=60)
    assert not sleeper.is_running()


def test_time_left_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(block.ENDS, raising=False)
    assert block.seconds_left() is None
    monkeypatch.setenv(block.ENDS, "1000")
    assert block.seconds_left(now=400.0) == 600.0


def test_parsls_interchange_gets_a_bounded_life(tmp_path: Path) -> None:
    """The guard's parent ends; the guard waits its grace, then ends the program."""
    program_text = f"echo $$ > {tmp_path}/pid; exec sleep 600"
    guard = (
        f"{sys.executable} -m mlip_autopipec.runtime.executors.parsl.guard 0.1 {tmp_path} sh -c"
        f" '{program_text}'"
    )
    subprocess.run(
        ["sh", "-c", f"{guard} & while [ ! -s {tmp_path}/pid ]; do sleep 0.05; done"], check=True
    )
    program = psutil.Process(int((tmp_path / "pid").read_text()))
    psutil.wait_procs([program], timeout=60)
    assert not program.is_running() or program.status() == psutil.STATUS_ZOMBIE


# --- blocks of dead drivers
# ------------------------------------------------------------------------------------------


def test_blocks_of_a_dead_driver_finish_what_they_hold_and_are_cancelled(tmp_path: Path) -> None:
    home = tmp_path / "parsl"
    home.mkdir()
    label = run_label(tmp_path)
    interchange = subprocess.Popen(["sleep", "600"])
    record_session(home, "old", local.identity(interchange.pid))
    record_block(home, "old", "5.server")
    queue = FakeQueue(
        {
            "5": QueuedJob("renamed", True),  # known by its record
            "6": QueuedJob(
                f"parsl.{label}-old.block-1.123", True
            ),  # its driver died before it could record it
            "7": QueuedJob(f"parsl.{label}-old.block-2.124", False),  # has not begun
            "8": QueuedJob(f"parsl.{label}-new.block-0.125", True),
            "9": QueuedJob("parsl.somebody-else", True),
        }
    )
    busy = tmp_path / "tasks" / "label-1" / "attempt-1"
    busy.mkdir(parents=True)
    (busy / heartbeat.FILE).write_text("5.server")
    orphans = Orphans(tmp_path, home, queue)
    assert orphans.look("new") == 3 and queue.cancelled == ["7"]
    for _ in range(5):
        orphans.look("new")
    assert set(queue.cancelled) == {"6", "7"}
    write_json(busy / layout.OUTCOME, Outcome({}).to_json())
    for _ in range(5):
        orphans.look("new")
    assert set(queue.cancelled) == {"5", "6", "7"}
    assert interchange.poll() is None
    queue.content = None
    assert orphans.look("new") > 0  # not seen is not gone
    queue.content = {"8": QueuedJob(f"parsl.{label}-new.block-0.125", True)}
    assert orphans.look("new") == 0
    assert interchange.wait(timeout=60) != 0
