"""Basis and loss of a fit, and the names of the files in a potential folder.

Basis: Drautz, Phys. Rev. B 99, 014104 (2019); the nonlinear two-density form E = rho_1 +
sqrt(rho_2) and the loss (1 - kappa) L_E + kappa L_F: Bochkarev et al., Phys. Rev. Materials 6,
013804 (2022).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.baseline import BASELINE

__all__ = [
    "ASI",
    "FILES",
    "GUARD",
    "INSTALL",
    "POSTERIOR",
    "YACE",
    "YAML",
    "TrainerName",
    "basis_spec",
    "find_program",
    "require_package",
]

TrainerName = Literal["linear", "pacemaker"]

YAML, YACE, ASI = "potential.yaml", "potential.yace", "potential.asi"
GUARD, POSTERIOR = "guard.yaml", "posterior.npz"
FILES: dict[str, str] = {
    YAML: "the potential (ACE, pyace format)",
    YACE: "the same for LAMMPS (pair_style pace)",
    GUARD: "a small basis of no energy, by which extrapolation is graded",
    ASI: "the active set of that basis",
    BASELINE: "what is added to the fit: kind none, or zbl with its radii",
}
INSTALL = (
    "pip install 'mlip-autopipec[pacemaker]' && pip install --no-deps tensorpotential==0.6.2.1"
    " tf_keras"
)

# Finnis-Sinclair embeddings: coefficient and exponent of each density.
LINEAR_EMBEDDING: Json = {
    "npot": "FinnisSinclairShiftedScaled",
    "fs_parameters": [1, 1],
    "ndensity": 1,
}
NONLINEAR_EMBEDDING: Json = {
    "npot": "FinnisSinclairShiftedScaled",
    "fs_parameters": [1, 1, 1, 0.5],
    "ndensity": 2,
}

# Shape of the basis by correlation order: radial functions and largest angular momentum.
NRADMAX_BY_ORDERS = (12, 5, 4, 3, 2)
LMAX_BY_ORDERS = (0, 4, 3, 2, 1)


def basis_spec(
    elements: Sequence[str], functions_per_element: int, cutoff_a: float, *, linear: bool
) -> Json:
    """The ``potential`` section of a pacemaker input: spherical Bessel functions, cosine cutoff at
    ``cutoff_a`` Å.
    """
    return {
        "deltaSplineBins": 0.001,
        "elements": sorted(elements),
        "embeddings": {"ALL": LINEAR_EMBEDDING if linear else NONLINEAR_EMBEDDING},
        "bonds": {
            "ALL": {
                "radbase": "SBessel",
                "radparameters": [5.25],
                "rcut": float(cutoff_a),
                "dcut": 0.01,
                "NameOfCutoffFunction": "cos",
            }
        },
        "functions": {
            "number_of_functions_per_element": int(functions_per_element),
            "ALL": {
                "nradmax_by_orders": list(NRADMAX_BY_ORDERS),
                "lmax_by_orders": list(LMAX_BY_ORDERS),
            },
        },
    }


def find_program(name: str) -> str:
    """Absolute path of a program beside this interpreter or on PATH; MissingProgramError when it is
    absent.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise MissingProgramError(f"the program {name!r} (python-ace)", INSTALL)
    return found


def require_package(name: str) -> None:
    """MissingProgramError unless the Python package can be imported (it is not imported here)."""
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise MissingProgramError(f"the Python package {name!r}", INSTALL)
