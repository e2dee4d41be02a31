"""Start structures: the user's file, or prototypes for the composition, relaxed and ranked by the surrogate."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.constraints import FixSymmetry
from ase.data import atomic_numbers, covalent_radii, reference_states
from ase.filters import FrechetCellFilter
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS
from ase.spacegroup import crystal

from mlip_autopipec.errors import InputError
from mlip_autopipec.science.fingerprints import distinct, structure_fingerprints
from mlip_autopipec.science.generation.context import bare, standard_cell
from mlip_autopipec.types import Candidate, Provenance

__all__ = ["counts", "prototypes", "ranked", "read_structure", "relaxed"]

KEPT_ABOVE_LOWEST_EV_PER_ATOM = 0.1
# Close-packed stackings lie within the surrogate's error of each other: there the crystal known for the element wins.
REFERENCE_BONUS_EV_PER_ATOM = 0.02
ELEMENTAL = ("diamond", "fcc", "bcc", "hcp", "sc")

# Prototype -> (space group, a b c in units of a, alpha beta gamma, [(role, fractional position)]); role 0 is the
# first element of the (permuted) formula. Facts of crystallography (International Tables; AFLOW prototype names).
Sites = tuple[tuple[int, tuple[float, float, float]], ...]
CUBIC = (1.0, 1.0, 1.0, 90.0, 90.0, 90.0)
PROTOTYPES: dict[tuple[int, ...], dict[str, tuple[int, tuple[float, ...], Sites]]] = {
    (1, 1): {
        "rocksalt": (225, CUBIC, ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
        "cesium_chloride": (221, CUBIC, ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
        "zincblende": (216, CUBIC, ((0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)))),
        "wurtzite": (
            186,
            (1.0, 1.0, 1.633, 90.0, 90.0, 120.0),
            ((0, (1 / 3, 2 / 3, 0)), (1, (1 / 3, 2 / 3, 0.375))),
        ),
        "L1_0": (123, (1.0, 1.0, 1.4, 90.0, 90.0, 90.0), ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
    },
    (1, 2): {
        "fluorite": (225, CUBIC, ((0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)))),
        "rutile": (136, (1.0, 1.0, 0.64, 90.0, 90.0, 90.0), ((0, (0, 0, 0)), (1, (0.305, 0.305, 0)))),
        "AlB2": (191, (1.0, 1.0, 1.08, 90.0, 90.0, 120.0), ((0, (0, 0, 0)), (1, (1 / 3, 2 / 3, 0.5)))),
        # Origin choice 1, as in ASE: 8a and 16d.
        "C15_Laves": (227, CUBIC, ((0, (0, 0, 0)), (1, (0.625, 0.625, 0.625)))),
        "C16": (140, (1.0, 1.0, 0.804, 90.0, 90.0, 90.0), ((0, (0, 0, 0.25)), (1, (0.158, 0.658, 0)))),
    },
    (1, 3): {
        "L1_2": (221, CUBIC, ((0, (0, 0, 0)), (1, (0, 0.5, 0.5)))),
        "D0_3": (225, CUBIC, ((0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)), (1, (0.5, 0.5, 0.5)))),
        "A15": (223, CUBIC, ((0, (0, 0, 0)), (1, (0.25, 0, 0.5)))),
    },
    (2, 3): {
        "corundum": (
            167,
            (1.0, 1.0, 2.73, 90.0, 90.0, 120.0),
            ((0, (0, 0, 0.352)), (1, (0.306, 0, 0.25))),
        ),
    },
    (1, 1, 3): {
        "perovskite": (221, CUBIC, ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)), (2, (0, 0.5, 0.5)))),
    },
}


def read_structure(path: str | Path) -> list[Candidate]:
    """The structures of the user's file (every format ASE reads; all frames). Raises InputError when unreadable."""
    try:
        frames = ase.io.read(str(path), index=":")
    except Exception as error:  # ASE's readers raise anything, from KeyError to UnicodeDecodeError
        raise InputError(
            f"the structure file cannot be read: {type(error).__name__}: {error}",
            key="material.structure_file",
            value=str(path),
            hint="any format of ASE will do, for instance CIF, POSCAR or extended XYZ",
        ) from error
    frames = frames if isinstance(frames, list) else [frames]
    if not frames or any(len(frame) == 0 for frame in frames):
        raise InputError("the structure file holds no atoms", key="material.structure_file", value=str(path))
    return [
        Candidate(bare(frame), Provenance("file", f"file:{index}", {"file": Path(path).name}))
        for index, frame in enumerate(frames)
    ]


