"""The DFT calculations that a potential is validated against, never fitted.

A crystal: its equation of state, all at once. A molecule: first where the surrogate has it at rest;
the forces found there lead to the minimum of DFT, around which it is then displaced along a few of
its vibrations.
"""

from __future__ import annotations

import numpy as np

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_from_json
from mlip_autopipec.base.tasks import Task
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.first_set import generated
from mlip_autopipec.campaign.labels import label_task
from mlip_autopipec.campaign.schedule import PRIORITY_LABEL, PRIORITY_VALIDATION_LABEL
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.dft_rules import kmesh
from mlip_autopipec.science.properties import molecule
from mlip_autopipec.science.properties.equation_of_state import strained_cells

__all__ = ["source_of_modes", "validation_labels"]

AT_REST, VIBRATION = "molecule_at_rest", "vibration"


def validation_labels(plan: Plan, state: CampaignState) -> list[Task]:
    """What of the validation's calculations can be planned now."""
    return _molecule(plan, state) if plan.validation.modes else _equation_of_state(plan, state)


def _equation_of_state(plan: Plan, state: CampaignState) -> list[Task]:
    """Strained cells of the ground state, all on the k-point mesh of the unstrained one; used for
    validation only.
    """
    done = [record for record in state.of_kind("generate") if record.status == "done"]
    if not done or state.labels("validate"):
        return []
    crystal = atoms_from_json(done[0].result["ground_state"])
    periodic = tuple(bool(flag) for flag in crystal.pbc)
    mesh = kmesh(crystal.cell.array, periodic, plan.dft.kspacing_per_a, plan.dft.kmesh_shifted)
    tasks = []
    for strain, atoms in zip(
        plan.validation.eos_strains,
        strained_cells(crystal, plan.validation.eos_strains),
        strict=True,
    ):
        provenance = Provenance("equation_of_state", "validation", {"volumetric_strain": strain})
        job = LabelJob(atoms, plan.dft.method(), kmesh=mesh)
        tasks.append(
            label_task(
                plan,
                Candidate(atoms, provenance).to_json(),
                "validate",
                PRIORITY_VALIDATION_LABEL,
                job=job,
            )
        )
    return tasks


def source_of_modes(state: CampaignState) -> TaskRecord | None:
    """The finished generation task whose start and vibrations are used; every batch finds the same
    ones.
    """
    return next(iter(generated(state)), None)


def _molecule(plan: Plan, state: CampaignState) -> list[Task]:
    source, planned = source_of_modes(state), state.labels("validate")
    if source is None or len(planned) > 1:
        return []
    start = atoms_from_json(source.result["ground_state"])
    if not planned:
        provenance = Provenance(AT_REST, "validation", {"minimum_of": plan.surrogate.engine})
        return [
            label_task(plan, Candidate(start, provenance).to_json(), "validate", PRIORITY_LABEL - 1)
        ]
    if planned[0].status != "done" or "modes" not in source.result:
        return []
    modes = molecule.modes_from_json(source.result["modes"])
    relaxed = molecule.at_minimum(
        start, np.asarray(planned[0].result["forces"], dtype=float), modes
    )
    found = [Candidate(relaxed, Provenance(AT_REST, "validation", {"minimum_of": "dft"}))]
    for mode in molecule.compared_modes(modes, plan.validation.modes):
        plus, minus, coordinate = molecule.displaced(relaxed, modes, mode)
        for sign, atoms in ((1, plus), (-1, minus)):
            parameters: Json = {"mode": mode, "sign": sign, "coordinate_a_amu12": coordinate}
            found.append(Candidate(atoms, Provenance(VIBRATION, "validation", parameters)))
    return [
        label_task(plan, item.to_json(), "validate", PRIORITY_VALIDATION_LABEL) for item in found
    ]
