"""Exploration by molecular dynamics that never stops for training (the MD port).

Runs in short segments. Between segments it looks at the pointer file and swaps the potential in
place. Inside a segment the extrapolation grade is watched: frames above ``gamma_select`` are
streamed out and the run goes on; above ``gamma_break``, or when the motion is unphysical, the
segment ends at once, the run goes back to its last trusted frame and waits for another potential.
It also waits, where it stands, once it has nothing to add with the present one: when it has
streamed as many candidates as are asked for, or has run long enough without becoming clean.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
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
from mlip_autopipec.engines.md.lammps.simulation import (
    Dynamics,
    Frame,
    Simulation,
    UnphysicalMotionError,
    maxwell_velocities,
)
from mlip_autopipec.engines.md.lammps.stream import Pointer, Stream, is_sane, read_pointer
from mlip_autopipec.engines.ports import MdJob, MdResult
from mlip_autopipec.engines.potential_folder import maker_of

__all__ = ["Lammps"]

FloatArray = NDArray[np.float64]

DECORRELATION_FS = 100.0
TRUSTED_EVERY_FS = 100.0
REWIND_FS = 200.0
TRUSTED_KEPT = 8
RECENT_KEPT = 20
MAX_TEMPERATURE_RATIO = 10.0
POLL_S = 0.5
_BREAK = "gamma above the limit"


@dataclass
class _Counters:
    """What a restart has to know. Steps count all motion, also what a rewind threw away."""

    step: int = 0
    clean_from: int = 0
    adopted_at: int = 0
    potential: str = ""
    swaps: int = 0
    breaks: int = 0
    candidates: int = 0
    gamma_max: float = 0.0
    temperature_sum: float = 0.0
    temperature_samples: int = 0


class Lammps:
    """MD engine ``lammps`` (see :class:`mlip_autopipec.engines.ports.MdEngine`)."""

    def require(self, family: str) -> None:
        """Raises InputError for a family of potentials without an evaluator."""
        evaluators.require(family)

    def write_examples(
        self,
        potential: Path,
        start: Atoms,
        out: Path,
        temperature_k: float,
        elements: tuple[str, ...],
        timestep_fs: float,
    ) -> None:
        """``in.lammps`` and ``ase_example.py``; of ACE potentials alone."""
        family = registry.trainer(maker_of(potential)).family
        if family != "ace":
            raise InputError("the example for LAMMPS needs an ACE potential", value=family)
        examples.export(potential, start, out, temperature_k, elements, timestep_fs)

    def run(self, job: MdJob, folder: Path) -> MdResult | Failure:
        """Explore until clean, or tired of waiting for a better potential.

        Raises InputError when no potential is in force or it does not know the elements,
        MissingProgramError when LAMMPS or python-ace is not installed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        return _Exploration(job, folder).run()


