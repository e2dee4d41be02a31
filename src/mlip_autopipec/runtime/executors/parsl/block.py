"""What a worker knows of the allocation (block) of a scheduler that it runs in: two environment
variables.
"""

from __future__ import annotations

import os
import time

__all__ = ["BLOCK", "ENDS", "seconds_left"]

BLOCK = "MLIP_BLOCK"
"""The scheduler's id of the job."""
ENDS = "MLIP_BLOCK_ENDS"
"""When the scheduler will end it, in seconds since 1970."""


def seconds_left(now: float | None = None) -> float | None:
    """Time until the block ends, s; None outside of any block."""
    try:
        ends = float(os.environ[ENDS])
    except (KeyError, ValueError):
        return None
    return ends - (time.time() if now is None else now)
