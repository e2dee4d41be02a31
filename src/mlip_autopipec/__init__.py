"""From a few lines of input to a validated machine-learned interatomic potential.

Each part can be used alone, in a notebook for example; see ``docs/reference/python-api.md``. Names
are loaded when they are first asked for, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlip_autopipec.api import (
        DFTFactory,
        LammpsRunner,
        PacemakerTrainer,
        StructureGenerator,
        SurrogateExplorer,
        WorkflowManager,
        make_plan,
    )
    from mlip_autopipec.base.errors import (
        CampaignLockedError,
        CampaignStateError,
        InputError,
        MissingProgramError,
        MlipError,
    )
    from mlip_autopipec.base.labels import Label, LabelledStructure, PotentialRef
    from mlip_autopipec.base.structures import Candidate, Provenance
    from mlip_autopipec.base.tasks import Failure
    from mlip_autopipec.config.input import UserInput
    from mlip_autopipec.config.plan import Plan

__all__ = [
    "CampaignLockedError",
    "CampaignStateError",
    "Candidate",
    "DFTFactory",
    "Failure",
    "InputError",
    "Label",
    "LabelledStructure",
    "LammpsRunner",
    "MissingProgramError",
    "MlipError",
    "PacemakerTrainer",
    "Plan",
    "PotentialRef",
    "Provenance",
    "StructureGenerator",
    "SurrogateExplorer",
    "UserInput",
    "WorkflowManager",
    "make_plan",
]

_ROOMS = {
    "api": (
        "DFTFactory",
        "LammpsRunner",
        "PacemakerTrainer",
        "StructureGenerator",
        "SurrogateExplorer",
        "WorkflowManager",
        "make_plan",
    ),
    "base.errors": (
        "CampaignLockedError",
        "CampaignStateError",
        "InputError",
        "MissingProgramError",
        "MlipError",
    ),
    "base.labels": ("Label", "LabelledStructure", "PotentialRef"),
    "base.structures": ("Candidate", "Provenance"),
    "base.tasks": ("Failure",),
    "config.plan": ("Plan",),
    "config.input": ("UserInput",),
}
_HOME = {name: f"{__name__}.{room}" for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
