"""Nonlinear ACE by the `pacemaker` program (BFGS on the tensorpot backend).

A cold fit grows the basis in a ladder; a warm fit starts from the coefficients of the earlier
potential. Starting cold from the linear solution was tried once (989 silicon atoms, 150 functions):
79 s of processor time and 118 meV/Å on held-out forces for 100 steps, against 120 s and 109 meV/Å
for a ladder of 3 x 50.

Its loss has no stress. Energies of copies of each label, 1 % larger and smaller (first order by the
label, the rest by a linear fit), were tried once: 38 silicon labels, 100 functions, 40 steps more
from one potential of 0.29 % in volume and +3.7 % in bulk modulus with, without copies: volume -0.17
and -0.03 %, bulk modulus -0.0 and -0.9 %, unseen calm cells 2.2 and 2.6 meV/atom, 66 and 63 meV/Å,
0.38 and 0.36 GPa. More steps did as much as the copies, each of which costs as its label does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.engines.train.pacemaker.config import YAML, find_program
from mlip_autopipec.engines.train.pacemaker.data import FitRows, bare, to_dataframe
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings, pacemaker_input
from mlip_autopipec.engines.train.pacemaker.potential import without_core_repulsion

__all__ = ["fit_nonlinear", "refusals", "thread_environment"]

INPUT, DATA, START, OUTPUT = "input.yaml", "train.pckl.gzip", "start.yaml", "output_potential.yaml"


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that keeps BLAS, OpenMP and TensorFlow to ``threads`` threads and off the
    display.
    """
    names = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    )
    return {
        **dict.fromkeys(names, str(threads)),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "MPLBACKEND": "Agg",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def _die_with_parent() -> None:
    """No orphan goes on fitting when this process is killed (Linux prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def refusals(settings: FitSettings, items: Sequence[LabelledStructure]) -> dict[str, str]:
    """Name -> reason of the structures whose neighbours python-ace does not list: one of them would
    end the fit of all.
    """
    from pyace.atomicenvironment import aseatoms_to_atomicenvironment

    numbers = {element: number for number, element in enumerate(settings.elements)}
    refused = {}
    for item in items:
        try:
            aseatoms_to_atomicenvironment(bare(item.atoms), settings.cutoff_a, numbers)
        except Exception as error:  # python-ace raises what it likes
            refused[item.name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return refused


def fit_nonlinear(settings: FitSettings, rows: FitRows, folder: Path) -> Any:
    """Run `pacemaker` in ``folder``; the fitted BBasisConfiguration. Raises RuntimeError when it
    leaves none.

    pacemaker's own predictions and plots are left out: they count masked atoms and cost more than
    the evaluation here.
    """
    from pyace import BBasisConfiguration

    program = find_program("pacemaker")
    start = None
    if settings.warm_start is not None:
        start = START
        without_core_repulsion(Path(settings.warm_start) / YAML).save(str(folder / START))
    to_dataframe(rows).to_pickle(folder / DATA, compression="gzip", protocol=4)
    (folder / INPUT).write_text(pacemaker_input(settings, data=DATA, start=start))
    exit_code = subprocess.run(
        [program, INPUT, "--no-predict"],
        cwd=folder,
        env={**os.environ, **thread_environment(settings.threads)},
        preexec_fn=_die_with_parent,
        check=False,
    ).returncode
    if exit_code != 0 or not (folder / OUTPUT).is_file():
        raise RuntimeError(f"pacemaker ended with exit code {exit_code}")
    return BBasisConfiguration(str(folder / OUTPUT))
