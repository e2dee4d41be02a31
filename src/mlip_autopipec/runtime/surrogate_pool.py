"""Work with a surrogate on many cores: one long-lived process per core, each with its own copy of the model.

On one core everything happens in this process. Results do not depend on the number of processes: each piece of work
gets a calculator that has forgotten the one before it.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import psutil
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.config.plan import Plan
from mlip_autopipec.errors import MlipError
from mlip_autopipec.runtime import proposing
from mlip_autopipec.runtime.process import die_with_parent

__all__ = ["SurrogatePool", "opened"]

R = TypeVar("R")
#: Told (what is being done, finished share of it from 0 to 1).
Told = Callable[[str, float], None]
MEMORY_PER_PROCESS_GB = 1.6
POLL_S = 0.5


class SurrogatePool:
    """Runs functions ``work(*arguments, calculator, report)`` side by side; see :func:`opened`.

    ``report(fraction)`` may be called by long work. The calculator is None where the surrogate lacks an element.
    """

    def __init__(self, plan: Plan, processes: int, told: Told) -> None:
        self.processes, self.told = processes, told
        self._calculator = proposing.calculator(plan) if processes == 1 else None
        self._pool: ProcessPoolExecutor | None = None
        self._run = 0
        self._others = set(multiprocessing.active_children())
        if processes > 1:
            context = multiprocessing.get_context("spawn")
            self._reports: Any = context.Queue()
            self._pool = ProcessPoolExecutor(processes, context, _begin, (plan, self._reports))

    def evaluate(self, what: str, work: Callable[[Atoms, Calculator], R], structures: Sequence[Atoms]) -> list[R]:
        """:class:`~mlip_autopipec.science.generation.start_relaxation.Evaluate`, largest structures first."""
        order = sorted(range(len(structures)), key=lambda index: -len(structures[index]))
        done = self.run(what, _Evaluated(work), [(structures[index],) for index in order])
        found = dict(zip(order, done, strict=True))
        return [found[index] for index in range(len(structures))]

    def run(
        self, what: str, work: Callable[..., R], arguments: Sequence[tuple[Any, ...]], weights: Sequence[float] = ()
    ) -> list[R]:
        """Results in the order of the arguments; ``weights``: how much work each is, for the progress that is told."""
        shares = list(weights) or [1.0] * len(arguments)
        total = sum(shares) or 1.0
        finished = [0.0] * len(arguments)

        def tell() -> None:
            self.told(what, sum(share * part for share, part in zip(shares, finished, strict=True)) / total)

        def report_of(index: int) -> Callable[[float], None]:
            def report(fraction: float) -> None:
                finished[index] = min(1.0, fraction)
                tell()

            return report

        tell()
        self._run += 1
        if self._pool is None:
            results = []
            for index, values in enumerate(arguments):
                results.append(work(*values, _fresh(self._calculator), report_of(index)))
                report_of(index)(1.0)
            return results
        futures: dict[Future[R], int] = {
            self._pool.submit(_do, work, (self._run, index), values): index for index, values in enumerate(arguments)
        }
        try:
            self._follow(futures, report_of)
            return [future.result() for future in futures]
        except BrokenProcessPool:
            raise MlipError(
                "a process of the surrogate was killed, probably for its memory; use fewer cores: --cores N"
            ) from None

    def _follow(self, futures: dict[Future[R], int], report_of: Callable[[int], Callable[[float], None]]) -> None:
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
            for index, fraction in self._news():
                report_of(index)(fraction)
            for future in done:
                report_of(futures[future])(1.0)
                if future.exception() is not None:
                    return

    def _news(self) -> Iterator[tuple[int, float]]:
        while True:
            try:
                (run, index), fraction = self._reports.get_nowait()
            except queue.Empty:
                return
            if run == self._run:  # a report may come after the result it was about
                yield index, fraction

    def close(self, *, at_once: bool = False) -> None:
        """End the processes; ``at_once``: without waiting for what they are doing."""
        if self._pool is None:
            return
        if at_once:
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def opened(plan: Plan, cores: int, told: Told, *, beside: int = 0) -> Iterator[SurrogatePool]:
    """A pool for the plan's surrogate on at most ``cores`` cores, as many as the memory holds. Closed at the end.

    ``beside``: how many other pools may be at work on this machine and need as much memory.
    """
    # Two processes that each start a thread per core slow each other down tenfold.
    os.environ["OMP_NUM_THREADS"] = "1"
    here = len(os.sched_getaffinity(0))
    fitting = int(psutil.virtual_memory().available / 1e9 / MEMORY_PER_PROCESS_GB / (1 + beside))
    pool = SurrogatePool(plan, max(1, min(cores, here, fitting)), told)
    try:
        yield pool
    except BaseException:  # an error or Ctrl-C: nobody waits for the rest
        pool.close(at_once=True)
        raise
    pool.close()


class _Evaluated:
    """``work(atoms, calculator)`` as the pool calls it (can be pickled)."""

    def __init__(self, work: Callable[[Atoms, Calculator], Any]) -> None:
        self.work = work

    def __call__(self, atoms: Atoms, calculator: Calculator, report: Callable[[float], None]) -> Any:
        return self.work(atoms, calculator)


def _fresh(calculator: Calculator | None) -> Calculator | None:
    """The calculator without its last structure: a neighbour list kept from it shows in the last digits."""
    if calculator is not None:
        calculator.reset()
    return calculator


# In a worker process.
_model: Calculator | None = None
_reports: Any = None
REPORT_EVERY_S = 1.0


def _begin(plan: Plan, reports: Any) -> None:
    global _model, _reports
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # models greet on standard output, which is for the result
    _model, _reports = proposing.calculator(plan), reports


def _do(work: Callable[..., R], name: tuple[int, int], values: tuple[Any, ...]) -> R:
    last = time.monotonic()

    def report(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_EVERY_S:
            last = time.monotonic()
            _reports.put((name, fraction))

    return work(*values, _fresh(_model), report)
