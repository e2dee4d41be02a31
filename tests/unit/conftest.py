"""What tests of several rooms share: a real run folder of version 0.1, as it was left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "fixtures" / "run_0.1"


@pytest.fixture
def stored_run(tmp_path: Path) -> Path:
    """A copy of the run folder, that a driver may open and go on with."""
    return Path(shutil.copytree(RUN, tmp_path / "Si"))
