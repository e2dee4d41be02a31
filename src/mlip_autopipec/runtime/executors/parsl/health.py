"""When to ask the scheduler again, and when to stop and call a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlip_autopipec.runtime.executors.parsl.queues import Queue

__all__ = ["BlockHealth", "last_words"]

_BACKOFF_S, _MAX_BACKOFF_S = 10.0, 600.0
#: So many blocks in a row that were refused, or died before their pilot connected, while the
#: scheduler answers.
MAX_FAILURES = 4


class BlockHealth:
    """Parsl's block error handler: called every few seconds with the state of all blocks, before it
    scales.

    Each failed block doubles the pause before the next is asked for, so a scheduler in trouble is
    not hammered.
    ``verdict`` is a text for the user once waiting cannot help.
    """

    def __init__(
        self, queue: Queue, max_blocks: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.verdict: str | None = None
        self.max_blocks = max_blocks
        self._queue, self._clock = queue, clock
        self._judged: set[str] = set()
        self._failures = 0
        self._total = 0
        self._hold_until = 0.0

    def __call__(self, executor: Any, status: Mapping[str, Any]) -> None:
        """``executor``: the HighThroughputExecutor; ``status``: block -> Parsl's JobStatus."""
        connected = set(executor.connected_blocks())
        for block, state in list(status.items()):
            if block in connected and not state.terminal:
                self._failures = 0
            if not state.terminal or block in self._judged:
                continue
            self._judged.add(block)
            if block in connected:
                self._failures = 0
            elif state.state.name not in ("SCALED_IN", "CANCELLED"):
                self._count(state)
        held = self._clock() < self._hold_until
        executor.provider.max_blocks = 0 if held or self.verdict else self.max_blocks

    def _count(self, state: Any) -> None:
        """One more block that never came to life; it does not count when the whole scheduler is
        away.
        """
        self._total += 1
        outage = self._queue.jobs() is None
        if not outage:
            self._failures += 1
        pause = min(_BACKOFF_S * 2 ** max(self._failures - 1, 0), _MAX_BACKOFF_S)
        self._hold_until = self._clock() + pause
        if self._failures >= MAX_FAILURES:
            self.verdict = (
                f"{self._failures} blocks in a row ended before their pilot connected. The last one"
                f" said: {last_words(state)}. Mend the 'executor' section of the plan and run again"
            )


def last_words(state: Any, limit: int = 600) -> str:
    """What the scheduler or the pilot printed last."""
    texts = [str(state.message or "")]
    for path in (state.stderr_path, state.stdout_path):
        if path and Path(path).is_file():
            texts.append(Path(path).read_text(errors="replace").strip()[-limit:])
    shown = " | ".join(text.strip() for text in texts if text.strip())
    return shown[-limit:] or "nothing"
