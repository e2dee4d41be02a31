"""What a person sees while a campaign runs: one line that is rewritten on a terminal, plain log
lines elsewhere.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

__all__ = ["Progress"]

PLAIN_EVERY_S = 60.0


@dataclass(slots=True)
class Progress:
    """Writes to ``stream`` (standard error unless told otherwise, so that ``--json`` keeps standard
    output).
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _last_plain: float = 0.0
    _width: int = 0

    def log(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        print(f"{time.strftime('%H:%M:%S')}  {text}", file=self.stream, flush=True)

    def line(self, text: str) -> None:
        """The present situation: rewritten in place on a terminal, logged once a minute
        elsewhere.
        """
        if self.stream.isatty():
            self._clear()
            self.stream.write(text)
            self.stream.flush()
            self._width = len(text)
        elif time.monotonic() - self._last_plain > PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            self.log(text)

    def _clear(self) -> None:
        if self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self._width = 0
