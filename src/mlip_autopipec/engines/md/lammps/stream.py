"""What a run writes while it goes on: happenings, frames and the snapshot to continue from.

Files in the run's folder: ``stream.jsonl`` (one happening a line) and ``samples.jsonl`` (one
frame a line), see :class:`mlip_autopipec.engines.ports.MdEngine`; ``md-<step>.json`` (a Candidate
plus ``"gamma"``: the extrapolation grade of each atom) and ``snapshot.json``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import append_line, read_json, write_json
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_from_json, atoms_to_json
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.engines.md.lammps.simulation import Frame
from mlip_autopipec.engines.ports import SAMPLES, SNAPSHOT, MdJob
from mlip_autopipec.engines.potential_folder import maker_of
from mlip_autopipec.science import contacts

__all__ = ["Pointer", "Stream", "is_sane", "job_identity", "read_pointer"]

FloatArray = NDArray[np.float64]

PROGRESS_EVERY_S = 2.0
SNAPSHOT_EVERY_S = 3.0


@dataclass(frozen=True, slots=True)
class Pointer:
    """The potential in force: its name, its folder (absolute) and the trainer that made it."""

    name: str
    folder: Path
    trainer: str


def read_pointer(path: Path) -> Pointer:
    """Read the pointer file. Raises InputError when there is no potential yet."""
    if not path.exists():
        raise InputError(
            "no potential is in force",
            file=path,
            hint="molecular dynamics needs a trained potential",
        )
    data = read_json(path)
    folder = Path(data["folder"])
    return Pointer(str(data["name"]), folder, data.get("trainer") or maker_of(folder))


def is_sane(atoms: Atoms) -> bool:
    """Finite, and no pair closer than what is streamed."""
    if (
        not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all())
        or atoms.cell.volume <= 0
    ):
        return False
    return contacts.too_close(atoms, contacts.STREAM_LIMIT) is None


def job_identity(job: MdJob) -> str:
    """A hash of what makes two jobs the same trajectory, so that a foreign snapshot is not
    continued.
    """
    start = job.start.copy()
    start.wrap()
    conditions = [job.ensemble, job.temperature_k, job.pressure_gpa, job.timestep_fs, job.seed]
    if job.cell_motion != "iso" or job.melt_k is not None:
        conditions += [job.cell_motion, job.melt_k]
    return content_hash([atoms_to_json(start), *conditions])


class Stream:
    """Writes into ``folder``.

    Progress and snapshots are thinned by wall time, the rest is written at once.
    """

    def __init__(self, folder: Path, job: MdJob) -> None:
        self.folder, self._job = folder, job
        self._identity = job_identity(job)
        # Frames of one trajectory are no independent test of each other.
        self._group = f"md-{self._identity}"
        self._progress_at = self._snapshot_at = float("-inf")

    def line(self, kind: str, **values: Any) -> None:
        append_line(self.folder / "stream.jsonl", {"type": kind, **values})

    def progress(self, values: Json, *, now: bool = False) -> bool:
        """A progress line, at most every two seconds unless ``now``; whether it was written."""
        clock = time.monotonic()
        if not now and clock - self._progress_at < PROGRESS_EVERY_S:
            return False
        self._progress_at = clock
        self.line("progress", **values)
        return True

    def candidate(self, atoms: Atoms, gamma: FloatArray, step: int, potential: str) -> None:
        """Write the frame with its grades and announce it."""
        job = self._job
        value = Candidate(
            atoms=atoms,
            provenance=Provenance(
                strategy="md_frame",
                group=self._group,
                parameters={
                    "ensemble": job.ensemble,
                    "temperature_k": job.temperature_k,
                    "pressure_gpa": job.pressure_gpa,
                    "step": step,
                },
                seed=job.seed,
                potential=potential,
            ),
            gamma_max=float(gamma.max()),
        )
        name = f"md-{step:08d}.json"
        write_json(self.folder / name, {**value.to_json(), "gamma": np.round(gamma, 6).tolist()})
        self.line("candidate", file=name, gamma=float(gamma.max()), step=step, potential=potential)

    def sample(self, atoms: Atoms, gamma_max: float, step: int, potential: str) -> None:
        """Keep a frame of the run."""
        line = {
            "atoms": atoms_to_json(atoms),
            "step": step,
            "ps": step * self._job.timestep_fs / 1000.0,
            "potential": potential,
            "gamma_max": gamma_max,
            "group": self._group,
        }
        append_line(self.folder / SAMPLES, line)

    def snapshot(self, frame: Frame, counters: Json, *, now: bool = False) -> None:
        """Keep a trusted frame and the counters durably, at most every three seconds unless
        ``now``.
        """
        clock = time.monotonic()
        if now or clock - self._snapshot_at >= SNAPSHOT_EVERY_S:
            self._snapshot_at = clock
            value = {
                "job": self._identity,
                "atoms": atoms_to_json(frame.atoms),
                "velocities_a_per_ps": frame.velocities.tolist(),
                "step": frame.step,
                "counters": counters,
            }
            write_json(self.folder / SNAPSHOT, value)

    def load_snapshot(self) -> tuple[Frame, Json] | None:
        """The frame and counters of an earlier run of the same job in this folder, or None."""
        path = self.folder / SNAPSHOT
        if not path.exists():
            return None
        data = read_json(path)
        if data.get("job") != self._identity:
            return None
        velocities = np.array(data["velocities_a_per_ps"], dtype=float).reshape(-1, 3)
        return Frame(int(data["step"]), atoms_from_json(data["atoms"]), velocities), dict(
            data["counters"]
        )
