"""Stop a hopeless SCF cycle early: one whose estimated accuracy no longer falls.

The verdict is a pure function of the output so far. A run is stopped the soft way, by the file
``p.EXIT`` that pw.x looks for after every iteration; the note beside it lets the parser call it
what it is, ``scf_not_converged``.
"""

from __future__ import annotations

import re
from pathlib import Path

from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.engines.dft.quantum_espresso.config import OUTPUT, PREFIX

__all__ = ["FACTOR", "NOTE", "PATIENCE", "accuracies_ry", "stop_if_stuck", "stuck"]

NOTE = "stuck.txt"
#: Iterations in which the best accuracy must fall to ``FACTOR`` of the best before them. Slow but
#: healthy cycles (beta 0.1) gain more than that; those stuck in provoked failures gain nothing.
PATIENCE = 30
FACTOR = 0.5
_CYCLE = "Self-consistent Calculation"
_ACCURACY = re.compile(r"estimated scf accuracy\s+<\s+(\S+) Ry")
_THRESHOLD = re.compile(r"(?:scf )?convergence threshold\s+=\s+(\S+)")
_NEARLY_THERE = 10.0


def accuracies_ry(text: str) -> list[float]:
    """Estimated accuracy (Ry) after each iteration of the current SCF cycle."""
    cycle = text.rpartition(_CYCLE)[2] if _CYCLE in text else ""
    return [_number(word) for word in _ACCURACY.findall(cycle)]


def stuck(text: str, patience: int = PATIENCE) -> str | None:
    """Why the running SCF cycle is hopeless, or None while it is not (or is within ten times its
    threshold).
    """
    values = accuracies_ry(text)
    if (
        len(values) <= patience
        or "End of self-consistent calculation" in text.rpartition(_CYCLE)[2]
    ):
        return None
    before, lately = min(values[:-patience]), min(values[-patience:])
    threshold = _THRESHOLD.search(text)
    close = threshold is not None and min(before, lately) <= _NEARLY_THERE * _number(threshold[1])
    if close or lately <= FACTOR * before:
        return None
    return (
        f"estimated scf accuracy {lately:.2g} Ry after {len(values)} iterations, {before:.2g} Ry"
        f" {patience} before"
    )


def stop_if_stuck(folder: Path) -> bool:
    """Look at a running attempt; True when it was asked to stop. Call it every few seconds."""
    output = folder / OUTPUT
    if (folder / NOTE).exists() or not output.is_file():
        return False
    reason = stuck(output.read_text(errors="replace"))
    if reason is None:
        return False
    atomic_write(folder / NOTE, f"{reason}\n")
    (folder / f"{PREFIX}.EXIT").touch()
    return True


def _number(word: str) -> float:
    try:
        return float(word.replace("D", "E"))
    except ValueError:
        return float("inf")
