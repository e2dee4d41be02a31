"""A simulated DFT program that takes its time, so that something can happen while it runs."""

from __future__ import annotations

import os
from dataclasses import replace

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.values import Json
from mlip_autopipec.testing import SimulatedDft
from mlip_autopipec.testing.simulated_dft import METHOD

SECONDS = 4.0
STARTS = "MLIP_TESTING_STARTS"
"""Names the file in which every start leaves a line: the folder of the attempt."""
#: The section ``dft`` of a simulated plan.
SECTION: Json = {"engine": "slow_dft:SlowDft", "method": METHOD}


class SlowDft(SimulatedDft):
    """:class:`SimulatedDft`, but every calculation takes ``SECONDS`` and leaves a line when it
    starts.
    """

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        prepared = super().prepare(job, walltime_s=walltime_s, cores=cores)
        shell, option, script = prepared.command
        begin = f'echo "$PWD" >> {os.environ.get(STARTS, "/dev/null")}; sleep {SECONDS}; '
        return replace(prepared, command=(shell, option, begin + script))
