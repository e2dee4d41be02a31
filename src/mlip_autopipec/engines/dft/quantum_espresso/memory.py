"""Does pw.x itself say that it needs more memory than the machine has?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso.texts import Line

__all__ = ["too_much"]

_MIB = {"KB": 1 / 1024, "MB": 1.0, "GB": 1024.0, "TB": 1024.0**2}
_TOTAL = re.compile(
    r"Estimated total (?:allocated )?dynamical RAM\s*>\s*(\d+\.?\d*)\s*([KMGT]B)", re.IGNORECASE
)
_EACH = re.compile(
    r"Estimated max dynamical RAM per process\s*>\s*(\d+\.?\d*)\s*([KMGT]B)", re.IGNORECASE
)
_THERE = re.compile(r"(\d+) MiB available memory on the printing compute node")
_NODES = re.compile(r"MPI processes distributed on\s+(\d+) nodes")
_RANKS = re.compile(r"running on\s+(\d+) processors")
#: The estimate is a lower bound ("it may be much larger"), and the system needs its part.
_SHARE = 0.8


def too_much(output: Sequence[Line]) -> Failure | None:
    """``out_of_memory`` where the estimate in the output exceeds what the nodes had when the run
    began. Files of a killed run say no more than that.
    """
    found: dict[re.Pattern[str], tuple[re.Match[str], Line]] = {}
    for line in output:
        if "RAM" in line.text or "MiB" in line.text or "rocess" in line.text:
            for pattern in (_TOTAL, _EACH, _THERE, _NODES, _RANKS):
                if pattern not in found and (matched := pattern.search(line.text)):
                    found[pattern] = (matched, line)
    if _THERE not in found or not (_TOTAL in found or _EACH in found):
        return None
    nodes = int(found[_NODES][0][1]) if _NODES in found else 1
    ranks = int(found[_RANKS][0][1]) if _RANKS in found else 1
    matched, line = found[_TOTAL] if _TOTAL in found else found[_EACH]
    needed_mib = float(matched[1]) * _MIB[matched[2].upper()] * (1 if _TOTAL in found else ranks)
    there, proof = found[_THERE]
    if needed_mib <= _SHARE * nodes * int(there[1]):
        return None
    message = (
        f"killed, and pw.x itself needs more than {needed_mib / 1024:.0f} GiB where"
        f" {nodes * int(there[1]) / 1024:.0f} GiB are there"
    )
    return Failure("out_of_memory", message, (proof.evidence(), line.evidence()))
