"""Exploration by molecular dynamics that never stops for training (the MD port).

Runs in short segments. Between segments it looks at the pointer file and swaps the potential in
place. Inside a segment frames of the run are kept, and the extrapolation grade is watched: above
``gamma_break``, or when the motion is unphysical, the segment ends at once, the run goes back to a
trusted frame and waits for another potential.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.md.lammps import evaluators, examples
from mlip_autopipec.engines.md.lammps.evaluators import evaluator_of
from mlip_autopipec.engines.md.lammps.melting import Melting
from mlip_autopipec.engines.md.lammps.simulation import (
    Dynamics,
    Frame,
    Simulation,
    UnphysicalMotionError,
    maxwell_velocities,
)
from mlip_autopipec.engines.md.lammps.stream import Pointer, Stream, is_sane, read_pointer
from mlip_autopipec.engines.ports import MdExample, MdJob, MdResult
from mlip_autopipec.engines.potential_folder import maker_of

__all__ = ["Lammps"]

FloatArray = NDArray[np.float64]

TRUSTED_EVERY_FS = 100.0
REWIND_FS = 200.0
TRUSTED_KEPT = 8
RECENT_KEPT = 20
ON_THE_WAY_FS = 100.0
MAX_TEMPERATURE_RATIO = 10.0
POLL_S = 0.5
_BREAK = "gamma above the limit"


@dataclass
class _Counters:
    """What a restart has to know. Steps count all motion, also what a rewind threw away."""

    step: int = 0
    run_from: int = 0
    """Where the count of the potential in force begins: its equilibration, then its run."""
    potential: str = ""
    swaps: int = 0
    breaks: int = 0
    candidates: int = 0
    samples: int = 0
    gamma_max: float = 0.0
    temperature_sum: float = 0.0
    temperature_samples: int = 0

    @classmethod
    def stored(cls, data: Json) -> _Counters:
        """Of a snapshot, whatever version of this program wrote it."""
        return cls(**{item.name: data[item.name] for item in fields(cls) if item.name in data})


class Lammps:
    """MD engine ``lammps`` (see :class:`mlip_autopipec.engines.ports.MdEngine`)."""

    def require(self, family: str) -> None:
        """Raises InputError for a family of potentials without an evaluator."""
        evaluators.require(family)

    def write_examples(self, asked: MdExample) -> None:
        """``in.lammps`` and ``ase_example.py``; of ACE potentials alone."""
        family = registry.trainer(maker_of(asked.potential)).family
        if family != "ace":
            raise InputError("the example for LAMMPS needs an ACE potential", value=family)
        examples.export(asked)

    def run(self, job: MdJob, folder: Path) -> MdResult | Failure:
        """Explore until the run is made, or tired of waiting for a better potential.

        Raises InputError when no potential is in force or it does not know the elements,
        MissingProgramError when LAMMPS or python-ace is not installed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        return _Exploration(job, folder).run()


