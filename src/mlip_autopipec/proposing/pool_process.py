"""One process of the surrogate pool: loads the model once, then does one piece of work after the
other.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ase.calculators.calculator import Calculator

from mlip_autopipec.base.process import die_with_parent
from mlip_autopipec.engines.remote.process import WorkerKilledError

__all__ = ["Make", "begin", "do", "fresh", "nothing"]

R = TypeVar("R")
#: Loads the surrogate; None where it lacks an element. Can be pickled.
Make = Callable[[], Calculator | None]
REPORT_EVERY_S = 1.0

_make: Make | None = None
_reports: Any = None


def begin(make: Make, reports: Any) -> None:
    """Called first in the process; ``reports``: queue for (name of the work, finished share of
    it).
    """
    global _make, _reports
    die_with_parent()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the parent, which then ends this process
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # models greet on standard output, which is for the result
    _make, _reports = make, reports


@functools.cache
def _model() -> Calculator | None:
    """Loaded by the first work, so that an exception is the result of that; nobody would be told of
    one in begin.
    """
    assert _make is not None
    return _make()


def do(work: Callable[..., R], name: tuple[int, int], values: tuple[Any, ...]) -> R:
    """``work(*values, calculator, report)``."""
    last = time.monotonic()

    def report(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_EVERY_S:
            last = time.monotonic()
            _reports.put((name, fraction))

    try:
        return work(*values, fresh(_model()), report)
    except WorkerKilledError:
        # The model lived in an interpreter of its own and is gone: this process goes too, and both
        # are replaced.
        os.kill(os.getpid(), signal.SIGKILL)
        raise


def fresh(calculator: Calculator | None) -> Calculator | None:
    """The calculator without its last structure: a neighbour list kept from it shows in the last
    digits.
    """
    if calculator is not None:
        calculator.reset()
    return calculator


def nothing(calculator: Calculator | None, report: Callable[[float], None]) -> None:
    """Work that only loads the model."""
