"""An ASE calculator whose model lives in another interpreter.

Pretrained potentials ask for versions of the same packages that exclude each other (mace-torch
wants e3nn 0.4.4, sevenn 0.5 or later), so that each needs an environment of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.remote import server
from mlip_autopipec.engines.remote.process import WorkerProcess
from mlip_autopipec.engines.unknown_elements import refuse_unknown

__all__ = ["RemoteCalculator"]


def _geometry(atoms: Atoms) -> Json:
    """A structure as the other side reads it, to the last bit."""
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
    }


class RemoteCalculator(Calculator):
    """ASE calculator: ``energy`` and ``free_energy`` (eV), ``forces`` (n, 3) eV/Å, ``stress`` (6,)
    eV/Å³, Voigt.

    ``backend``: file with ``load(options) -> (calculator, elements)``, run by ``python``. The
    process starts with this object (5-20 s to load a model) and ends with it. Raises InputError for
    an element that the model lacks, CalculationFailed where the model gives nothing,
    WorkerEndedError when the process dies.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012  (ASE's declaration)

    def __init__(
        self,
        name: str,
        python: str,
        backend: Path,
        options: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.model_name = name
        # -I: neither PYTHONPATH nor the folder of the script may put packages of this side before
        # its own.
        command = [
            python,
            "-I",
            str(Path(server.__file__)),
            str(backend),
            json.dumps(dict(options)),
        ]
        self.worker = WorkerProcess(command, env)
        self.elements = frozenset(self.worker.receive()["ready"])

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, list(properties or self.implemented_properties), system_changes)
        assert self.atoms is not None
        refuse_unknown(self.atoms.get_chemical_symbols(), self.elements, self.model_name)
        # Energy and forces always: whoever asks for one asks for the other next.
        wanted = ["energy", "forces"] + (
            ["stress"] if properties is None or "stress" in properties else []
        )
        reply = self.worker.ask({**_geometry(self.atoms), "properties": wanted})
        if "failed" in reply:
            raise CalculationFailed(f"{self.model_name}: {reply['failed']}")
        self.results = {
            "energy": reply["energy"],
            "free_energy": reply["energy"],
            "forces": np.asarray(reply["forces"], dtype=float).reshape(-1, 3),
        }
        if "stress" in wanted:
            self.results["stress"] = np.asarray(reply["stress"], dtype=float)
