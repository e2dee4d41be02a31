"""A method of Quantum ESPRESSO, cells of silicon, and how pw.in is read back."""

from __future__ import annotations

import re
from typing import Any

from ase import Atoms
from ase.build import bulk

from mlip_autopipec.engines.dft.quantum_espresso import pseudos

__all__ = ["CONVENTIONAL", "PRIMITIVE", "entries", "method", "rattled"]

CONVENTIONAL = bulk("Si", "diamond", a=5.47, cubic=True)
PRIMITIVE = bulk("Si", "diamond", a=5.47)


def method(*elements: str, **changes: Any) -> dict[str, Any]:
    base = {
        "functional": "PBE",
        "pseudo_family": pseudos.DEFAULT_FAMILY,
        "pseudos": {element: f"{element}.upf" for element in elements},
        "cutoff_ry": 28.0,
        "rho_cutoff_ry": 112.0,
        "kspacing_per_a": 0.57,
        "kmesh_shifted": True,
        "occupations": "smearing",
        "smearing": "gaussian",
        "degauss_ry": 0.01,
        "spin_polarized": False,
        "starting_moments": {},
        "conv_thr_ry_per_atom": 1e-9,
    }
    return base | changes


def entries(text: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\S+) = (.*)$", text, re.MULTILINE))


def rattled(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=3)
    return atoms
