"""A simulated DFT program that takes its time, so that something can happen while it runs."""

from __future__ import annotations

import os
from dataclasses import replace

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.values import Json
from mlip_autopipec.testing import SimulatedDft

SECONDS = 4.0
STARTS = "MLIP_TESTING_STARTS"
"""Names the file in which every start leaves a line: the folder of the attempt."""
#: The section ``dft`` of a simulated plan.
SECTION: Json = {
    "engine": "slow_dft:SlowDft",
    "pseudo_family": "none",
    "pseudos": {"Cu": "none"},
    "pseudo_sha256": {"Cu": "none"},
    "cutoff_ry": 10,
    "rho_cutoff_ry": 40,
    "kspacing_per_a": 0.6,
    "kmesh_shifted": True,
    "functional": "none",
    "smearing": "gaussian",
    "degauss_ry": 0.01,
    "spin_polarized": False,
    "starting_moments": {},
}


class SlowDft(SimulatedDft):
    """:class:`SimulatedDft`, but every calculation takes ``SECONDS`` and leaves a line when it
    starts.
    """

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        prepared = super().prepare(job, walltime_s=walltime_s, cores=cores)
        shell, option, script = prepared.command
        begin = f'echo "$PWD" >> {os.environ.get(STARTS, "/dev/null")}; sleep {SECONDS}; '
        return replace(prepared, command=(shell, option, begin + script))
