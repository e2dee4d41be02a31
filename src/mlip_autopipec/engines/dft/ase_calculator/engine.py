"""The labelling engine ``ase_calculator``: an ASE calculator behind
:class:`mlip_autopipec.engines.ports.DftEngine`.

The method is ``{"calculator": "module:attribute", "arguments": {...}}``, for example
``{"calculator": "tblite.ase:TBLite", "arguments": {"method": "GFN2-xTB"}}``; :func:`method_of`
writes it together with the version of the package, which is part of the physics. ``spin_polarized``
and ``starting_moments`` set initial moments. The calculator runs in a process of its own: it may
crash, leak or hang without harm.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.dft.ase_calculator.run import INPUT, OUTPUT, VERSION, version_of

__all__ = ["DEFAULT_MAX_FORCE_EV_PER_A", "KINDS", "AseCalculator", "method_of"]

DEFAULT_MAX_FORCE_EV_PER_A = 50.0
NET_FORCE_PER_ATOM_EV_PER_A = 1e-3
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


def method_of(calculator: str, arguments: Mapping[str, Any] | None = None) -> Json:
    """The method of a calculator at ``module:attribute`` with the version of the package it comes
    from.

    Raises InputError when ``calculator`` is not of that form or its arguments have no JSON form.
    """
    try:
        method = {
            "engine": "ase_calculator",
            "calculator": calculator,
            "arguments": dict(arguments or {}),
        }
        json.dumps(method)
    except TypeError as error:
        raise InputError(
            "arguments of the calculator must be plain values", key="arguments", hint=str(error)
        ) from None
    version = version_of(_target(method).partition(":")[0])
    return {**method, **({VERSION: version} if version else {})}


def _target(method: Mapping[str, Any]) -> str:
    target = str(method.get("calculator", ""))
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        hint = "write module:attribute, for example tblite.ase:TBLite"
        raise InputError(
            "no import path of an ASE calculator", key="dft.calculator", value=target, hint=hint
        )
    return target


class AseCalculator:
    """Energies, forces and stress of an ASE calculator; stress only for cells periodic in three
    directions.
    """

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        """A job file and the command of the child process; ``cores`` become threads.

        Raises InputError.
        """
        content = {
            "calculator": _target(job.method),
            "arguments": dict(job.method.get("arguments", {})),
            VERSION: job.method.get(VERSION),
            "moments": dict(job.method.get("starting_moments") or {}),
            "atoms": atoms_to_json(job.atoms),
        }
        threads = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(cores)
        )
        return Prepared(
            files={INPUT: json.dumps(content, indent=1)},
            command=(sys.executable, "-m", "mlip_autopipec.engines.dft.ase_calculator.run"),
            env=threads,
        )

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        """The label that the child wrote, after the checks that every label has to pass, or why
        there is none.
        """
        try:
            found = json.loads((folder / OUTPUT).read_text())
        except (OSError, ValueError):
            return _no_result(folder, exit_code)
        if "failure" in found:
            failure = found["failure"]
            return Failure(failure["kind"], failure["message"], _evidence(folder))
        label = Label(
            energy_ev=float(found["energy_ev"]),
            forces=np.array(found["forces"], dtype=float).reshape(-1, 3),
            stress=None if found["stress"] is None else np.array(found["stress"], dtype=float),
            method_hash=job.method_hash,
            scf_steps=0,
            wall_s=float(found["wall_s"]),
            total_magnetization=float(found["total_magnetization"]),
        )
        return _problem(label, job) or label

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


def _problem(label: Label, job: LabelJob) -> Failure | None:
    """The first of the sanity checks that fails."""
    if label.forces.shape != (len(job.atoms), 3):
        return Failure("input", f"{len(label.forces)} forces for {len(job.atoms)} atoms")
    parts = [
        label.forces.ravel(),
        np.array([label.energy_ev]),
        *([] if label.stress is None else [label.stress]),
    ]
    if not np.isfinite(np.concatenate(parts)).all():
        return Failure("geometry", "energy, forces or stress are not finite")
    largest = float(np.linalg.norm(label.forces, axis=1).max())
    ceiling = float(job.numerics.get("max_force_ev_per_a", DEFAULT_MAX_FORCE_EV_PER_A))
    if largest > ceiling:
        return Failure(
            "geometry",
            f"largest force {largest:.1f} eV/Å is above the ceiling of {ceiling:.1f} eV/Å",
        )
    net = float(np.linalg.norm(label.forces.sum(axis=0))) / len(job.atoms)
    if net > NET_FORCE_PER_ATOM_EV_PER_A:
        return Failure("scf_not_converged", f"net force {net:.1e} eV/Å per atom")
    return None
