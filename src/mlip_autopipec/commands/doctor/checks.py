"""What is installed here, does it work, and which command mends what does not.

Packages are compared with this package's own requirements, DFT codes say what they need, and every
engine does one small real calculation in a process of its own
(:mod:`mlip_autopipec.commands.doctor.probes`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from mlip_autopipec.base.checks import Check
from mlip_autopipec.base.errors import ExitCode, MissingProgramError, MlipError
from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.doctor.answers import Answer
from mlip_autopipec.commands.doctor.one_job import probe
from mlip_autopipec.config import load
from mlip_autopipec.config.derive.surrogate import OFFLINE
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.md.lammps.plugin.build import plugin_folder
from mlip_autopipec.engines.md.lammps.plugin.launch import BUILD
from mlip_autopipec.runtime.executors.registry import opened

__all__ = ["Check", "checks", "executor_check", "iter_checks", "print_check", "print_checks", "run"]

_SETUP = "make setup"
_PROBE_TIMEOUT_S = 300.0
_APT = "sudo apt-get install --no-install-recommends"
# Installed without their dependencies (they declare a CUDA build of TensorFlow), so they are in no
# extra.
_WITHOUT_DEPENDENCIES = ("tf_keras==2.20.1", "tensorpotential==0.6.2.1")
_FOLDER = "doctor"
_CHGNET_WEIGHTS = "pretrained/0.3.0/*.tar"


def _package(requirement: Requirement, mend: str) -> Check:
    name = f"package {requirement.name}"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(name, False, detail="not installed", mend=mend)
    if version not in requirement.specifier:
        return Check(
            name,
            False,
            version,
            f"this version does not work here, needed: {requirement.specifier}",
            mend,
        )
    return Check(name, True, version)


def _packages() -> Iterator[Check]:
    """Every requirement of this package and its extras but the developers' tools."""
    environments = [
        {"extra": extra} for extra in ("", "structures", "chgnet", "lammps", "pacemaker")
    ]
    seen: set[str] = set()
    for text in metadata.requires("mlip-autopipec") or []:
        requirement = Requirement(text)
        marker = requirement.marker
        wanted = marker is None or any(marker.evaluate(environment) for environment in environments)
        if wanted and requirement.name not in seen:
            seen.add(requirement.name)
            yield _package(requirement, _SETUP)
    for text in _WITHOUT_DEPENDENCIES:
        yield _package(Requirement(text), f"{sys.executable} -m pip install --no-deps {text}")


def _python() -> Check:
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Check(
        "python",
        fits,
        platform.python_version(),
        sys.executable,
        "" if fits else f"PYTHON=python3.11 {_SETUP}",
    )


