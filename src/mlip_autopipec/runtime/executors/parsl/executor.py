"""Clusters: tasks packed into blocks (pilot jobs) by Parsl's HighThroughputExecutor.

Parsl only starts commands. What ran and how it ended is told by claim and outcome files, so its
memory may be lost:

- Parsl never repeats a task by itself; a lost one is a ``lost`` attempt, or is submitted again when
  nobody claimed it.
- Blocks that end are replaced for as long as tasks wait. Pilots that die before they ever connected
  stop the run, with their last words, after a few in a row (:mod:`.health`); a scheduler that does
  not answer is waited for.
- Blocks of a killed driver finish what they hold and are then cancelled (:mod:`.orphans`).
- No task is started in a block that has less than ``reserve_s`` left.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import InputError, MlipError
from mlip_autopipec.base.files import append_line, atomic_write
from mlip_autopipec.config.plan import ExecutorPlan
from mlip_autopipec.runtime.executors import local
from mlip_autopipec.runtime.executors.parsl import pilot, providers
from mlip_autopipec.runtime.executors.parsl.health import BlockHealth
from mlip_autopipec.runtime.executors.parsl.orphans import (
    Orphans,
    record_block,
    record_session,
    run_label,
)
from mlip_autopipec.runtime.executors.parsl.queues import Queue, short_id
from mlip_autopipec.runtime.executors.ports import ExecutorSetup, JobRequest

__all__ = ["ParslExecutor", "parsl_executor"]

FOLDER = "parsl"
_PREFIX = "parsl|"
_SCALE_EVERY_S = 5.0
_START_MARGIN_S = 60.0
_LOOK_EVERY_S = 10.0
_JOIN_S = 20.0
_HEARTBEAT_S, _SILENT_S = 15, 90
#: Engines that a thread of Parsl's may still use. As garbage they could stop this process for ever:
#: an open socket may be collected after its context, whose end waits for it.
_KEPT: list[Any] = []


class ParslExecutor:
    """One session of a driver with a cluster. ``task_cores``: cores of one label, the size of a
    slot in a block.
    """

    def __init__(
        self,
        root: Path,
        plan: ExecutorPlan,
        *,
        task_cores: int = 1,
        reserve_s: float = 0.0,
        queue: Queue | None = None,
    ) -> None:
        assert plan.cores_per_node is not None
        if task_cores > plan.cores_per_node:
            raise InputError(
                "one calculation must fit on one node", key="dft.cores", value=task_cores,
                hint=f"executor.cores_per_node is {plan.cores_per_node}",
            )  # fmt: skip
        self._drain_s = plan.walltime_minutes * 60 - reserve_s - _START_MARGIN_S
        if self._drain_s <= 0:
            raise InputError(
                "blocks would end before one calculation may",
                key="executor.walltime_minutes",
                value=plan.walltime_minutes,
                hint=f"more than {(reserve_s + _START_MARGIN_S) / 60:.0f} minutes",
            )
        providers.import_parsl()
        self.root, self.plan, self.slot = root.resolve(), plan, task_cores
        self.queue = queue or providers.queue(plan)
        self._home = self.root / FOLDER
        self._home.mkdir(parents=True, exist_ok=True)
        self._futures: dict[str, Future[int]] = {}
        self._lock = threading.Lock()
        self._last_look = 0.0
        self._kernel: Any = None
        self._engine: Any = None
        self._session = ""
        self._recorded: set[str] = set()
        self.health = BlockHealth(self.queue, plan.max_blocks)
        self.orphans = Orphans(self.root, self._home, self.queue)

    # --- the port
    # ----------------------------------------------------------------------------------------------

    def submit(self, request: JobRequest) -> str:
        """Queue the command with Parsl, which asks the scheduler for blocks as they are needed."""
        self._check()
        if self._kernel is None:
            self._start()
        job = f"{_PREFIX}{self._session}|{request.folder}"
        cores = min(request.cores, self.slot)
        future = self._kernel.submit(
            pilot.run,
            (request.command, str(request.folder), cores),
            executors=[self._engine.label],
            cache=False,
            ignore_for_cache=(),
            app_kwargs={},
        )
        with self._lock:
            self._futures[job] = future
        return job

    def poll(self, ids: Iterable[str]) -> Mapping[str, bool]:
        """Jobs of earlier sessions count as ended: their claim and their heartbeat tell whether
        they still run.
        """
        self._look_after()
        self._check()
        return {job: self._waits_or_runs(job) for job in ids}

    def cancel(self, ids: Iterable[str]) -> None:
        """Leave word in the attempt's folder, which reaches the pilots of any session; or kill a
        local process.
        """
        for job in ids:
            if job.startswith(_PREFIX):
                with contextlib.suppress(FileNotFoundError):
                    atomic_write(Path(job.split("|", 2)[2]) / pilot.CANCEL, "")
                with self._lock:
                    self._futures.pop(job, None)
            else:
                local.end(job)

    def close(self) -> None:
        """End all blocks of this session and its interchange.

        Waits for no answer of Parsl's, which may be dead.
        """
        if self._kernel is None:
            return
        kernel, engine = self._kernel, self._engine
        self._kernel = self._engine = None
        self._forget(kernel)
        kernel.job_status_poller._thread.join(timeout=_JOIN_S)  # it may be talking to the scheduler
        jobs = set(engine.blocks_to_job_id.values())
        listed = self.queue.jobs() or {}
        jobs = {job for job in jobs if short_id(job) in listed}
        jobs |= {job for job, facts in listed.items() if f"parsl.{engine.label}." in facts.name}
        self.queue.cancel({short_id(job) for job in jobs})
        local.end_tree(engine.interchange_proc.pid)
        engine.interchange_proc.wait()
        kernel._task_launch_pool.shutdown()
        engine._result_queue_thread.join(timeout=_JOIN_S)
        if kernel.job_status_poller._thread.is_alive() or engine._result_queue_thread.is_alive():
            _KEPT.append(engine)
            return
        for pipe in (engine.outgoing_q, engine.incoming_q, engine.command_client):
            pipe.zmq_context.destroy(linger=0)

    # --- Parsl
    # ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """A new session: interchange, logs and job names of its own."""
        parsl = providers.import_parsl()
        from parsl.executors import HighThroughputExecutor

        self._session = f"{time.time_ns() // 1_000_000:x}"
        scripts = Path(sys.executable).parent
        grace_s = self.plan.walltime_minutes * 60
        assert self.plan.cores_per_node is not None
        self._engine = HighThroughputExecutor(
            label=f"{run_label(self.root)}-{self._session}",
            provider=providers.provider(self.plan, self.queue),
            interchange_launch_cmd=[
                sys.executable,
                "-m",
                "mlip_autopipec.runtime.executors.parsl.guard",
                str(grace_s),
                str(self._home),
                str(scripts / "interchange.py"),
            ],
            address=self.plan.address,
            cores_per_worker=float(self.slot),
            max_workers_per_node=self.plan.cores_per_node // self.slot,
            drain_period=int(self._drain_s),
            heartbeat_period=_HEARTBEAT_S,
            heartbeat_threshold=_SILENT_S,
            poll_period=100,
            block_error_handler=self.health,
        )
        config = parsl.Config(
            executors=[self._engine],
            retries=0,
            run_dir=str(self._home),
            # Not htex_auto_scale: asked to give back no block, it cancels every one that has not
            # connected yet, and it would take a block away from dynamics that sleeps in it.
            strategy="simple",
            strategy_period=_SCALE_EVERY_S,
            max_idletime=self.plan.idle_minutes * 60,
            initialize_logging=False,
        )
        self._kernel = parsl.DataFlowKernel(config)
        # Messages to an interchange that is gone must not keep this process from ending.
        self._engine.outgoing_q.zmq_socket.linger = 0
        self._engine.incoming_q.results_receiver.linger = 0
        self._recorded.clear()
        process = self._engine.interchange_proc
        record_session(self._home, self._session, local.identity(process.pid))

    def _check(self) -> None:
        """Raises MlipError when blocks cannot be had until a person acts; a dead interchange is
        replaced.
        """
        if self.health.verdict is not None:
            raise MlipError(self.health.verdict)
        if self._engine is not None and self._engine.interchange_proc.poll() is not None:
            self._note("the interchange died")
            self._abandon()

    def _abandon(self) -> None:
        """Forget a session whose interchange died: its blocks are orphans now, its unclaimed tasks
        ended.
        """
        self._record_blocks()
        kernel = self._kernel
        _KEPT.append(self._engine)  # a thread may wait for an answer of the dead interchange
        self._kernel = self._engine = None
        self._forget(kernel)
        self.orphans = Orphans(self.root, self._home, self.queue)

    def _forget(self, kernel: Any) -> None:
        """Stop Parsl's threads; its own clean-up asks the interchange first, and waits for it for
        ever.
        """
        for engine in kernel.executors.values():
            if hasattr(engine, "_result_queue_thread_exit"):
                engine._result_queue_thread_exit.set()
                engine.provider.max_blocks = 0
        kernel.job_status_poller._kill_event.set()
        kernel.cleanup_called = True
        atexit.unregister(kernel.atexit_cleanup)
        with self._lock:
            self._futures.clear()

    def _waits_or_runs(self, job: str) -> bool:
        if not job.startswith(_PREFIX):
            return local.alive(job)
        with self._lock:
            future = self._futures.get(job)
            if future is None:
                return False
            if not future.done():
                return True
            del self._futures[job]
        if (error := future.exception()) is not None:
            self._note(str(error)[:500], folder=job.split("|", 2)[2])
        return False

    def _note(self, text: str, **more: str) -> None:
        append_line(self._home / "log.jsonl", {"time": time.time(), "text": text, **more})

    # --- blocks
    # ----------------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        """Every few seconds: put new blocks on record, see to those of dead drivers."""
        now = time.monotonic()
        if now - self._last_look < _LOOK_EVERY_S:
            return
        self._last_look = now
        self._record_blocks()
        left = self.orphans.look(self._session)
        # At least one block of our own, however many the dead driver had.
        self.health.max_blocks = max(1, self.plan.max_blocks - left)

    def _record_blocks(self) -> None:
        if self._engine is None:
            return
        for job in list(self._engine.blocks_to_job_id.values()):
            if job not in self._recorded:
                self._recorded.add(job)
                record_block(self._home, self._session, job)


def parsl_executor(setup: ExecutorSetup) -> ParslExecutor:
    """The executor of a Slurm or PBS section."""
    return ParslExecutor(
        setup.root, setup.section, task_cores=setup.task_cores, reserve_s=setup.reserve_s
    )
