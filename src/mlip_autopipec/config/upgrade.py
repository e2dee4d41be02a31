"""Stored plans of earlier versions, read as plans of today's.

A plan (``plan.json`` and ``plan.yaml``, of a campaign or of a folder of labels) carries the number
of its form under ``version``; 1 is also what carries none. Whoever changes the form of a plan

1. raises ``PLAN_VERSION`` by one and the ``version`` of ``Plan`` and ``LabelPlan`` with it;
2. adds the function that turns the form before into the new one to ``_STEPS``, which takes plain
   data, changes a copy, and looks at ``kind`` where plans of campaigns and labels differ;
3. stores a plan of the form before in ``tests/fixtures/plans``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.values import Json

__all__ = ["PLAN_VERSION", "upgraded"]

PLAN_VERSION = 1
"""The form that this program writes."""

_STEPS: dict[int, Callable[[Json], Json]] = {}
"""Version -> how a plan of that version becomes one of the next."""


def upgraded(data: Mapping[str, Any], file: str | Path) -> Json:
    """The content of a stored plan in today's form; content that is no plan comes back as it is.

    Raises CampaignStateError for a version that this program does not know yet.
    """
    found: Json = dict(data)
    version = found.get("version", 1)
    if not isinstance(version, int):
        return found  # validation has the better words for it
    if version > PLAN_VERSION:
        raise CampaignStateError(
            f"{file}: a plan of version {version}, and this mlip-auto knows versions up to"
            f" {PLAN_VERSION}; go on with the mlip-auto that wrote it, or a newer one"
        )
    for step in range(max(1, version), PLAN_VERSION):
        found = _STEPS[step](found)
    return {**found, "version": PLAN_VERSION}
