"""The page that shows the Python API is a script that runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlip_autopipec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "python-api.md"
FACADES = [
    "StructureGenerator",
    "SurrogateExplorer",
    "DFTFactory",
    "PacemakerTrainer",
    "LammpsRunner",
    "WorkflowManager",
]

CHECKS = """
import numpy as np
assert {c.provenance.strategy for c in candidates} == {"strain", "rattle"}
assert all(p["forces"].shape == (len(c.atoms), 3) for c, p in zip(candidates, properties))
assert len(picked) == 4 and {id(c) for c in picked} <= {id(c) for c in candidates}
assert -120 < label.energy_ev / 2 < -100  # silicon with four valence electrons
assert np.abs(label.forces.sum(axis=0)).max() < 1e-3
assert label.forces.shape == (2, 3) and label.stress.shape == (6,)
assert np.abs(label.forces).max() > 0.05  # rattled by 0.05 Å
assert result["test"]["force_rmse_mev_per_a"] < 1000
assert np.isfinite(atoms.get_potential_energy())
assert (Path("md") / "stream.jsonl").exists()
assert not Path("runs").exists()  # nothing is written before run()
assert workflow.plan.hash != plan.hash
print("all checks passed")
"""


def blocks() -> list[str]:
    """The python blocks of the page, in order."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", FACADES)
def test_page_shows_every_facade(name: str) -> None:
    assert name in mlip_autopipec.__all__
    assert any(f"{name}(" in block for block in blocks())


@pytest.mark.real
def test_page_runs(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks()) + CHECKS)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "all checks passed" in done.stdout
