"""What a convergence check that was made before the log began has cost."""

from __future__ import annotations

from pathlib import Path

from mlip_autopipec.campaign.events import Event, SettingsChecked
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.config import dft_check
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.config.plan import Plan

__all__ = ["check_made"]


def check_made(plan: Plan | LabelPlan, root: Path, state: CampaignState) -> list[Event]:
    """What the convergence check in the run folder has cost, unless the log knows it or none was
    made here.
    """
    if plan.dft.convergence != "checked" or state.settings_checked is not None:
        return []
    result = dft_check.stored(root)
    return [] if result is None else [SettingsChecked(result.calculations, result.cpu_s)]
