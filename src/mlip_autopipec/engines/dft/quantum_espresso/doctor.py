"""Is Quantum ESPRESSO here? Programs and pseudopotentials, and a calculation of seconds."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ase.build import bulk

from mlip_autopipec.base.checks import Check
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.quantum_espresso import config, pseudos

__all__ = ["checks", "example", "version_in"]

_APT = "sudo apt-get install --no-install-recommends"


def checks() -> Iterator[Check]:
    """pw.x, mpirun and the pseudopotentials of the usual family."""
    program = os.environ.get(config.PROGRAM_VARIABLE) or "pw.x"
    mend = (
        f"{_APT} quantum-espresso libopenblas0-serial, or set"
        f" {config.PROGRAM_VARIABLE}=/path/to/pw.x"
    )
    yield _program("pw.x", program, mend)
    yield _program(
        "mpirun", "mpirun", f"{_APT} openmpi-bin   (only for DFT on several cores)", optional=True
    )
    yield _pseudopotentials()


def _program(name: str, command: str, mend: str, *, optional: bool = False) -> Check:
    found = shutil.which(command)
    if found is None:
        return Check(
            f"program {name}",
            False,
            detail=f"{command} was not found",
            mend=mend,
            optional=optional,
        )
    return Check(f"program {name}", True, detail=found, optional=optional)


def _pseudopotentials() -> Check:
    family = pseudos.DEFAULT_FAMILY
    states = pseudos.verify(family)
    wrong = {element: state for element, state in states.items() if state != "ok"}
    name, folder = f"pseudopotentials {family}", pseudos.folder_of(family)
    if wrong:
        shown = ", ".join(f"{element} {state}" for element, state in list(wrong.items())[:4])
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        return Check(
            name,
            False,
            detail=f"{shown}{more} in {folder}",
            mend=f"mlip-auto pseudos install {family}",
        )
    return Check(name, True, detail=f"{len(states)} files match their sha256 in {folder}")


def example() -> LabelJob:
    """Two silicon atoms at the Gamma point, one of them displaced."""
    family = pseudos.DEFAULT_FAMILY
    path = pseudos.locate(family, "Si")
    method = {
        "engine": "quantum_espresso",
        "functional": "PBE",
        "pseudo_family": family,
        "pseudos": {"Si": path.name},
        "pseudo_sha256": {"Si": pseudos.family_facts(family).elements["Si"].sha256},
        "cutoff_ry": 14.0,
        "rho_cutoff_ry": 56.0,
        "kspacing_per_a": 10.0,
        "kmesh_shifted": False,
        "occupations": "smearing",
        "smearing": "gaussian",
        "degauss_ry": 0.01,
        "spin_polarized": False,
        "starting_moments": {},
        "conv_thr_ry_per_atom": 1e-9,
    }
    atoms = bulk("Si", a=5.47)
    atoms.positions[1, 0] += 0.1
    return LabelJob(atoms, method)


def version_in(folder: Path) -> str:
    """The version that pw.x printed in a folder; empty where it printed none."""
    for text in folder.glob("*.out"):
        if match := re.search(r"v\.(\S+) starts", text.read_text(errors="replace")):
            return match[1]
    return ""
