"""The screen on many cores: one long-lived process per core, each with its own copy of the surrogate.

A structure's numbers do not depend on which process evaluates it or after what, so that the number of workers changes
nothing but the time. A process that dies (memory) is replaced; the structure it had is tried once more, then rejected.
"""

from __future__ import annotations

import json
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from ase import Atoms

from mlip_autopipec.engines import registry
from mlip_autopipec.engines.remote_calculator import geometry_request
from mlip_autopipec.engines.worker_process import WorkerEndedError, WorkerProcess
from mlip_autopipec.science.screening import Evaluation, Limits, Screened, by_own_limit, judge, screen
from mlip_autopipec.types import Candidate

__all__ = ["Progress", "evaluate_stream", "screen_on_cores", "useful_workers"]

#: Called with (done, total, seconds left or None).
Progress = Callable[[int, int, float | None], None]
# Loading a model costs as much as this many structures of 16 atoms.
STRUCTURES_PER_WORKER = 100
# How far ahead of the oldest unfinished structure the others may run, per worker.
LOOKAHEAD = 8


def useful_workers(count: int, cores: int) -> int:
    """Processes that pay for their start with ``count`` structures; at most one per core, at least one."""
    return max(1, min(cores, count // STRUCTURES_PER_WORKER))


def screen_on_cores(
    candidates: Sequence[Candidate],
    engine: str,
    limits: Limits,
    lowest_ev_per_atom: dict[str, float] | None = None,
    *,
    workers: int,
    model: str | None = None,
    progress: Progress | None = None,
) -> Screened:
    """:func:`science.screening.screen` with ``workers`` processes; the verdicts are the same for any number of them.

    Raises MissingProgramError when the surrogate is not installed, InputError for an element that it lacks.
    """
    surrogate = registry.surrogate(engine, model)
    surrogate.require()
    symbols = sorted({symbol for candidate in candidates for symbol in candidate.atoms.symbols})
    if not surrogate.supports(symbols):
        return screen(candidates, None, limits, lowest_ev_per_atom)
    own = [by_own_limit(candidate, limits) for candidate in candidates]
    rest = [candidate.atoms for candidate, known in zip(candidates, own, strict=True) if known is None]
    streamed = evaluate_stream(rest, engine, limits, workers=workers, model=model, progress=progress)
    found = (evaluation for _, evaluation in streamed)
    evaluations = [known if known is not None else next(found) for known in own]
    return judge(candidates, evaluations, limits, lowest_ev_per_atom)


def evaluate_stream(
    structures: Iterable[Atoms],
    engine: str,
    limits: Limits,
    *,
    workers: int,
    model: str | None = None,
    total: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Evaluation]]:
    """(index, :class:`Evaluation`) of each structure, in their order, as they come.

    ``structures`` may be a generator of any length: no more than a few per worker are held. ``total`` (default: its
    length where it has one) serves ``progress`` alone. Raises WorkerEndedError for a surrogate that cannot be loaded
    or meets an exception other than CalculationFailed: a bug is not a reason to reject.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if total is None and isinstance(structures, Sequence):
        total = len(structures)
    settings = json.dumps({"engine": engine, "model": model, "limits": asdict(limits)})
    command = [sys.executable, "-m", "mlip_autopipec.runtime.screening_worker", settings]
    pool = _Pool(command, enumerate(structures), workers if total is None else max(1, min(workers, total)))
    clock = _Clock(total, progress)
    try:
        for index, evaluation in pool.run():
            clock.tick()
            yield index, evaluation
    finally:
        pool.close()


@dataclass(slots=True)
class _Job:
    index: int
    atoms: Atoms
    deaths: int = 0


@dataclass(slots=True, eq=False)
class _Slot:
    worker: WorkerProcess
    job: _Job | None = None
    ready: bool = False


@dataclass(slots=True)
class _Pool:
    command: list[str]
    source: Iterator[tuple[int, Atoms]]
    size: int
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    slots: list[_Slot] = field(default_factory=list)
    again: deque[_Job] = field(default_factory=deque)
    finished: dict[int, Evaluation] = field(default_factory=dict)
    handed_out: int = 0  # structures given to workers
    following: int = 0  # index of the next evaluation to be yielded
    exhausted: bool = False

    def run(self) -> Iterator[tuple[int, Evaluation]]:
        for _ in range(self.size):
            self._start()
        while True:
            self._hand_out()
            while self.following in self.finished:
                yield self.following, self.finished.pop(self.following)
                self.following += 1
                self._hand_out()
            if not any(slot.job for slot in self.slots) and self.exhausted and not self.again:
                return
            for key, _ in self.selector.select():
                self._collect(key.data)

    def close(self) -> None:
        for slot in self.slots:
            slot.worker.close()
        self.selector.close()

    def _start(self) -> None:
        slot = _Slot(WorkerProcess(self.command))
        self.slots.append(slot)
        self.selector.register(slot.worker, selectors.EVENT_READ, slot)

    def _hand_out(self) -> None:
        for slot in list(self.slots):
            if slot.ready and slot.job is None:
                slot.job = self._next_job()
                if slot.job is not None:
                    self._send(slot, slot.job)

    def _next_job(self) -> _Job | None:
        if self.again:
            return self.again.popleft()
        if self.handed_out - self.following >= LOOKAHEAD * self.size:
            return None
        item = next(self.source, None)
        if item is None:
            self.exhausted = True
            return None
        self.handed_out += 1
        return _Job(*item)

    def _send(self, slot: _Slot, job: _Job) -> None:
        try:
            slot.worker.send(geometry_request(job.atoms))
        except WorkerEndedError as death:
            self._bury(slot, death)

    def _collect(self, slot: _Slot) -> None:
        try:
            reply = slot.worker.receive()
        except WorkerEndedError as death:
            self._bury(slot, death)
            return
        if not slot.ready:
            slot.ready = True
        elif slot.job is not None:
            self.finished[slot.job.index] = Evaluation(**reply)
            slot.job = None

    def _bury(self, slot: _Slot, death: WorkerEndedError) -> None:
        """Replace a killed worker; whatever told us an exception, or never was ready, is a fault to be shown."""
        if not (slot.ready and slot.worker.killed):
            raise death
        self.selector.unregister(slot.worker)
        self.slots.remove(slot)
        slot.worker.close()
        if slot.job is not None:
            self._try_again(slot.job, death)
        self._start()

    def _try_again(self, job: _Job, death: WorkerEndedError) -> None:
        job.deaths += 1
        if job.deaths < 2:
            self.again.append(job)
        else:
            reason = f"its evaluation ended the process twice ({str(death).splitlines()[0]})"
            self.finished[job.index] = Evaluation("surrogate_failed", reason)


class _Clock:
    """Tells ``progress`` after every structure; the time left follows from the pace since the first one came."""

    def __init__(self, total: int | None, progress: Progress | None) -> None:
        self.total, self.progress = total, progress
        self.done, self.first_s = 0, 0.0

    def tick(self) -> None:
        self.done += 1
        now = time.monotonic()
        if self.done == 1:
            self.first_s = now
        if self.progress is None or self.total is None:
            return
        pace = (now - self.first_s) / (self.done - 1) if self.done > 1 else None
        self.progress(self.done, self.total, None if pace is None else pace * (self.total - self.done))
