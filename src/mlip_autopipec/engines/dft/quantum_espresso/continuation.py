"""Go on where a run stopped at its time limit, instead of computing the same iterations again.

pw.x stops itself at ``max_seconds`` and leaves a state in ``out`` from which ``restart_mode =
'restart'`` continues. The state moves into the folder of the next attempt; whatever else is wrong
with it shows as ``restart_corrupt``, whose cure is a fresh start.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from mlip_autopipec.base.process import Prepared
from mlip_autopipec.engines.dft.quantum_espresso.config import INPUT, OUTDIR, OUTPUT

__all__ = ["can_continue", "resume"]

_STOPPED = "Maximum CPU time exceeded"


def can_continue(earlier: Path) -> bool:
    """True when the attempt in ``earlier`` stopped itself at its time limit and its state is still
    there.
    """
    output, scratch = earlier / OUTPUT, earlier / OUTDIR
    if not output.is_file() or not scratch.is_dir():
        return False
    text = output.read_text(errors="replace")
    # The density of the stopped cycle is in the save folder; wave functions alone are no state.
    saved = any(scratch.glob("*.save/charge-density.*")) or any(scratch.glob("*.restart_scf"))
    return _STOPPED in text and "JOB DONE" in text and saved


def resume(prepared: Prepared, earlier: Path, folder: Path) -> Prepared:
    """``prepared`` as a continuation of the attempt in ``earlier``, whose scratch moves to
    ``folder``.

    Unchanged when there is nothing to go on from.
    """
    if not can_continue(earlier):
        return prepared
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / OUTDIR
    if target.exists():
        shutil.rmtree(target)
    (earlier / OUTDIR).rename(target)
    text = str(prepared.files[INPUT])
    restarted = re.sub(r"restart_mode = '\w+'", "restart_mode = 'restart'", text)
    return replace(prepared, files={**prepared.files, INPUT: restarted})
