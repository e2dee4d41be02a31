"""What CP2K needs to know that is not the structure: program, data folder, file names, units."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from mlip_autopipec.base.errors import MissingProgramError

__all__ = [
    "BOHR_A",
    "DATA_VARIABLE",
    "HARTREE_EV",
    "INPUT",
    "INSTALL",
    "OUTPUT",
    "PROGRAM_VARIABLE",
    "PROJECT",
    "STDERR",
    "command",
    "data_folder",
    "environment",
    "program",
]

# CODATA 2018, the same set as for every other program.
HARTREE_EV = 27.211386245988
BOHR_A = 0.529177210903

PROJECT = "label"
INPUT, OUTPUT, STDERR = "cp2k.inp", "cp2k.out", "stderr.txt"
PROGRAM_VARIABLE, DATA_VARIABLE = "MLIP_CP2K", "CP2K_DATA_DIR"
INSTALL = "sudo apt-get install --no-install-recommends cp2k cp2k-data"
_PROGRAMS = ("cp2k.psmp", "cp2k.popt", "cp2k.ssmp", "cp2k")
_DATA_FOLDERS = ("/usr/share/cp2k", "/usr/local/share/cp2k/data")


def program() -> str:
    """Path of CP2K, ``$MLIP_CP2K`` first. Raises MissingProgramError."""
    given = os.environ.get(PROGRAM_VARIABLE)
    found = next(filter(None, map(shutil.which, (given,) if given else _PROGRAMS)), None)
    if found is None:
        raise MissingProgramError(f"{given or _PROGRAMS[0]} of CP2K", INSTALL)
    return found


def data_folder() -> Path:
    """Folder of basis sets and pseudopotentials: ``$CP2K_DATA_DIR``, else the package's.

    Raises MissingProgramError.
    """
    given = os.environ.get(DATA_VARIABLE)
    for folder in map(Path, (given,) if given else _DATA_FOLDERS):
        if folder.is_dir():
            return folder
    raise MissingProgramError(
        f"the data of CP2K ({given or ' or '.join(_DATA_FOLDERS)})",
        f"{INSTALL}, or set {DATA_VARIABLE}",
    )


def command(cores: int, numerics: Mapping[str, object]) -> tuple[str, ...]:
    """The command line of one calculation; cores are MPI ranks times ``numerics["threads"]``.

    One rank runs the plain program. More go through mpirun without binding: two bound jobs would
    share core 0. Raises MissingProgramError.
    """
    tail = (program(), "-i", INPUT)
    ranks = max(1, cores // _threads(numerics))
    if ranks == 1:
        return tail
    # The Python environment brings an MPI of its own, which does not start CP2K.
    folders = [folder for folder in os.get_exec_path() if Path(folder) != Path(sys.prefix) / "bin"]
    mpirun = shutil.which("mpirun", path=os.pathsep.join(folders))
    if mpirun is None:
        raise MissingProgramError("mpirun", "sudo apt-get install openmpi-bin")
    return (mpirun, "-np", str(ranks), "--bind-to", "none", *tail)


def environment(cores: int, numerics: Mapping[str, object]) -> dict[str, str]:
    """Threads per rank, the data folder; mpirun may run as root inside containers."""
    threads = str(_threads(numerics))
    variables = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads
    )
    variables[DATA_VARIABLE] = str(data_folder())
    if cores > 1:
        variables |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return variables


def _threads(numerics: Mapping[str, object]) -> int:
    return int(str(numerics.get("threads", 1)))
