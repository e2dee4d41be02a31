"""Is CP2K here? Program, data files, and a calculation of seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ase.build import bulk

from mlip_autopipec.base.checks import Check
from mlip_autopipec.base.errors import MissingProgramError
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.cp2k import programs
from mlip_autopipec.engines.dft.cp2k.method import NAME, Wishes, derive
from mlip_autopipec.science.label_set import label_set_of

__all__ = ["checks", "example", "version_in"]


def checks() -> Iterator[Check]:
    """Program and data."""
    for name, find in (("program cp2k", programs.program), ("data of cp2k", programs.data_folder)):
        try:
            yield Check(name, True, detail=str(find()))
        except MissingProgramError as error:
            yield Check(name, False, detail=str(error), mend=programs.INSTALL)


def example() -> LabelJob:
    """Two silicon atoms on a coarse mesh, one of them displaced."""
    atoms = bulk("Si", a=5.47)
    atoms.positions[1, 0] += 0.1
    wishes = Wishes(grid_cutoff_ry=150.0, kspacing_per_a=1.0)
    method = derive(label_set_of([atoms]), wishes).method
    return LabelJob(atoms, {"engine": NAME, **method.model_dump(mode="json")})


def version_in(folder: Path) -> str:
    """The version that CP2K printed in a folder; empty where it printed none."""
    for path in sorted(folder.glob("*.out")):
        text = path.read_text(errors="replace")
        if match := re.search(r"CP2K\| version string:\s+CP2K version (\S+)", text):
            return match[1]
    return ""
