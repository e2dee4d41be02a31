"""The guard of a potential: what its labels span, and what is new to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from linear_fits_for_tests import fitted, job, labelled

from mlip_autopipec.engines.train.pacemaker.engine import LinearAce


def test_labels_that_span_fewer_directions_than_there_are_functions(tmp_path: Path) -> None:
    """Perfect crystals of three volumes hold three environments, in 24 atoms."""
    crystals = [bulk("Cu", a=a, cubic=True).repeat((2, 1, 1)) for a in (3.5, 3.6, 3.7)]
    items = [labelled(f"crystal-{number}", atoms) for number, atoms in enumerate(crystals)]
    trained = fitted(job(items, functions=20), tmp_path / "fit")
    assert trained.metrics["guard_functions"]["Cu"] > len(items)
    assert trained.metrics["gamma_train_max"] == pytest.approx(1.0, abs=0.01)
    known, new = bulk("Cu", a=3.55, cubic=True), bulk("Cu", a=3.0, cubic=True)
    grades = []
    for atoms in (known, new):
        atoms.calc = LinearAce().calculator(trained.folder)
        atoms.get_potential_energy()
        grades.append(float(np.max(atoms.calc.results["gamma"])))
    assert grades[0] < 1.1
    assert grades[1] > 2.0