class _Exploration:
    def __init__(self, job: MdJob, folder: Path) -> None:
        self.job, self.stream = job, Stream(folder, job)
        self.counters = _Counters()
        self.streamed: Counter[str] = Counter()
        self.trusted: deque[Frame] = deque(maxlen=TRUSTED_KEPT)
        self.pointer = read_pointer(job.pointer)
        self.evaluator = evaluator_of(self.pointer.folder, self.pointer.trainer, job.elements)
        self._found: list[tuple[int, Atoms, FloatArray]] = []
        self._recent: deque[tuple[int, Atoms, FloatArray]] = deque(maxlen=RECENT_KEPT)
        self._last_candidate_step = -(10**9)
        self._gamma_window = 0.0
        self._exceeded = False
        self.simulation = self._simulate(self._first_frame())

    # --- making and stepping
    # -----------------------------------------------------------------------------------

    def _first_frame(self) -> Frame:
        earlier = self.stream.load_snapshot()
        if earlier is None:
            return Frame(0, self.job.start.copy(), self._fresh_velocities(self.job.start))
        frame, counters = earlier
        self.streamed.update(counters.pop("streamed"))
        self.counters = _Counters(**counters)
        self.counters.clean_from = (
            self.counters.step
        )  # the steps since the snapshot are lost: be strict
        if self.counters.potential != self.pointer.name:
            self.counters.adopted_at = self.counters.step
        self.stream.line("resume", step=self.counters.step)
        self.trusted.append(frame)
        return frame

    def _fresh_velocities(self, atoms: Atoms) -> FloatArray:
        rng = np.random.default_rng([self.job.seed, self.counters.breaks])
        return maxwell_velocities(atoms, self.job.temperature_k, rng)

    def _simulate(self, frame: Frame) -> Simulation:
        job = self.job
        dynamics = Dynamics(
            job.ensemble,
            job.temperature_k,
            job.pressure_gpa,
            job.timestep_fs,
            job.seed + 7919 * self.counters.breaks,
        )
        return Simulation(
            frame.atoms,
            frame.velocities,
            job.elements,
            dynamics,
            self.evaluator,
            gamma_every=job.gamma_every,
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
        if worst > self.job.gamma_select:
            self._exceeded = True
            self.counters.clean_from = step
        self._recent.append((step, self.simulation.atoms(), gamma))
        if worst > self.job.gamma_break:
            return _BREAK
        if (hot := self._too_hot()) is not None:
            return hot
        if worst > self.job.gamma_select and self._wants_candidate(step):
            self._last_candidate_step = step
            self.streamed[self.pointer.name] += 1
            self._found.append(self._recent[-1])
        return None

    def _too_hot(self) -> str | None:
        temperature = self.simulation.temperature_k()
        if temperature < MAX_TEMPERATURE_RATIO * self.job.temperature_k:
            return None
        return f"temperature of {temperature:.0f} K"

    def _wants_candidate(self, step: int) -> bool:
        apart = (step - self._last_candidate_step) * self.job.timestep_fs >= DECORRELATION_FS
        return apart and self.streamed[self.pointer.name] < self.job.max_candidates_per_potential

    # --- the loop
    # ----------------------------------------------------------------------------------------------

    def run(self) -> MdResult:
        self._progress("running", now=True)
        try:
            while self._clean_ps() < self.job.clean_ps:
                if self._steps_left() <= 0:
                    if not self._pause():
                        break
                    continue
                reason = self._run_segment(min(self._segment, self._steps_left()))
                if reason is None:
                    self._after_good_segment()
                elif not self._recover(reason):
                    break
        finally:
            self.simulation.close()
        self._progress("running", now=True)
        return self._result()

    def _steps_left(self) -> int:
        """Steps that are still worth making with the potential in force."""
        if self.streamed[self.pointer.name] >= self.job.max_candidates_per_potential:
            return 0
        allowed = round(self.job.max_ps * 1000.0 / self.job.timestep_fs)
        return self.counters.adopted_at + allowed - self.counters.step

    def _pause(self) -> bool:
        """Stand still until another potential is in force, and go on with it; False when none came
        in time.
        """
        self.stream.snapshot(self.simulation.frame(), self._counters_json(), now=True)
        newer = self._wait_for_newer()
        if newer is None:
            return False
        self._adopt(newer)
        self.simulation.swap(self.evaluator)
        return True

    def _run_segment(self, steps: int) -> str | None:
        """Run; the reason of a break, or None. Candidates found on the way are written in any
        case.
        """
        self._exceeded, self._found = False, []
        try:
            self.simulation.run(steps)
            reason = self.simulation.potential.halted
        except UnphysicalMotionError as error:
            reason = str(error)
        self.counters.step = max(self.counters.step, self.simulation.step)
        for step, atoms, gamma in self._found:
            if is_sane(atoms):
                self.stream.candidate(atoms, gamma, step, self.pointer.name)
                self.counters.candidates += 1
        if reason is None:
            if (hot := self._too_hot()) is not None:
                return hot
            if not is_sane(
                self.simulation.atoms()
            ):  # a potential without a repulsive core lets atoms fall together
                return "atoms too close"
            self.counters.temperature_sum += self.simulation.temperature_k()
            self.counters.temperature_samples += 1
        return reason

    def _after_good_segment(self) -> None:
        if not self._exceeded:
            newest = self.trusted[-1].step if self.trusted else None
            if (
                newest is None
                or (self.counters.step - newest) * self.job.timestep_fs >= TRUSTED_EVERY_FS
            ):
                self.trusted.append(self.simulation.frame())
                self.stream.snapshot(self.trusted[-1], self._counters_json())
        self._progress("running")
        pointer = read_pointer(self.job.pointer)
        if pointer.name != self.pointer.name:
            self._adopt(pointer)
            self.simulation.swap(self.evaluator)

    def _adopt(self, pointer: Pointer) -> None:
        """Load a newer potential: it has to earn its clean time itself."""
        self.evaluator = evaluator_of(pointer.folder, pointer.trainer, self.job.elements)
        self.stream.line("swap", old=self.pointer.name, new=pointer.name, step=self.counters.step)
        self.pointer = pointer
        self.counters.swaps += 1
        self.counters.clean_from = self.counters.adopted_at = self.counters.step
        self.counters.gamma_max = self._gamma_window = 0.0
        self._last_candidate_step = -(10**9)

    # --- breaking and coming back
    # ---------------------------------------------------------------------------------

    def _recover(self, reason: str) -> bool:
        """Rewind, wait for another potential, resume. False when none came in time."""
        self.counters.breaks += 1
        self.counters.clean_from = self.counters.step
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
        self.simulation.close()
        resumed = Frame(self.counters.step, frame.atoms, self._fresh_velocities(frame.atoms))
        self.simulation = self._simulate(resumed)
        self.stream.line("resume", step=self.counters.step)
        return True

    def _stream_offending(self) -> None:
        """The frame that broke the run becomes a candidate, or the last one before it with atoms
        well apart.
        """
        written = {step for step, _, _ in self._found}
        for step, atoms, gamma in reversed(self._recent):
            if is_sane(atoms):
                if step not in written:
                    self.streamed[self.pointer.name] += 1
                    self.counters.candidates += 1
                    self.stream.candidate(atoms, gamma, step, self.pointer.name)
                return

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
        return (self.counters.step - self.counters.clean_from) * self.job.timestep_fs / 1000.0

    def _counters_json(self) -> Json:
        return {
            **asdict(self.counters),
            "potential": self.pointer.name,
            "streamed": dict(self.streamed),
        }

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
        samples = counters.temperature_samples
        return MdResult(
            steps=counters.step,
            ps=counters.step * self.job.timestep_fs / 1000.0,
            clean_ps=self._clean_ps(),
            clean=self._clean_ps() >= self.job.clean_ps,
            swaps=counters.swaps,
            breaks=counters.breaks,
            candidates=counters.candidates,
            potential=self.pointer.name,
            gamma_max=counters.gamma_max,
            temperature_mean_k=counters.temperature_sum / samples if samples else None,
        )