def counts(fractions: dict[str, float]) -> dict[str, int]:
    """Atoms per formula unit: the smallest integers (up to 12 atoms of each) with these fractions.

    Raises InputError when there are none, as for a dilute solid solution.
    """
    lowest = min(fractions.values())
    ratios = {symbol: Fraction(value / lowest).limit_denominator(4) for symbol, value in fractions.items()}
    scale = lcm(*(ratio.denominator for ratio in ratios.values()))
    found = {symbol: int(ratio * scale) for symbol, ratio in ratios.items()}
    total = sum(found.values())
    if max(found.values()) > 12 or any(abs(found[s] / total - fractions[s]) > 0.01 for s in fractions):
        raise _no_prototype(fractions)
    return found


def prototypes(fractions: dict[str, float]) -> list[Candidate]:
    """Unrelaxed start crystals for a composition, scaled to touching covalent radii.

    Elements: the reference state of ASE's table first, then the simple lattices. Compounds: every prototype of the
    stoichiometry with every assignment of elements to its sites. Raises InputError where none is known.
    """
    wanted = counts(fractions)
    if len(wanted) == 1:
        return _elemental(next(iter(wanted)))
    order = sorted(wanted, key=lambda symbol: (wanted[symbol], symbol))
    stoichiometry = tuple(wanted[symbol] for symbol in order)
    found: list[Candidate] = []
    for name, (spacegroup, shape, sites) in PROTOTYPES.get(stoichiometry, {}).items():
        for assigned in _assignments(order, wanted):
            symbols = [assigned[role] for role, _ in sites]
            atoms = crystal(symbols, [list(p) for _, p in sites], spacegroup=spacegroup, cellpar=_cellpar(shape))
            label = f"{name}:{'-'.join(assigned)}"
            found.append(Candidate(_touching(bare(atoms)), Provenance("start", label, {"prototype": name})))
    if not found:
        raise _no_prototype(fractions)
    return found


def _no_prototype(fractions: dict[str, float]) -> InputError:
    return InputError(
        "no start crystal is known for this composition",
        key="material.structure_file",
        value=", ".join(f"{symbol} {value:.3g}" for symbol, value in sorted(fractions.items())),
        hint="give a structure file (CIF, POSCAR, extended XYZ)",
    )


def _assignments(order: Sequence[str], wanted: dict[str, int]) -> list[tuple[str, ...]]:
    """The elements in every order that keeps the stoichiometry (elements of equal count change places)."""
    if len(order) == 2 and wanted[order[0]] == wanted[order[1]]:
        return [tuple(order), tuple(reversed(order))]
    if len(order) == 3 and wanted[order[0]] == wanted[order[1]]:
        return [tuple(order), (order[1], order[0], order[2])]
    return [tuple(order)]


def _cellpar(shape: tuple[float, ...], a: float = 5.0) -> list[float]:
    return [a * shape[0], a * shape[1], a * shape[2], *shape[3:]]


def _elemental(symbol: str) -> list[Candidate]:
    state = reference_states[atomic_numbers[symbol]] or {}
    reference = str(state.get("symmetry", ""))
    if reference in {"diatom", "atom", ""}:
        raise _no_prototype({symbol: 1.0})
    found: list[Candidate] = []
    # ASE may know the lattice but not the basis (alpha-Mn, Ga, B ...): then the simple lattices below must do.
    with contextlib.suppress(ValueError, RuntimeError, KeyError, NotImplementedError):
        found.append(Candidate(bulk(symbol), Provenance("start", f"reference:{symbol}", {"prototype": reference})))
    for lattice in ELEMENTAL:
        if lattice != reference or not found:
            atoms = _touching(bulk(symbol, lattice, a=4.0, c=4.0 * 1.633 if lattice == "hcp" else None))
            found.append(Candidate(atoms, Provenance("start", f"{lattice}:{symbol}", {"prototype": lattice})))
    return found


