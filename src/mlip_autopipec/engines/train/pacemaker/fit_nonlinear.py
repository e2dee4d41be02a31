"""Nonlinear ACE by the `pacemaker` program (BFGS on the tensorpot backend).

A cold fit starts from the linear solution in the first density, which is found in seconds and saves the ladder of
growing bases; a warm fit starts from the coefficients of the earlier potential.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from mlip_autopipec.engines.train.pacemaker.config import YAML, basis_spec, find_program
from mlip_autopipec.engines.train.pacemaker.data import FitRows, to_dataframe
from mlip_autopipec.engines.train.pacemaker.fit_linear import fit_linear
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings, pacemaker_input
from mlip_autopipec.engines.train.pacemaker.potential import without_core_repulsion

__all__ = ["fit_nonlinear", "from_linear", "thread_environment"]

INPUT, DATA, START, OUTPUT = "input.yaml", "train.pckl.gzip", "start.yaml", "output_potential.yaml"


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that keeps BLAS, OpenMP and TensorFlow to ``threads`` threads and off the display."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {
        **dict.fromkeys(names, str(threads)),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "MPLBACKEND": "Agg",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def from_linear(settings: FitSettings, rows: FitRows) -> Any:
    """The nonlinear basis with the linear fit in its first density and nothing in the second."""
    from pyace import create_multispecies_basis_config

    linear = fit_linear(settings, rows)
    spec = basis_spec(settings.elements, settings.functions_per_element, settings.cutoff_a, linear=False)
    start = create_multispecies_basis_config(spec)
    solved = {_key(function): function.coeffs[0] for block in linear.funcspecs_blocks for function in block.funcspecs}
    for block in start.funcspecs_blocks:
        block.set_func_coeffs([value for function in block.funcspecs for value in (solved[_key(function)], 0.0)])
    return start


def _key(function: Any) -> tuple[Any, ...]:
    return tuple(function.elements), tuple(function.ns), tuple(function.ls), tuple(function.LS)


def _die_with_parent() -> None:
    """No orphan goes on fitting when this process is killed (Linux prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def fit_nonlinear(settings: FitSettings, rows: FitRows, folder: Path) -> Any:
    """Run `pacemaker` in ``folder``; the fitted BBasisConfiguration. Raises RuntimeError when it leaves none.

    pacemaker's own predictions and plots are left out: they count masked atoms and cost more than the evaluation here.
    """
    from pyace import BBasisConfiguration

    program = find_program("pacemaker")
    if settings.warm_start is None:
        start = from_linear(settings, rows)
    else:
        start = without_core_repulsion(Path(settings.warm_start) / YAML)
    start.save(str(folder / START))
    to_dataframe(rows).to_pickle(folder / DATA, compression="gzip", protocol=4)
    (folder / INPUT).write_text(pacemaker_input(settings, data=DATA, start=START))
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
