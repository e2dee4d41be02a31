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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlip_autopipec.engines.train.pacemaker.config import YAML, basis_spec, find_program
from mlip_autopipec.engines.train.pacemaker.data import FitRows, to_dataframe
from mlip_autopipec.engines.train.pacemaker.fit_linear import fit_linear
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings, pacemaker_input
from mlip_autopipec.engines.train.pacemaker.potential import without_core_repulsion

__all__ = ["fit_nonlinear", "from_linear", "thread_environment"]

INPUT, DATA, START, OUTPUT = "input.yaml", "train.pckl.gzip", "start.yaml", "output_potential.yaml"

# Mean second density of the start: well inside the range where its embedding is a square root.
SEED_DENSITY = 2.0


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
    """The nonlinear basis, its second density seeded with the nearest pair function, its first fitted to the rest.

    With an empty second density the linear solution would be a stationary point in it (both embeddings are linear
    around zero) and BFGS would crawl. The seed is a bond energy that grows like the root of the coordination
    (Finnis and Sinclair, Philos. Mag. A 50, 45 (1984)).
    """
    seed = _configuration(settings, linear=False)
    strength = -SEED_DENSITY / _pair_density(settings, rows)
    _set_coefficients(seed, lambda function: (0.0, strength * _is_seed(function)))
    linear = fit_linear(settings, _without(rows, seed))
    solved = {_key(function): function.coeffs[0] for block in linear.funcspecs_blocks for function in block.funcspecs}
    _set_coefficients(seed, lambda function: (solved[_key(function)], strength * _is_seed(function)))
    return seed


def _configuration(settings: FitSettings, *, linear: bool) -> Any:
    from pyace import create_multispecies_basis_config

    return create_multispecies_basis_config(
        basis_spec(settings.elements, settings.functions_per_element, settings.cutoff_a, linear=linear)
    )


def _set_coefficients(configuration: Any, values: Callable[[Any], tuple[float, ...]]) -> None:
    for block in configuration.funcspecs_blocks:
        block.set_func_coeffs([float(value) for function in block.funcspecs for value in values(function)])


def _is_seed(function: Any) -> bool:
    """The first radial function of each pair of elements."""
    return list(function.ns) == [1]


def _pair_density(settings: FitSettings, rows: FitRows) -> float:
    """Mean over all atoms of the density that the seed functions give with coefficient 1."""
    from pyace import PyACECalculator

    probe = _configuration(settings, linear=True)
    _set_coefficients(probe, lambda function: (float(_is_seed(function)),))
    calculator = PyACECalculator(probe)
    densities = []
    for atoms in rows.atoms:
        calculator.calculate(atoms)
        densities.append(calculator.results["energies"])
    return float(np.mean(np.concatenate(densities)))


def _without(rows: FitRows, configuration: Any) -> FitRows:
    """The targets of ``rows`` minus what ``configuration`` gives."""
    from pyace import PyACECalculator

    calculator = PyACECalculator(configuration)
    energies, forces = [], []
    for atoms, energy, force in zip(rows.atoms, rows.energies_ev, rows.forces, strict=True):
        calculator.calculate(atoms)
        energies.append(energy - calculator.results["energy"])
        forces.append(force - calculator.results["forces"])
    return replace(rows, energies_ev=energies, forces=forces)


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
