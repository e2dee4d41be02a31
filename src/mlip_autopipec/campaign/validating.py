"""The DFT calculations that a potential is validated against, never fitted.

A crystal: its equation of state, all at once. A molecule: first where the surrogate has it at rest;
the forces found there lead to the minimum of DFT, around which it is then displaced along a few of
its vibrations.
"""

from __future__ import annotations

import numpy as np

from mlip_autopipec.base.structures import Candidate, Provenance, atoms_from_json
from mlip_autopipec.base.tasks import Task
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.first_set import (
    PRIORITY_EOS_LABEL,
    PRIORITY_LABEL,
    equation_of_state,
    generated,
    label_task,
)
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.properties import molecule

__all__ = ["source_of_modes", "validation_labels"]

AT_REST, VIBRATION = "molecule_at_rest", "vibration"


def validation_labels(plan: Plan, state: CampaignState) -> list[Task]:
    """What of the validation's calculations can be planned now."""
    return _molecule(plan, state) if plan.validation.modes else equation_of_state(plan, state)


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
    return [label_task(plan, item.to_json(), "validate", PRIORITY_EOS_LABEL) for item in found]
