"""A driver of the simulated campaign on a scheduler: ``python campaign_driver.py FOLDER EXECUTOR-AS-JSON``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mlip_autopipec.runtime.driver import run_campaign
from mlip_autopipec.runtime.executors.registry import opened
from mlip_autopipec.testing import simulated_plan

if __name__ == "__main__":
    root = Path(sys.argv[1])
    plan = simulated_plan(initial=10, executor=json.loads(sys.argv[2]))
    with opened(plan, root) as executor:
        run_campaign(plan, {}, root, executor=executor)
