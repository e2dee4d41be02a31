"""One process of the batched screen: structures in, evaluations out (see ``runtime.screening``).

Run as ``python -m mlip_autopipec.runtime.screening_worker '{"engine", "model", "limits"}'``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict

from mlip_autopipec.engines import registry
from mlip_autopipec.engines.calculator_server import atoms_of, serve
from mlip_autopipec.science.screening import Limits, evaluate
from mlip_autopipec.types import Json

__all__ = ["main"]


def main() -> None:
    settings = json.loads(sys.argv[1])
    limits = Limits(**settings["limits"])

    def prepare() -> tuple[Json, Callable[[Json], Json]]:
        calculator = registry.surrogate(settings["engine"], settings["model"]).calculator()
        return {"ready": True}, lambda request: asdict(evaluate(atoms_of(request), calculator, limits))

    serve(prepare)


if __name__ == "__main__":
    main()