class _Exploration:
    def __init__(self, job: MdJob, folder: Path) -> None:
        self.job, self.stream = job, Stream(folder, job)
        self.counters = _Counters()
        self.melting = Melting(job)
        self.trusted: deque[Frame] = deque(maxlen=TRUSTED_KEPT)
        self.pointer = read_pointer(job.pointer)
        self.evaluator = evaluator_of(self.pointer.folder, self.pointer.trainer, job.elements)
        self._equilibration, self._run, self._every = (
            round(ps * 1000.0 / job.timestep_fs)
            for ps in (job.equilibration_ps, job.run_ps, job.sample_every_ps)
        )
        self._found: list[tuple[int, Atoms, FloatArray]] = []
        self._recent: deque[tuple[int, Atoms, FloatArray]] = deque(maxlen=RECENT_KEPT)
        self._gamma_window = 0.0
        self._serve_until: float | None = None
        self.simulation = self._simulate(self._first_frame())

    # --- making and stepping
    # -----------------------------------------------------------------------------------

    def _first_frame(self) -> Frame:
        earlier = self.stream.load_snapshot()
        if earlier is None:
            return Frame(0, self.job.start.copy(), self._fresh_velocities(self.job.start))
        frame, counters = earlier
        self.counters = _Counters.stored(counters)
        self._count_from_here()  # the steps since the snapshot are lost: be strict
        self.melting.begin(self.counters.step)
        self.stream.line("resume", step=self.counters.step)
        self.trusted.append(frame)
        return frame

    def _fresh_velocities(self, atoms: Atoms) -> FloatArray:
        rng = np.random.default_rng([self.job.seed, self.counters.breaks])
        return maxwell_velocities(atoms, self.job.temperature_k, rng)

    def _dynamics(self) -> Dynamics:
        return Dynamics(
            self.melting.ensemble,
            self.melting.temperature_k,
            self.job.pressure_gpa,
            self.job.timestep_fs,
            self.job.seed + 7919 * self.counters.breaks,
            self.job.cell_motion,
        )

    def _simulate(self, frame: Frame) -> Simulation:
        return Simulation(
            frame.atoms,
            frame.velocities,
            self.job.elements,
            self._dynamics(),
            self.evaluator,
            gamma_every=self.job.gamma_every,
            on_gamma=self._watch,
            first_step=self.counters.step,
        )

    @property
    def _segment(self) -> int:
        """Steps between two looks at the pointer: about a second of work, whole grading
        intervals.
        """
        every = self.job.gamma_every
        wanted = min(100, max(every, 20_000 // len(self.job.start)))
        return max(every, wanted // every * every)

    def _watch(self, step: int, gamma: FloatArray) -> str | None:
        """Called at every grading, inside the step."""
        worst = float(gamma.max())
        self.counters.gamma_max = max(self.counters.gamma_max, worst)
        self._gamma_window = max(self._gamma_window, worst)
        moment = (step, self.simulation.atoms(), gamma)
        self._recent.append(moment)
        if worst > self.job.gamma_break:
            return _BREAK
        if (hot := self._too_hot()) is not None:
            return hot
        self.melting.watch(step, moment[1])
        if self._made(step) // self._every > self.counters.samples + len(self._found):
            self._found.append(moment)
        return None

    def _too_hot(self) -> str | None:
        temperature = self.simulation.temperature_k()
        limit = MAX_TEMPERATURE_RATIO * max(self.job.temperature_k, self.melting.temperature_k)
        return None if temperature < limit else f"temperature of {temperature:.0f} K"

    # --- the loop
    # ----------------------------------------------------------------------------------------------

    def run(self) -> MdResult:
        self._progress("running", now=True)
        try:
            while not self._finished():
                left = self._equilibration + self._run - (self.counters.step - self._from())
                reason = self._run_segment(min(self._segment, left) if left > 0 else self._segment)
                if reason is None:
                    reason = self._after_good_segment()
                if reason is not None and not self._recover(reason):
                    break
        finally:
            self.simulation.close()
        self._progress("running", now=True)
        return self._result()

    def _from(self) -> int:
        """The step from which the potential in force is counted: not before there is a liquid."""
        return self.counters.run_from if self.melting.liquid else self.counters.step

    def _made(self, step: int) -> int:
        """Steps of the run that were made under the potential in force, up to ``step``."""
        if not self.melting.liquid:
            return 0
        return min(max(0, step - self.counters.run_from - self._equilibration), self._run)

    def _is_made(self) -> bool:
        return self._made(self.counters.step) >= self._run

    def _finished(self) -> bool:
        if not self._is_made():
            return False
        if not self.job.serve or self.counters.swaps > 0:
            return True
        if self._serve_until is None:
            self._serve_until = time.monotonic() + self.job.wait_s
        return time.monotonic() >= self._serve_until

    def _run_segment(self, steps: int) -> str | None:
        """Run; the reason of a break, or None. Frames kept on the way are written in any case."""
        self._found = []
        try:
            self.simulation.run(steps)
            reason = self.simulation.potential.halted
        except UnphysicalMotionError as error:
            reason = str(error)
        self.counters.step = max(self.counters.step, self.simulation.step)
        for step, atoms, gamma in self._found:
            self.counters.samples += 1
            if is_sane(atoms):
                self.stream.sample(atoms, float(gamma.max()), step, self.pointer.name)
        self._found = []
        if reason is None:
            if (hot := self._too_hot()) is not None:
                return hot
            # A potential without a repulsive core lets atoms fall together.
            if not is_sane(self.simulation.atoms()):
                return "atoms too close"
            if self.melting.liquid:
                self.counters.temperature_sum += self.simulation.temperature_k()
                self.counters.temperature_samples += 1
        return reason

    def _after_good_segment(self) -> str | None:
        """Keep a frame to come back to, look for another potential; a reason to break off, or
        None.
        """
        newest = self.trusted[-1].step if self.trusted else None
        every = TRUSTED_EVERY_FS / self.job.timestep_fs
        if newest is None or self.counters.step - newest >= every:
            self.trusted.append(self.simulation.frame())
            self.stream.snapshot(self.trusted[-1], self._counters_json())
        if self.job.melt_k is not None:
            before, solid = self._dynamics(), not self.melting.liquid
            reason = self.melting.advance(self.counters.step, self.simulation.atoms())
            if reason is not None:
                return reason
            if self._dynamics() != before:
                self.simulation.drive(self._dynamics())
            if solid and self.melting.liquid:
                self._count_from_here()
        self._progress("running")
        pointer = read_pointer(self.job.pointer)
        if pointer.name != self.pointer.name:
            self._adopt(pointer)
            self.simulation.swap(self.evaluator)
        return None

    def _adopt(self, pointer: Pointer) -> None:
        """Load a newer potential: it has to make the run itself."""
        self.evaluator = evaluator_of(pointer.folder, pointer.trainer, self.job.elements)
        self.stream.line("swap", old=self.pointer.name, new=pointer.name, step=self.counters.step)
        self.pointer = pointer
        self.counters.swaps += 1
        self.counters.gamma_max = self._gamma_window = 0.0
        self._count_from_here()
        self.melting.doubt(self.counters.step)

    def _count_from_here(self) -> None:
        self.counters.run_from, self.counters.samples = self.counters.step, 0

    # --- breaking and coming back
    # ---------------------------------------------------------------------------------

    def _recover(self, reason: str) -> bool:
        """Rewind, wait for another potential, resume. False when none came in time."""
        self.counters.breaks += 1
        self._count_from_here()
        self._stream_offending()
        gamma = float(self._recent[-1][2].max()) if self._recent else 0.0
        self.stream.line(
            "break",
            gamma=gamma,
            step=self.counters.step,
            potential=self.pointer.name,
            reason=reason,
        )
        frame = self._rewind()
        self.stream.snapshot(frame, self._counters_json(), now=True)
        newer = self._wait_for_newer()
        if newer is None:
            return False
        self._adopt(newer)
        self._recent.clear()
        self.melting.begin(self.counters.step)
        self.simulation.close()
        resumed = Frame(self.counters.step, frame.atoms, self._fresh_velocities(frame.atoms))
        self.simulation = self._simulate(resumed)
        self.stream.line("resume", step=self.counters.step)
        return True

    def _stream_offending(self) -> None:
        """What broke the run becomes a candidate, or the last frame before it with atoms well
        apart; and one on the way there, which teaches more than what has gone too far.
        """
        sane = [item for item in self._recent if is_sane(item[1])]
        apart = ON_THE_WAY_FS / self.job.timestep_fs
        earlier = [item for item in sane if sane[-1][0] - item[0] >= apart]
        for step, atoms, gamma in [*earlier[-1:], *sane[-1:]]:
            self.counters.candidates += 1
            self.stream.candidate(atoms, gamma, step, self.pointer.name)

    def _rewind(self) -> Frame:
        """The newest trusted frame some 100 fs before the break, else the start.

        The frame is given up, so that a second break goes further back.
        """
        while self.trusted:
            frame = self.trusted.pop()
            if (self.counters.step - frame.step) * self.job.timestep_fs >= REWIND_FS:
                return frame
        return Frame(0, self.job.start.copy(), np.zeros((len(self.job.start), 3)))

    def _wait_for_newer(self) -> Pointer | None:
        self._progress("waiting", now=True)
        until = time.monotonic() + self.job.wait_s
        while True:
            pointer = read_pointer(self.job.pointer)
            if pointer.name != self.pointer.name:
                return pointer
            if time.monotonic() >= until:
                return None
            time.sleep(POLL_S)
            self._progress("waiting")

    # --- numbers
    # ----------------------------------------------------------------------------------------------

    def _clean_ps(self) -> float:
        return self._made(self.counters.step) * self.job.timestep_fs / 1000.0

    def _counters_json(self) -> Json:
        return {**asdict(self.counters), "potential": self.pointer.name}

    def _progress(self, state: str, *, now: bool = False) -> None:
        """A progress line; its ``gamma_max`` is the largest since the line before."""
        values = {
            "step": self.counters.step,
            "ps": self.counters.step * self.job.timestep_fs / 1000.0,
            "clean_ps": self._clean_ps(),
            "gamma_max": self._gamma_window,
            "state": state,
            "potential": self.pointer.name,
        }
        if self.stream.progress(values, now=now):
            self._gamma_window = 0.0

    def _result(self) -> MdResult:
        counters = self.counters
        measured = counters.temperature_samples
        return MdResult(
            steps=counters.step,
            ps=counters.step * self.job.timestep_fs / 1000.0,
            clean_ps=self._clean_ps(),
            clean=self._is_made(),
            swaps=counters.swaps,
            breaks=counters.breaks,
            candidates=counters.candidates,
            samples=counters.samples,
            potential=self.pointer.name,
            gamma_max=counters.gamma_max,
            temperature_mean_k=counters.temperature_sum / measured if measured else None,
        )
