"""Deliberate faults in lines that matter, over all rooms: what stands there, what is put there
instead, and the tests (below ``tests/``) that have to notice.
"""

from __future__ import annotations

from benchmarks.mutants.calculations import CALCULATIONS
from benchmarks.mutants.decisions import DECISIONS
from benchmarks.mutants.motion import MOTION
from benchmarks.mutants.mutant import Mutant

__all__ = ["MUTANTS", "Mutant"]

MUTANTS: tuple[Mutant, ...] = (*CALCULATIONS, *MOTION, *DECISIONS)
