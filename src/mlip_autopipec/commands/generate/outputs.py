"""What ``mlip-auto generate`` leaves: rows for programs, structure files and a sheet of
pictures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.commands.generate.pictures import draw_sheet
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.generation.start_ranking import Start
from mlip_autopipec.science.lattices import bare

__all__ = [
    "SUMMARY",
    "GenerateSummary",
    "Generated",
    "StartRow",
    "StrategyRow",
    "StructureRow",
    "spacegroup",
    "summary_of",
    "write_files",
]

STARTS, CANDIDATES, SUMMARY = "starts.extxyz", "candidates.extxyz", "structures.json"
SHEET = "structures.png"
SYMPREC_A = 0.01


@dataclass(frozen=True, slots=True)
class Generated:
    """What was found; ``rejected``: strategy -> kind of reason -> how many."""

    starts: list[Start]
    accepted: list[Candidate] = field(default_factory=list)
    energies: list[float | None] = field(default_factory=list)
    proposed: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, dict[str, int]] = field(default_factory=dict)


def spacegroup(atoms: Atoms, symprec_a: float = SYMPREC_A) -> str | None:
    """International symbol and number, ``Fd-3m (227)``; None for what is not periodic or has no
    symmetry found.
    """
    if not atoms.pbc.all():
        return None
    found = symmetry.dataset(atoms, symprec_a)
    return None if found is None else f"{found.international} ({found.number})"


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureRow:
    """A structure in ``structures.json``; the energy is the surrogate's, None without one."""

    formula: str
    n_atoms: int
    strategy: str
    spacegroup: str | None
    surrogate_energy_ev_per_atom: float | None
    parent: str | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRow(StructureRow):
    """A start structure; ``near``: low enough above the lowest one (or the hull) to start from."""

    prototype: str | None
    above_ev_per_atom: float | None
    near: bool


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """Candidates of a strategy; ``rejected``: kind of reason -> how many."""

    proposed: int
    accepted: int
    rejected: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateSummary:
    """The content of ``structures.json``.

    ``structures``: the starts first, then what was accepted. ``strategies``: by name. ``files``:
    what -> path.
    """

    formula: str
    kind: str
    surrogate: str
    starts: tuple[StartRow, ...]
    structures: tuple[StructureRow, ...]
    strategies: dict[str, StrategyRow]
    wall_s: float = 0.0
    files: dict[str, str] = field(default_factory=dict)


def _row(candidate: Candidate, energy_ev_per_atom: float | None) -> StructureRow:
    atoms, provenance = candidate.atoms, candidate.provenance
    return StructureRow(
        formula=str(atoms.symbols.formula.reduce()[0].format("metal"))
        if atoms.pbc.any()
        else _hill(atoms),
        n_atoms=len(atoms),
        strategy=provenance.strategy,
        spacegroup=spacegroup(atoms),
        surrogate_energy_ev_per_atom=None
        if energy_ev_per_atom is None
        else round(energy_ev_per_atom, 6),
        parent=provenance.parent,
        name=provenance.group,
    )


def _hill(atoms: Atoms) -> str:
    return str(atoms.symbols.formula.format("hill"))


def _start_row(start: Start) -> StartRow:
    above = start.above_ev_per_atom
    return StartRow(
        **asdict(_row(start.candidate, start.energy_ev_per_atom)),
        prototype=start.candidate.provenance.parameters.get("prototype"),
        above_ev_per_atom=None if above is None else round(above, 6),
        near=start.near,
    )


def summary_of(plan: Plan, result: Generated) -> GenerateSummary:
    """Rows of all structures and counts of all strategies."""
    names = dict.fromkeys([*result.proposed, *result.rejected])
    accepted = [item.provenance.strategy for item in result.accepted]
    pairs = [
        *((start.candidate, start.energy_ev_per_atom) for start in result.starts),
        *zip(result.accepted, result.energies, strict=True),
    ]
    return GenerateSummary(
        formula=plan.material.formula,
        kind=plan.material.kind,
        surrogate=plan.surrogate.engine,
        starts=tuple(_start_row(start) for start in result.starts),
        structures=tuple(_row(*pair) for pair in pairs),
        strategies={
            name: StrategyRow(
                result.proposed.get(name, 0), accepted.count(name), result.rejected.get(name, {})
            )
            for name in names
        },
    )


def write_files(
    result: Generated, summary: GenerateSummary, out: Path, title: str
) -> dict[str, str]:
    """The structure files and the picture; name -> path."""
    listed = [(start.candidate, start.energy_ev_per_atom) for start in result.starts]
    written = {"summary": str(out / SUMMARY), "starts": str(out / STARTS)}
    ase.io.write(out / STARTS, [_told_atoms(*pair) for pair in listed], format="extxyz")
    if result.accepted:
        pairs = zip(result.accepted, result.energies, strict=True)
        ase.io.write(out / CANDIDATES, [_told_atoms(*pair) for pair in pairs], format="extxyz")
        written |= {"candidates": str(out / CANDIDATES)}
    captions = [
        f"{row.formula} {row.prototype or row.name}\n{row.spacegroup or 'molecule'}" + _above(row)
        for row in summary.starts
    ]
    pictures = list(zip([start.candidate.atoms for start in result.starts], captions, strict=True))
    shown: Counter[str] = Counter()
    for item in result.accepted:
        strategy = item.provenance.strategy
        shown[strategy] += 1
        if shown[strategy] <= 2:
            pictures.append((item.atoms, f"{strategy}\n{item.atoms.get_chemical_formula()}"))
    draw_sheet(pictures, out / SHEET, title)
    return written | {"picture": str(out / SHEET)}


def _above(row: StartRow) -> str:
    above = row.above_ev_per_atom
    return "" if above is None else f", {1000 * above:+.0f} meV/atom"


def _told_atoms(candidate: Candidate, energy_ev_per_atom: float | None) -> Atoms:
    atoms = bare(candidate.atoms)
    provenance = candidate.provenance
    atoms.info |= {
        "strategy": provenance.strategy,
        "name": provenance.group,
        "parent": provenance.parent or "",
    }
    if energy_ev_per_atom is not None and np.isfinite(energy_ev_per_atom):
        # Named, so that no reader takes the surrogate's energy for a DFT label.
        atoms.info["surrogate_energy_ev_per_atom"] = round(energy_ev_per_atom, 6)
    return atoms
