"""The labelling engine ``ase_calculator``: an ASE calculator behind
:class:`mlip_autopipec.engines.dft_port.DftEngine`.

The method is ``{"calculator": "module:attribute", "arguments": {...}}``, for example
``{"calculator": "tblite.ase:TBLite", "arguments": {"method": "GFN2-xTB"}}``; :mod:`.method` writes
it together with the version of the package, which is part of the physics. ``spin_polarized``
and ``starting_moments`` set initial moments. The calculator runs in a process of its own: it may
crash, leak or hang without harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from ase.build import bulk

from mlip_autopipec.base.checks import Check
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.engines.dft.ase_calculator import method as methods
from mlip_autopipec.engines.dft.ase_calculator.check import check_calculator
from mlip_autopipec.engines.dft.ase_calculator.method import (
    Method,
    Wishes,
    method_of,
    prepared_job,
)
from mlip_autopipec.engines.dft.ase_calculator.run import OUTPUT, Result
from mlip_autopipec.engines.dft.checks import label_problem
from mlip_autopipec.engines.dft_port import CellSize, DftMethod, DftWishes, MethodChoice
from mlip_autopipec.science.label_set import LabelSet

__all__ = ["KINDS", "AseCalculator"]

KINDS = (
    "scf_not_converged",
    "interrupted",
    "out_of_walltime",
    "out_of_memory",
    "geometry",
    "input",
    "unknown",
)
#: Kinds that say something of the machine: the same calculation is tried again, this often.
_REPEATS = {"interrupted": 2, "lost": 2, "out_of_walltime": 1, "out_of_memory": 1}
_TIMED_OUT, _KILLED = 124, (137, 143)
_STDERR = "stderr.txt"
_GUESS_S = 10.0


class AseCalculator:
    """Energies, forces and stress of an ASE calculator; stress only for cells periodic in three
    directions.
    """

    title = "ASE calculator"
    Method: type[DftMethod] = Method
    Wishes: type[DftWishes] = Wishes

    def method(self, needed: LabelSet, wishes: DftWishes) -> MethodChoice:
        """See :func:`method.derive`."""
        return methods.derive(needed, cast(Wishes, wishes))

    def cpu_s(self, method: DftMethod, size: CellSize) -> float:
        """A guess: nothing is known of a calculator but its name."""
        return _GUESS_S

    def require(self, method: DftMethod, elements: Sequence[str], cores: int) -> None:
        """See :func:`check.check_calculator`."""
        check_calculator(cast(Method, method))

    def checks(self) -> Iterable[Check]:
        """Nothing: which package is needed is known only once a calculator was named."""
        return ()

    def example(self) -> LabelJob:
        """Copper by ASE's own effective-medium theory."""
        atoms = bulk("Cu", cubic=True)
        atoms.positions[-1, 0] += 0.1
        return LabelJob(atoms, method_of("ase.calculators.emt:EMT"))

    def version(self, folder: Path) -> str:
        """The version of the calculator's package stands in its method, not in the folder."""
        return ""

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        """A job file and the command of the child process; ``cores`` become threads.

        Raises InputError.
        """
        return prepared_job(job, cores)

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        """The label that the child wrote, after the checks that every label has to pass, or why
        there is none.
        """
        try:
            found = json.loads((folder / OUTPUT).read_text())
        except (OSError, ValueError):
            return _no_result(folder, exit_code)
        if "failure" in found:
            return replace(Failure.from_json(found["failure"]), evidence=_evidence(folder))
        said = Result(**found)
        label = Label(
            energy_ev=float(said.energy_ev),
            forces=np.array(said.forces, dtype=float).reshape(-1, 3),
            stress=None if said.stress is None else np.array(said.stress, dtype=float),
            method_hash=job.method_hash,
            scf_steps=0,
            wall_s=float(said.wall_s),
            total_magnetization=float(said.total_magnetization),
        )
        return label_problem(label, job) or label

    def repair(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        """The same job again where the machine was at fault; nothing else can be mended from
        outside.
        """
        last = failures[-1].kind
        times = sum(failure.kind == last for failure in failures)
        if times > _REPEATS.get(last, 0):
            return None
        if last == "out_of_walltime":
            return job.with_numerics(
                walltime_factor=2.0 * float(job.numerics.get("walltime_factor", 1.0))
            )
        return job

    def scratch(self, folder: Path) -> Sequence[Path]:
        """Nothing: what a calculator writes is known to nobody but itself."""
        return ()


def _no_result(folder: Path, exit_code: int | None) -> Failure:
    if exit_code == _TIMED_OUT:
        return Failure("out_of_walltime", "killed at the wall time", _evidence(folder))
    if exit_code in (None, *_KILLED):
        return Failure(
            "interrupted",
            f"the process ended without a result (exit code {exit_code})",
            _evidence(folder),
        )
    return Failure(
        "unknown", f"the calculator's process died with exit code {exit_code}", _evidence(folder)
    )


def _evidence(folder: Path) -> tuple[Evidence, ...]:
    """The last lines of standard error."""
    path = folder / _STDERR
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    return tuple(Evidence(_STDERR, number, line) for number, line in numbered[-3:])
