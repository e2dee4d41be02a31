"""What a visit of MD showed: its frames judged by the potential, the unknown ones, and a few drawn
by chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_from_json
from mlip_autopipec.base.tasks import TaskSpec
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.campaign.payloads import ExplorePayload
from mlip_autopipec.campaign.results import VisitJudged
from mlip_autopipec.config.plan import Condition
from mlip_autopipec.engines.ports import SAMPLES, MdResult
from mlip_autopipec.runtime.layout import SPEC
from mlip_autopipec.science.judgement import ON_POLICY
from mlip_autopipec.tasks.finished import outcome_of

__all__ = ["UNKNOWN", "Frame", "Judge", "Visit", "drawn", "judged", "read_visit"]

#: Why a frame was picked: its predicted error is above the limit.
UNKNOWN = "unknown"
# Predicting the errors of an atom takes milliseconds: this many of a visit's are judged.
MOST_ATOMS = 4000

Judge = Callable[[Sequence[Atoms]], list[FloatArray]]
"""Structures -> the error of a force component on each atom, (n_atoms,) in units of the limit."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decorrelated frame: its atoms, the trajectory it is of, when, and the largest
    extrapolation grade of its atoms.
    """

    atoms: Atoms
    group: str
    step: int
    gamma_max: float | None
    seed: int
    condition: Condition
    potential: str
    file: str

    def candidate(self, picked: str, worst: float | None = None) -> Candidate:
        """The frame for DFT; ``worst``: the largest error in units of the limit."""
        parameters: dict[str, Any] = {
            "condition": self.condition.name,
            "picked": picked,
            "temperature_k": self.condition.temperature_k,
            "pressure_gpa": self.condition.pressure_gpa,
            "step": self.step,
        }
        if worst is not None:
            parameters["error_of_limit"] = round(worst, 4)
        provenance = Provenance(
            strategy="md_frame",
            group=self.group,
            parameters=parameters,
            parent=self.file,
            seed=self.seed,
            potential=self.potential,
        )
        return Candidate(self.atoms, provenance, gamma_max=self.gamma_max)


@dataclass(frozen=True, slots=True)
class Visit:
    """An ended visit, and the frames of its run under its last potential."""

    name: str
    condition: Condition
    result: MdResult
    frames: tuple[Frame, ...]


def read_visit(spec: TaskSpec, task_id: str) -> Visit:
    """The ended MD task ``task_id``."""
    folder = spec.input_folder(task_id)
    asked = ExplorePayload.from_json(read_json(folder / SPEC)["payload"])
    result = MdResult.from_json(outcome_of(folder).result or {})
    lines = _lines(folder / SAMPLES)
    own = [line for line in lines if line["potential"] == result.potential]
    frames = tuple(
        Frame(
            atoms=atoms_from_json(line["atoms"]),
            group=str(line["group"]),
            step=int(line["step"]),
            gamma_max=line.get("gamma_max"),
            seed=asked.seed,
            condition=asked.condition,
            potential=result.potential,
            file=f"{folder.relative_to(spec.root)}/{SAMPLES}",
        )
        for line in own[len(own) - result.samples :]
    )
    return Visit(task_id, asked.condition, result, frames)


def _lines(file: Path) -> list[dict[str, Any]]:
    """A last line that is not whole was cut by a kill."""
    if not file.is_file():
        return []
    found = []
    for text in file.read_text().splitlines():
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return found


def judged(
    visit: Visit, judge: Judge, limit_ev_per_a: float, name: str, allowed: float = 1.0
) -> tuple[VisitJudged, list[tuple[Frame, FloatArray]]]:
    """The visit by the potential ``name``, and its unknown frames with their errors in units of the
    target.

    ``allowed``: from that many limits on an atom is unknown. Of a large cell a part of the frames
    is judged, evenly over the run.
    """
    frames = _part(visit.frames)
    errors = judge([frame.atoms for frame in frames])
    worst = np.array([float(values.max()) for values in errors])
    unknown = [
        (frame, values)
        for frame, values, top in zip(frames, errors, worst, strict=True)
        if not top <= allowed
    ]
    everyone = np.concatenate(errors) if errors else np.zeros(0)
    told = VisitJudged(
        visit=visit.name,
        condition=visit.condition.name,
        potential=name,
        complete=visit.result.clean and visit.result.potential == name,
        frames=len(frames),
        unknown=len(unknown),
        force_error_ev_per_a=_rounded(np.sqrt(np.mean(everyone**2)) * limit_ev_per_a),
        worst_ev_per_a=_rounded(worst.max() * limit_ev_per_a) if len(worst) else None,
    )
    return told, unknown


def _rounded(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None


def _part(frames: Sequence[Frame]) -> list[Frame]:
    if not frames:
        return []
    most = max(1, MOST_ATOMS // len(frames[0].atoms))
    if len(frames) <= most:
        return list(frames)
    return [frames[round(i)] for i in np.linspace(0, len(frames) - 1, most)]


def drawn(visits: Sequence[Visit], count: int, rng: np.random.Generator) -> list[Candidate]:
    """``count`` frames of these visits by chance, whatever a potential says of them."""
    frames = [frame for visit in visits for frame in visit.frames]
    picked = rng.permutation(len(frames))[:count]
    return [frames[i].candidate(ON_POLICY) for i in sorted(picked)]