def _program(name: str, mend: str, *, command: str | None = None, optional: bool = False) -> Check:
    """A program on PATH, or beside this interpreter (an environment that is not activated)."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(command or name) or shutil.which(command or name, path=beside)
    if found is None:
        return Check(
            f"program {name}",
            False,
            detail=f"{command or name} was not found",
            mend=mend,
            optional=optional,
        )
    return Check(f"program {name}", True, detail=found, optional=optional)


def _programs() -> Iterator[Check]:
    yield _program("pacemaker", _SETUP)
    yield _program("g++", f"{_APT} g++   (only to compile extensions of LAMMPS)", optional=True)
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    there = library.is_file()
    yield Check("library mpich", there, detail=str(library), mend="" if there else _SETUP)


def _plugin() -> Check:
    """The compiled pair style: a campaign runs without it, ``mlip-auto lammps`` and MPI runs need
    it.
    """
    try:
        library = plugin_folder() / "paceplugin.so"
    except MissingProgramError as error:
        return Check("plugin pace", False, detail=str(error), mend=error.install, optional=True)
    built = library.is_file()
    detail = str(library) if built else "not built (only for mlip-auto lammps)"
    return Check(
        "plugin pace",
        built,
        detail=detail,
        mend="" if built else f"make plugin, or {BUILD}",
        optional=True,
    )


def _weights(*, optional: bool) -> Check:
    spec = importlib.util.find_spec("chgnet")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    files = sorted(folder.glob(_CHGNET_WEIGHTS)) if folder else []
    if not files:
        detail = "no weight file in the package"
        return Check("weights chgnet", False, detail=detail, mend=_SETUP, optional=optional)
    return Check("weights chgnet", True, "0.3.0", str(files[0]))


def _dft_codes(chosen: str) -> Iterator[Check]:
    """What the chosen DFT code needs, then what the other built-in ones would need."""
    seen = set()
    for name in dict.fromkeys((chosen, *registry.PORTS["dft"].built_in)):
        for check in registry.dft_engine(name).checks():
            if check.name not in seen:
                yield check if name == chosen else replace(check, optional=True)
            seen.add(check.name)


def _probe(
    name: str,
    title: str,
    folder: Path,
    timeout_s: float = _PROBE_TIMEOUT_S,
    settings: Json | None = None,
) -> Check:
    """Run one probe in a process of its own; a crash or a hang there is a failed check here."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "mlip_autopipec.commands.doctor.probes", name, str(folder)]
    command += [] if settings is None else [json.dumps(settings)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env={**os.environ, **threads, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    except subprocess.TimeoutExpired:
        return Check(
            f"works: {title}", False, detail=f"no answer within {timeout_s:.0f} s", mend=_SETUP
        )
    answer = _last_answer(done.stdout)
    if answer is None:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or [
            "no output"
        ]
        detail = f"the process ended with code {done.returncode}: {lines[-1][:300]}"
        return Check(f"works: {title}", False, detail=detail, mend=_SETUP)
    mend = "" if answer.ok else answer.mend or _SETUP
    return Check(f"works: {title}", answer.ok, answer.version, answer.detail, mend)


def _last_answer(text: str) -> Answer | None:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                return Answer(**json.loads(line))
            except (json.JSONDecodeError, TypeError):
                return None
    return None


_TITLES = {
    "dft": "DFT",
    "surrogate": "CHGNet",
    "trainer": "ACE fit and extrapolation grade",
    "md": "LAMMPS with an ACE potential",
    "backend": "Pacemaker's TensorFlow backend",
    "executor": "processes of this machine",
}


def executor_check(plan: Plan, folder: Path, timeout_s: float = 600.0) -> Check:
    """One job of a second through the plan's executor; ``folder`` must lie where the nodes see it.

    The folder goes when all is well, and stays with its logs when it is not.
    """
    name = f"works: executor {plan.executor.name}"
    mend = "see docs/how-to/run-on-a-cluster.md; the logs are in " + str(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(
        tempfile.mkdtemp(prefix="job-", dir=folder)
    )  # an answer of an earlier look must not count
    try:
        with opened(plan, folder) as executor:
            answer = probe(executor, place, timeout_s)
    except MissingProgramError as error:
        return Check(name, False, detail=str(error), mend=error.install)
    except MlipError as error:
        return Check(name, False, detail=str(error), mend=mend)
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # something else came to lie there meanwhile
        for path in made[1:]:
            path.rmdir()
    where = f"on {answer.host}" + (f", job {answer.block}" if answer.block else "")
    return Check(
        name, True, detail=f"a job of one second came back after {answer.wait_s} s {where}"
    )


def iter_checks(
    probes: Sequence[str] = tuple(_TITLES), plan: Plan | None = None
) -> Iterator[Check]:
    """Every check, cheap ones first, one at a time so that the reader sees them as they come.

    ``probes``: names out of :data:`mlip_autopipec.commands.doctor.probes.PROBES`; ``md`` needs
    ``trainer`` before it.
    ``plan``: whose DFT code and surrogate are tried in place of those that need no choice.
    """
    code = registry.DEFAULT_DFT if plan is None else plan.dft.engine
    yield _python()
    yield from _packages()
    yield from _dft_codes(code)
    yield from _programs()
    yield _plugin()
    yield _weights(optional=plan is not None and plan.surrogate.engine != OFFLINE)
    with tempfile.TemporaryDirectory(prefix="mlip-doctor-") as folder:
        for name in probes:
            title: str = _TITLES[name]
            settings: Json | None = None
            if name == "dft":
                title, settings = registry.dft_engine(code).title, {"engine": code}
            if name == "surrogate" and plan is not None:
                title, settings = _surrogate_of(plan)
            yield _probe(name, title, Path(folder), settings=settings)


def _surrogate_of(plan: Plan) -> tuple[str, Json]:
    """What the probe of the plan's surrogate is called, and what it needs to know."""
    chosen, material = plan.surrogate, plan.material
    title = f"surrogate {chosen.engine}" + (f" {chosen.model}" if chosen.model else "")
    return title, {
        "engine": chosen.engine,
        "model": chosen.model,
        "elements": list(material.elements),
        "molecule": material.kind == "molecule",
    }


def checks(probes: Sequence[str] = tuple(_TITLES)) -> list[Check]:
    """All of :func:`iter_checks`."""
    return list(iter_checks(probes))


def print_check(check: Check) -> None:
    """One line, and the mending command below it when something is wrong."""
    word = "ok" if check.ok else "none" if check.optional else "BAD"
    print(
        "  ".join(part for part in (f"{word:4}", check.name, check.version, check.detail) if part),
        flush=True,
    )
    if not check.ok and check.mend:
        print(f"        mend: {check.mend}", flush=True)


def print_checks(found: Iterable[Check]) -> int:
    """Print every check as it comes, then a verdict; 0 when everything that a run needs is well,
    else 1.
    """
    bad = 0
    for check in found:
        print_check(check)
        bad += not check.ok and not check.optional
    print(
        f"{bad} of the things a run needs are missing or broken"
        if bad
        else "everything a run needs works"
    )
    return ExitCode.FAILED if bad else ExitCode.DONE


def run(as_json: bool = False, plan_file: Path | None = None, runs_dir: Path = Path("runs")) -> int:
    """Check everything and print it, as text or as one JSON list; returns the exit code (0 or 1).

    ``plan_file``: an input.yaml or plan.yaml whose surrogate is tried in place of CHGNet, and its
    executor as well, in its run folder below ``runs_dir``. Raises InputError for a file that is
    neither.
    """
    prepared = load.load(plan_file, runs_dir=runs_dir, cores=None) if plan_file else None
    found = _all(prepared)
    if not as_json:
        return print_checks(found)
    rows = list(found)
    print(json.dumps([asdict(check) for check in rows], indent=1))
    whole = all(check.ok or check.optional for check in rows)
    return ExitCode.DONE if whole else ExitCode.FAILED


def _all(prepared: load.PreparedPlan | None) -> Iterator[Check]:
    yield from iter_checks(tuple(_TITLES), prepared.plan if prepared else None)
    if prepared is not None:
        yield executor_check(prepared.plan, prepared.root / _FOLDER)


if __name__ == "__main__":
    sys.exit(run("--json" in sys.argv[1:]))
