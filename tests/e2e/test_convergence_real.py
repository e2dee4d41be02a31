"""A convergence series with the real pw.x: errors fall, and what was calculated is not calculated
again.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from ase.build import bulk

from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.commands.dft_check.labels import SeriesLabels
from mlip_autopipec.commands.dft_check.series import run_series
from mlip_autopipec.commands.label.method import derive_dft
from mlip_autopipec.config.dft_check import CheckResult
from mlip_autopipec.config.plan import ExecutorPlan
from mlip_autopipec.engines.dft_port import Knob

pytestmark = pytest.mark.real


def test_a_real_series_converges_and_is_kept(tmp_path: Path) -> None:
    silicon = bulk("Si")
    dft = derive_dft(
        [silicon], settings={"cutoff_ry": 12, "kspacing_per_a": 1.0, "conv_thr_ry_per_atom": 1e-7}
    ).dft

    def series() -> tuple[CheckResult, int]:
        machine = SeriesLabels(
            tmp_path, dft, ExecutorPlan(cores=2), progress=Progress(io.StringIO())
        )
        knobs = (
            Knob("cutoff_ry", (8, 12, 16, 20), "cutoff", "Ry", {"rho_cutoff_ry": 4.0}),
            Knob("kspacing_per_a", (1.0, 0.7), "spacing", "1/Å"),
        )
        result = run_series(
            silicon, dft.label_method(), knobs, machine,
            force_limit_mev_per_a=500.0, energy_limit_mev_per_atom=50.0,
        )  # fmt: skip
        assert not isinstance(result, Failure), result
        return result, machine.calculations

    found, calculations = series()
    (cutoffs, _) = found.series
    errors = [point.force_error_mev_per_a for point in cutoffs.points]
    assert errors[-1] == 0 and errors[0] > 3 * errors[2] > 0, errors
    assert calculations == 2 * (4 + 2) - 2, (
        "the first spacing at the chosen cutoff belongs to both series"
    )
    assert series() == (found, calculations)
