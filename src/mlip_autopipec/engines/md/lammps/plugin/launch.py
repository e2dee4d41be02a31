"""Starts the ``lmp`` of this environment with pair style ``pace`` loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.engines.md.lammps.library import INSTALL, mpi_library
from mlip_autopipec.engines.md.lammps.plugin.build import plugin_folder

__all__ = ["environment", "run_lammps"]

MPI_PIPE = "PMI_FD"

BUILD = "python -m mlip_autopipec.engines.md.lammps.plugin.build"


def environment() -> dict[str, str]:
    """Variables for a LAMMPS with the plugin. Raises MissingProgramError when it is not built."""
    folder = plugin_folder()
    if not (folder / "paceplugin.so").exists():
        raise MissingProgramError("pair style pace for LAMMPS", BUILD)
    paths = [str(folder), os.environ.get("LAMMPS_PLUGIN_PATH", "")]
    return {
        **os.environ,
        "LAMMPS_PLUGIN_PATH": ":".join(filter(None, paths)),
        "LD_LIBRARY_PATH": ":".join(
            filter(None, [str(mpi_library().parent), os.environ.get("LD_LIBRARY_PATH", "")])
        ),
    }


def run_lammps(arguments: Sequence[str], folder: Path | None = None) -> int:
    """``lmp`` with these arguments in ``folder`` (default: here), output to this terminal; returns
    its exit code.
    """
    program = Path(sys.prefix) / "bin" / "lmp"
    if not program.exists():
        raise MissingProgramError("the LAMMPS program lmp", INSTALL)
    # Under mpiexec each process talks to it through a pipe that it inherits.
    pipe = os.environ.get(MPI_PIPE, "")
    return subprocess.run(
        [str(program), *arguments],
        cwd=folder,
        env=environment(),
        check=False,
        pass_fds=(int(pipe),) if pipe.isdigit() else (),
    ).returncode
