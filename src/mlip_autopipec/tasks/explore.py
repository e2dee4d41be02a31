"""Explore: molecular dynamics with the current potential at one condition, as a long task.

``needs[0]`` is a generate task, whose ``start.json`` gives the crystals. The result is that of the
MD engine; frames are written into the attempt folder while it runs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ase import Atoms

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.campaign.payloads import ExplorePayload
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import SNAPSHOT, MdJob
from mlip_autopipec.runtime import layout
from mlip_autopipec.science.exploring_cells import cell_motion, exploring_cell

__all__ = ["run"]

# Times the temperature of a liquid, to melt the crystal at its own volume; more where it resists.
MELTING_FACTOR = 2.0
# Of a run in a large cell: it has as many environments in that time as a small one in many runs.
CHECK_SHARE = 0.3
# A fit that has brought no potential by then has failed: MD that serves holds a core.
LONGEST_SERVICE_S = 600.0


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Start cell, job, engine. A snapshot of a dead attempt is taken over."""
    asked = ExplorePayload.from_json(spec.payload)
    condition, settings = asked.condition, plan.exploration
    starts = _starts(spec)
    pointer = layout.pointer_file(Path(spec.root))
    # A quick fit may have ended before MD has begun: then nothing is left to wait for.
    serve = asked.serve is not None and read_json(pointer)["name"] == asked.serve
    start = exploring_cell(
        starts,
        condition.start,
        settings.md_atoms,
        atoms=condition.atoms,
        strain=condition.strain,
        volume_ratio=asked.volume_ratio or 1.0,
        visit=asked.visit,
        seed=asked.seed,
    )
    job = MdJob(
        start=start,
        elements=plan.material.elements,
        ensemble=condition.ensemble,
        temperature_k=condition.temperature_k,
        pressure_gpa=condition.pressure_gpa,
        timestep_fs=settings.timestep_fs,
        run_ps=settings.run_ps * (CHECK_SHARE if condition.role == "check" else 1.0),
        equilibration_ps=settings.equilibration_ps,
        sample_every_ps=settings.sample_every_ps,
        gamma_break=settings.gamma_break,
        gamma_every=settings.gamma_every,
        wait_s=min(settings.wait_s, LONGEST_SERVICE_S) if serve else settings.wait_s,
        seed=asked.seed,
        pointer=pointer,
        serve=serve,
        cell_motion=cell_motion(starts[0], start, condition.start),
        melt_k=MELTING_FACTOR * condition.temperature_k if condition.start == "melt" else None,
    )
    _take_over(spec, folder)
    result = registry.md_engine(settings.engine).run(job, folder)
    if isinstance(result, Failure):
        return Outcome(None, failure=result)
    return Outcome(result.to_json())


def _starts(spec: TaskSpec) -> list[Atoms]:
    path = spec.input_folder(spec.task.needs[0]) / "start.json"
    starts = [Candidate.from_json(item).atoms for item in read_json(path)]
    if not starts:
        raise CampaignStateError(f"{path} holds no start structure")
    return starts


def _take_over(spec: TaskSpec, folder: Path) -> None:
    if spec.salvage is None or (folder / SNAPSHOT).exists():
        return
    earlier = Path(spec.root) / spec.salvage / SNAPSHOT
    if earlier.exists():
        shutil.copy2(earlier, folder / SNAPSHOT)
