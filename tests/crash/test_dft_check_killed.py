"""A check of DFT settings that is killed in the middle goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from mlip_autopipec.base.files import read_json

SCRIPT = """
import sys
from pathlib import Path
from mlip_autopipec.config.load import PreparedPlan
from mlip_autopipec.commands.run import checked
from mlip_autopipec.testing import simulated_plan
plan = simulated_plan()
plan = plan.model_copy(update={"dft": plan.dft.model_copy(update={"convergence": "check"})})
root = Path(sys.argv[1])
print(checked(PreparedPlan(plan, {}, root, root / "plan.yaml")).plan.dft.convergence)
"""


def test_a_check_that_is_killed_goes_on_and_repeats_nothing_that_was_finished(
    tmp_path: Path,
) -> None:
    root, ledger = tmp_path / "copper", tmp_path / "ledger"
    environment = {**os.environ, "MLIP_TESTING_LEDGER": str(ledger), "OMP_NUM_THREADS": "1"}

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SCRIPT, str(root)]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )  # fmt: skip

    def finished() -> int:
        return len(ledger.read_text().splitlines()) if ledger.exists() else 0

    for share in (3, 9):
        driver = start()
        while finished() < share and driver.poll() is None:
            time.sleep(0.05)
        assert driver.poll() is None, "it ended before it could be killed"
        driver.kill()
        driver.wait()
        assert driver.stdout is not None
        driver.stdout.close()
    said, _ = start().communicate()
    assert said.strip() == "checked"
    result = read_json(root / "convergence" / "convergence.json")
    points = sum(len(item["points"]) for item in result["series"])
    assert finished() in (
        2 * points,
        2 * points - 2,
    )  # the spacing of the cutoff series is there already
    before = finished()
    said, _ = start().communicate()
    assert said.strip() == "checked" and finished() == before
