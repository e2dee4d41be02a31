"""The child process of the engine: reads ``job.json``, calls the calculator, writes
``result.json``.

Exit codes: 0 a label was written, 1 a failure was written. Anything else means that the calculator
took the process with it, and no result is there.
"""

from __future__ import annotations

import functools
import importlib
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from ase import Atoms
from ase.calculators.calculator import (
    CalculatorSetupError,
    InputError,
    PropertyNotImplementedError,
    PropertyNotPresent,
    SCFError,
)

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.structures import atoms_from_json
from mlip_autopipec.base.values import Json

__all__ = ["CHECK", "INPUT", "OUTPUT", "VERSION", "JobFile", "Result", "main", "version_of"]

INPUT, OUTPUT = "job.json", "result.json"
CHECK = "check"
"""Argument of the process that makes the calculator and leaves it at that."""
VERSION = "calculator_version"
"""Key of a method that holds ``package version``."""

_NOT_CONVERGED = ("not converge", "convergence", "scf iterations", "scf cycle")


def version_of(module: str) -> str | None:
    """``package version`` of the distribution that ``module`` belongs to; None when it is in
    none.
    """
    name = module.partition(".")[0]
    try:
        return f"{name} {metadata.version(name)}"  # most packages are called what they install
    except metadata.PackageNotFoundError:
        packages = metadata.packages_distributions().get(name, [])
        return f"{packages[0]} {metadata.version(packages[0])}" if packages else None


def main(folder: Path, *, check: bool = False) -> int:
    """Label the job in ``folder``; with ``check`` only make its calculator."""
    job = JobFile(**read_json(folder / INPUT))
    try:
        result = _label(job, check=check)
    except Exception as error:
        traceback.print_exc()
        kind, words = _kind(error), " ".join(str(error).split())
        failure = {"kind": kind, "message": f"{type(error).__name__}: {words}", "evidence": []}
        write_json(folder / OUTPUT, {"failure": failure})
        return 1
    write_json(folder / OUTPUT, {} if result is None else asdict(result))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """The content of ``job.json``; ``moments``: starting ones, by element."""

    calculator: str
    arguments: dict[str, Any]
    calculator_version: str | None
    moments: dict[str, float]
    atoms: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The content of ``result.json`` after a calculation: forces (n, 3) eV/Å, stress (6,) eV/Å³."""

    energy_ev: float
    forces: Any
    stress: Any
    total_magnetization: float
    wall_s: float


class _Unusable(Exception):
    """The job cannot be done by the calculator that is here."""


def _label(job: JobFile, *, check: bool) -> Result | None:
    wanted, present = job.calculator_version, version_of(job.calculator.partition(":")[0])
    if wanted is not None and wanted != present:
        raise _Unusable(
            f"the method was made for {wanted}, this machine has {present or 'no such package'}"
        )
    atoms = atoms_from_json(job.atoms)
    if job.moments:
        moments = [job.moments.get(symbol, 0.0) for symbol in atoms.symbols]
        atoms.set_initial_magnetic_moments(moments)
    atoms.calc = _calculator(job.calculator, job.arguments)
    if check:
        return None
    started = time.monotonic()
    forces = atoms.get_forces()
    return Result(
        energy_ev=_energy(atoms),
        forces=forces,
        stress=_stress(atoms),
        total_magnetization=_magnetization(atoms),
        wall_s=time.monotonic() - started,
    )


def _calculator(target: str, arguments: dict[str, Any]) -> Any:
    module, _, attribute = target.partition(":")
    try:
        made: Any = functools.reduce(
            getattr, attribute.split("."), cast(Any, importlib.import_module(module))
        )
        return made(**arguments)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise _Unusable(f"{target}: {type(error).__name__}: {error}") from error


def _energy(atoms: Atoms) -> float:
    """The energy whose derivative the forces are (E-TS), where the calculator tells it from the
    other.
    """
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except (PropertyNotImplementedError, PropertyNotPresent, NotImplementedError):
        return float(atoms.get_potential_energy())


def _stress(atoms: Atoms) -> Any:
    """(6,) eV/Å³; None without three periodic directions, or where the calculator has none."""
    if not all(atoms.pbc):
        return None
    try:
        return atoms.get_stress()
    except (PropertyNotImplementedError, PropertyNotPresent):
        return None


def _magnetization(atoms: Atoms) -> float:
    return float(atoms.calc.results.get("magmom", 0.0) or 0.0)


def _kind(error: Exception) -> str:
    words = str(error).lower()
    if isinstance(error, SCFError) or any(word in words for word in _NOT_CONVERGED):
        return "scf_not_converged"
    if isinstance(error, MemoryError):
        return "out_of_memory"
    if isinstance(error, _Unusable | CalculatorSetupError | InputError | NotImplementedError):
        return "input"
    return "unknown"


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), check=sys.argv[1:] == [CHECK]))