def _touching(atoms: Atoms) -> Atoms:
    """Scaled so that the nearest pair is as far apart as the sum of its covalent radii."""
    radii = covalent_radii[atoms.numbers]
    reach = 2.0
    # The cutoff grows in units of radii, so the nearest pair in these units is the nearest of all.
    while len((found := neighbor_list("ijd", atoms, reach * radii))[2]) == 0:
        reach *= 1.5
    i, j, distance = found
    ratio = float((distance / (radii[i] + radii[j])).min())
    scaled = bare(atoms)
    scaled.set_cell(atoms.cell.array / ratio, scale_atoms=True)
    return scaled


def relaxed(atoms: Atoms, calculator: Calculator, *, max_force_ev_per_a: float = 0.005, steps: int = 150) -> Atoms:
    """Positions and cell at zero stress (positions alone unless fully periodic), symmetry kept."""
    moving = bare(atoms)
    moving.calc = calculator
    if not moving.pbc.all():
        BFGS(moving, logfile=None).run(fmax=max_force_ev_per_a, steps=steps)
        return bare(moving)
    moving.set_constraint(FixSymmetry(moving, symprec=0.01, verbose=False))
    cell_and_positions: Any = FrechetCellFilter(moving)
    BFGS(cell_and_positions, logfile=None, maxstep=0.1).run(fmax=max_force_ev_per_a, steps=steps)
    return bare(moving)


def ranked(
    starts: Sequence[Candidate], calculator: Calculator | None, *, keep_all: bool = False
) -> tuple[list[Candidate], list[float]]:
    """Relaxed starts and their energies (eV/atom), lowest first, duplicates merged.

    Those within 0.1 eV/atom of the lowest are kept (all with ``keep_all``: the user's own structures). An element's
    reference state comes first when it lies within 0.02 eV/atom of the lowest. Without a calculator the order stays
    and the energies are an empty list.
    """
    if calculator is None:
        return [_with_atoms(start, start.atoms) for start in starts], []
    entries: list[tuple[float, int, Candidate]] = []
    for index, start in enumerate(starts):
        atoms = relaxed(_reduced(start.atoms), calculator)
        atoms = standard_cell(atoms, primitive=True) if not keep_all else atoms
        tried = bare(atoms)
        tried.calc = calculator
        energy = float(tried.get_potential_energy()) / len(atoms)
        if np.isfinite(energy):
            entries.append((energy, index, _with_atoms(start, atoms)))
    if not keep_all:
        lowest = min((energy for energy, _, _ in entries), default=0.0)
        entries = [entry for entry in entries if entry[0] - lowest <= KEPT_ABOVE_LOWEST_EV_PER_ATOM]
    entries.sort(key=_rank)
    elements = sorted({symbol for _, _, item in entries for symbol in item.atoms.get_chemical_symbols()})
    # Two relaxations of one crystal end within the optimiser's tolerance of each other.
    kept = distinct(structure_fingerprints([item.atoms for _, _, item in entries], elements), tolerance=0.02)
    return [entries[index][2] for index in kept], [entries[index][0] for index in kept]


def _rank(entry: tuple[float, int, Candidate]) -> tuple[float, int]:
    energy, index, start = entry
    known = start.provenance.group.startswith("reference:")
    return energy - (REFERENCE_BONUS_EV_PER_ATOM if known else 0.0), index


def _reduced(atoms: Atoms) -> Atoms:
    """The primitive cell where it is smaller: the same relaxation for less."""
    primitive = standard_cell(atoms, primitive=True)
    return primitive if len(primitive) < len(atoms) else bare(atoms)


def _with_atoms(start: Candidate, atoms: Atoms) -> Candidate:
    return Candidate(atoms, start.provenance, start.forced)
