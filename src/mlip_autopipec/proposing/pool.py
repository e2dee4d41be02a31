"""Work with a surrogate on many cores: one long-lived process per core, each with its own copy of
the model.

On one core everything happens in this process. Results do not depend on the number of processes:
each piece of work gets a calculator that has forgotten the one before it. A process that dies
(memory) costs no more than time, unless the same piece of work kills a second one.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

import psutil
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.errors import MlipError
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.remote.process import ONE_THREAD
from mlip_autopipec.proposing import strategies
from mlip_autopipec.proposing.pool_process import Make, begin, do, fresh, nothing

__all__ = ["SurrogatePool", "opened"]

R = TypeVar("R")
#: Told (what is being done, finished share of it from 0 to 1).
Told = Callable[[str, float], None]
#: Stands in for the result of a piece of work that cannot be done; told why.
Lost = Callable[[str], R]
_ReportOf = Callable[[int], Callable[[float], None]]
# A pretrained model with its libraries: no more processes are started than memory holds.
MEMORY_PER_PROCESS_GB = 1.6
POLL_S = 0.5
KILLED = (
    "a process of the surrogate was killed, probably for its memory; use fewer cores: --cores N"
)
KILLED_TWICE = "its evaluation ended the process twice, probably for its memory"


class SurrogatePool:
    """Runs functions ``work(*arguments, calculator, report)`` side by side; a context, see also
    :func:`opened`.

    ``report(fraction)`` may be called by long work. The calculator is what ``make`` gives. What
    ``work`` or ``make`` raises in a process is raised here.
    """

    def __init__(self, make: Make, processes: int, told: Told) -> None:
        # Two processes that each start a thread per core slow each other down tenfold.
        os.environ.update(ONE_THREAD)
        self.make, self.processes, self.told = make, processes, told
        self._run = 0
        self._others = set(multiprocessing.active_children())
        self._calculator = make() if processes == 1 else None
        self._pool: ProcessPoolExecutor | None = None
        if processes > 1:
            self._start()

    def __enter__(self) -> SurrogatePool:
        return self

    def __exit__(
        self,
        error: type[BaseException] | None,
        value: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self.close(at_once=error is not None)  # an error or Ctrl-C: nobody waits for the rest

    def evaluate(
        self,
        what: str,
        work: Callable[[Atoms, Calculator], R],
        structures: Sequence[Atoms],
        lost: Lost[R] | None = None,
    ) -> list[R]:
        """:class:`~mlip_autopipec.science.generation.start_relaxation.Evaluate`, largest structures
        first.

        ``lost``: the result of a structure whose evaluation killed two processes (None: it raises
        MlipError).
        """
        order = sorted(range(len(structures)), key=lambda index: -len(structures[index]))
        done = self.run(
            what, _Evaluated(work), [(structures[index],) for index in order], lost=lost
        )
        found = dict(zip(order, done, strict=True))
        return [found[index] for index in range(len(structures))]

    def run(
        self,
        what: str,
        work: Callable[..., R],
        arguments: Sequence[tuple[Any, ...]],
        weights: Sequence[float] = (),
        lost: Lost[R] | None = None,
    ) -> list[R]:
        """Results in the order of the arguments; ``weights``: how much work each is, for the
        progress that is told.

        ``lost``: as for :meth:`evaluate`. Raises MlipError where processes are killed again and
        again.
        """
        shares = list(weights) or [1.0] * len(arguments)
        total = sum(shares) or 1.0
        finished = [0.0] * len(arguments)

        def tell() -> None:
            self.told(
                what,
                sum(share * part for share, part in zip(shares, finished, strict=True)) / total,
            )

        def report_of(index: int) -> Callable[[float], None]:
            def report(fraction: float) -> None:
                finished[index] = min(1.0, fraction)
                tell()

            return report

        tell()
        self._run += 1
        if self._pool is not None:
            return self._on_processes(work, arguments, report_of, lost)
        results = []
        for index, values in enumerate(arguments):
            results.append(work(*values, fresh(self._calculator), report_of(index)))
            report_of(index)(1.0)
        return results

    def _on_processes(
        self,
        work: Callable[..., R],
        arguments: Sequence[tuple[Any, ...]],
        report_of: _ReportOf,
        lost: Lost[R] | None,
    ) -> list[R]:
        results: dict[int, R] = {}
        ahead = deque(range(len(arguments)))

        def attempt(pieces: deque[int]) -> list[int]:
            return self._attempt(work, arguments, pieces, report_of, results)

        while ahead:
            doubtful = attempt(ahead)
            if doubtful:
                self._start_again()
            for index in doubtful:
                # Nobody tells which piece it was that killed the process. With one at a time it is
                # known.
                if attempt(deque([index])):
                    if lost is None:
                        raise MlipError(KILLED)
                    results[index] = lost(KILLED_TWICE)
                    report_of(index)(1.0)
                    self._start_again()
        return [results[index] for index in range(len(arguments))]

    def _attempt(
        self,
        work: Callable[..., R],
        arguments: Sequence[tuple[Any, ...]],
        ahead: deque[int],
        report_of: _ReportOf,
        results: dict[int, R],
    ) -> list[int]:
        """Work off ``ahead``. When a process dies: the pieces without result that may have been
        begun.
        """
        at_work: dict[Future[R], int] = {}
        doubtful: list[int] = []
        while at_work or (ahead and not doubtful):
            while (
                ahead and not doubtful and len(at_work) <= self.processes
            ):  # one lies ready for who is first
                index = ahead.popleft()
                try:
                    at_work[self._submit(work, (self._run, index), arguments[index])] = index
                except BrokenProcessPool:
                    doubtful.append(index)
            done, _ = wait(at_work, timeout=POLL_S, return_when=FIRST_COMPLETED)
            for index, fraction in self._news():
                report_of(index)(fraction)
            for future in done:
                index = at_work.pop(future)
                try:
                    results[index] = future.result()
                except BrokenProcessPool:
                    doubtful.append(index)
                else:
                    report_of(index)(1.0)
        return sorted(doubtful)

    def _submit(
        self, work: Callable[..., R], name: tuple[int, int], values: tuple[Any, ...]
    ) -> Future[R]:
        assert self._pool is not None
        return self._pool.submit(do, work, name, values)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        # A new queue for new processes: one that was killed while it wrote holds the old one's lock
        # for ever.
        self._reports: Any = context.Queue()
        self._pool = ProcessPoolExecutor(self.processes, context, begin, (self.make, self._reports))

    def _start_again(self) -> None:
        """Raises MlipError when a process dies before it has any work: then no structure is to
        blame.
        """
        # Not left to the executor: a process that was being started while another died is not on
        # its list to be ended, but on the one to be waited for, and waits itself for a lock that
        # the dead one held.
        self.close(at_once=True)
        self._start()
        try:
            self._submit(nothing, (0, 0), ()).result()
        except BrokenProcessPool:
            raise MlipError(KILLED) from None

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
    """A pool for the plan's surrogate on at most ``cores`` cores, as many as the memory holds.
    Closed at the end.

    The calculator is None where the surrogate lacks an element. ``beside``: how many other pools
    may be at work on this machine and need as much memory.
    """
    here = len(os.sched_getaffinity(0))
    fitting = int(psutil.virtual_memory().available / 1e9 / MEMORY_PER_PROCESS_GB / (1 + beside))
    make = functools.partial(strategies.calculator, plan)
    with SurrogatePool(make, max(1, min(cores, here, fitting)), told) as pool:
        yield pool


class _Evaluated:
    """``work(atoms, calculator)`` as the pool calls it (can be pickled)."""

    def __init__(self, work: Callable[[Atoms, Calculator], Any]) -> None:
        self.work = work

    def __call__(
        self, atoms: Atoms, calculator: Calculator, report: Callable[[float], None]
    ) -> Any:
        return self.work(atoms, calculator)
