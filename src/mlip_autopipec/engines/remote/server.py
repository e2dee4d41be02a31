"""Runs an ASE calculator in an interpreter of its own: a JSON line in, a JSON line out.

Started by its path in an environment that need not hold this package (``remote_calculator`` is the
other side), so it imports ASE and the standard library only. Arguments: a file with ``load(options)
-> (calculator, elements)`` and the options as JSON. First line out: ``{"ready": [element
symbols]}``; then for each request ``{"numbers", "positions", "cell", "pbc", "properties"}`` the
properties, or ``{"failed": reason}`` when the calculation gave none. An exception is answered with
``{"broken": traceback}``. Å, eV, eV/Å³.

The end of standard input (also by ``kill -9`` of the parent) ends the process at once, in the
middle of whatever it does. What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import queue
import runpy
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator

__all__ = ["Channel", "evaluate", "main"]


class Channel:
    """Requests from standard input, replies to what was standard output when it was opened."""

    def __init__(self) -> None:
        self._replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._requests: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self._requests.put(line)
        os._exit(0)  # nobody is left who could want an answer

    def requests(self) -> Iterator[dict[str, Any]]:
        while True:
            yield json.loads(self._requests.get())

    def reply(self, value: dict[str, Any]) -> None:
        self._replies.write(json.dumps(value, default=_plain) + "\n")
        self._replies.flush()


def evaluate(calculator: Calculator, request: dict[str, Any]) -> dict[str, Any]:
    """The properties that the request names, or ``{"failed": reason}``."""
    atoms = Atoms(**{name: request[name] for name in ("numbers", "positions", "cell", "pbc")})
    try:
        calculator.calculate(atoms, request["properties"], ["positions", "numbers", "cell", "pbc"])
    except CalculationFailed as failure:
        return {"failed": str(failure)}
    return {name: calculator.results[name] for name in request["properties"]}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.astype(float).tolist()
    return float(value)


def main() -> None:
    backend, options = sys.argv[1], json.loads(sys.argv[2])
    channel = Channel()
    try:
        calculator, elements = runpy.run_path(backend)["load"](options)
        channel.reply({"ready": list(elements)})
        for request in channel.requests():
            channel.reply(evaluate(calculator, request))
    except Exception:
        channel.reply({"broken": traceback.format_exc()})


if __name__ == "__main__":
    main()
