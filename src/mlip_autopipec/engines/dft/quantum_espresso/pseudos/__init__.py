"""Pseudopotential families: where the files come from, where they lie and what cutoffs they need.

``families`` holds the tables of facts, ``installed`` what lies on this machine, ``sources`` where
files are taken from, ``own`` families made from a user's folder, ``upf`` what a file's header says.
A new built-in family is one more file in ``tables``.
"""

from __future__ import annotations

from mlip_autopipec.engines.dft.quantum_espresso.pseudos.command import main
from mlip_autopipec.engines.dft.quantum_espresso.pseudos.families import (
    DEFAULT_FAMILY,
    Facts,
    Family,
    cutoffs,
    density_cutoffs_ry,
    families_with,
    family_facts,
)
from mlip_autopipec.engines.dft.quantum_espresso.pseudos.installed import (
    FamilyStatus,
    check_recorded,
    folder_of,
    install,
    list_families,
    locate,
    verify,
)
from mlip_autopipec.engines.dft.quantum_espresso.pseudos.upf import z_valence

__all__ = [
    "DEFAULT_FAMILY",
    "Facts",
    "Family",
    "FamilyStatus",
    "check_recorded",
    "cutoffs",
    "density_cutoffs_ry",
    "families_with",
    "family_facts",
    "folder_of",
    "install",
    "list_families",
    "locate",
    "main",
    "verify",
    "z_valence",
]
