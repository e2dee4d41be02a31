"""A stand-in for DFT inside this process: an ASE calculator that is made once.

A label by :class:`~mlip_autopipec.engines.dft.ase_calculator.engine.AseCalculator` is a process of
its own, which loads a pretrained model for seconds.
"""

from __future__ import annotations

import functools
import importlib
import json
import threading
from pathlib import Path
from typing import Any

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.ase_calculator.engine import AseCalculator
from mlip_autopipec.engines.dft.checks import label_problem

__all__ = ["InProcess", "calculator"]

_LOCK = threading.Lock()


@functools.cache
def calculator(target: str, arguments: str) -> Any:
    """The calculator at ``module:attribute``; ``arguments``: JSON."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)(**json.loads(arguments))


class InProcess(AseCalculator):
    """The engine ``ase_calculator`` without a process for each label."""

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        return Prepared({}, ("true",))

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        method = job.method
        atoms = job.atoms.copy()
        with _LOCK:
            atoms.calc = calculator(method["calculator"], json.dumps(method.get("arguments", {})))
            try:
                label = Label(
                    float(atoms.get_potential_energy()),
                    atoms.get_forces(),
                    atoms.get_stress() if atoms.pbc.all() else None,
                    job.method_hash,
                    scf_steps=1,
                    wall_s=0.0,
                )
            except Exception as error:
                return Failure("unknown", f"{type(error).__name__}: {error}")
        return label_problem(label, job) or label
