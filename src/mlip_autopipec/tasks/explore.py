"""Explore: molecular dynamics with the current potential at one condition, as a long task.

``needs[0]`` is a generate task, whose ``start.json`` gives the crystal. The result is that of the
MD engine; candidates are streamed into the attempt folder while it runs.
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
from mlip_autopipec.science.lattices import md_cell

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Start cell, job, engine. A snapshot of a dead attempt is taken over."""
    asked = ExplorePayload.from_json(spec.payload)
    condition = asked.condition
    job = MdJob(
        start=_start_cell(spec, plan.exploration.md_atoms),
        elements=plan.material.elements,
        ensemble=condition.ensemble,
        temperature_k=condition.temperature_k,
        pressure_gpa=condition.pressure_gpa,
        timestep_fs=plan.exploration.timestep_fs,
        clean_ps=plan.exploration.clean_ps,
        max_ps=plan.exploration.max_ps,
        gamma_select=plan.exploration.gamma_select,
        gamma_break=plan.exploration.gamma_break,
        gamma_every=plan.exploration.gamma_every,
        max_candidates_per_potential=plan.exploration.max_candidates_per_potential,
        wait_s=plan.exploration.wait_s,
        seed=asked.seed,
        pointer=layout.pointer_file(Path(spec.root)),
    )
    _take_over(spec, folder)
    result = registry.md_engine(plan.exploration.engine).run(job, folder)
    if isinstance(result, Failure):
        return Outcome(None, failure=result)
    return Outcome(result.to_json())


def _start_cell(spec: TaskSpec, md_atoms: int) -> Atoms:
    path = spec.input_folder(spec.task.needs[0]) / "start.json"
    starts = read_json(path)
    if not starts:
        raise CampaignStateError(f"{path} holds no start structure")
    return md_cell(Candidate.from_json(starts[0]).atoms, md_atoms)


def _take_over(spec: TaskSpec, folder: Path) -> None:
    if spec.salvage is None or (folder / SNAPSHOT).exists():
        return
    earlier = Path(spec.root) / spec.salvage / SNAPSHOT
    if earlier.exists():
        shutil.copy2(earlier, folder / SNAPSHOT)
