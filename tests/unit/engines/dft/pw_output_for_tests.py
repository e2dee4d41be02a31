"""Output of pw.x in pieces, and what every diagnosis has to fulfil."""

from __future__ import annotations

from pathlib import Path

from mlip_autopipec.engines.dft.quantum_espresso.diagnose import CURES, Diagnosis
from mlip_autopipec.engines.dft.quantum_espresso.failures import CLASSES

__all__ = ["FOREIGN", "GOOD", "HEAD", "INPUT", "OURS", "SCF", "box", "check"]

FIXTURES = Path(__file__).parents[3] / "fixtures"
OURS, FOREIGN = FIXTURES / "qe", FIXTURES / "qe_folders"


HEAD = (
    "\n     Program PWSCF v.7.2 starts on 23Nov2026 at 15:33:57 \n\n     Reading input from x.in\n"
)
SCF = (
    "\n     Self-consistent Calculation\n\n     iteration #  1     ecut=    28.00 Ry     beta="
    " 0.70\n"
)
END = """
     convergence has been achieved in   9 iterations

   This run was terminated on:  15:34: 2  23Nov2026

=------------------------------------------------------------------------------=
   JOB DONE.
=------------------------------------------------------------------------------=
"""
GOOD = HEAD + SCF + "\n!    total energy              =     -15.81234567 Ry\n" + END
INPUT = "&CONTROL\n  calculation = 'scf'\n/\n&SYSTEM\n/\n"


def box(routine: str, reason: str, code: int = 1) -> str:
    rule = " " + "%" * 78 + "\n"
    return (
        f"{rule}     Error in routine {routine} ({code}):\n     {reason}\n{rule}\n     stopping"
        " ...\n"
    )


def check(found: Diagnosis, cls: str) -> None:
    assert found.cls == cls, found
    assert found.cls in CLASSES and found.cure and found.message
    assert found.cls != "ok" or found.cure == CURES["ok"]
    for item in found.evidence:
        lines = (Path(found.folder) / item.file).read_text(errors="replace").splitlines()
        assert item.text and item.text in lines[item.line - 1]
