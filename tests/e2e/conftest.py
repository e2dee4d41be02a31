"""What several files of tests share: two small ACE potentials for copper."""

from pathlib import Path

import pytest
from ace_fixture import copper_frames, fit_ace


@pytest.fixture(scope="session")
def narrow(tmp_path_factory) -> Path:
    """Knows only copper near equilibrium."""
    frames = copper_frames(1, (0.03, 0.06, 0.1), (-0.03, 0.0, 0.03), 12)
    return fit_ace(tmp_path_factory.mktemp("narrow"), frames)


@pytest.fixture(scope="session")
def wide(tmp_path_factory) -> Path:
    """Knows hot and strained copper, too."""
    frames = copper_frames(2, (0.05, 0.1, 0.2, 0.3), (-0.06, -0.02, 0.0, 0.02, 0.06), 24)
    return fit_ace(tmp_path_factory.mktemp("wide"), frames)
