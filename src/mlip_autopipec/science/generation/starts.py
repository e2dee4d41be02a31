"""Start structures from the input alone: a file, prototypes for a composition, the lattices of an
alloy, a molecule.

What is proposed here is relaxed, ranked and freed of duplicates in :mod:`start_ranking`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Protocol

from ase import Atoms
from ase.formula import Formula

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.generation import aflow, molecule_names, solid_solution
from mlip_autopipec.science.generation.elements import elemental, touching
from mlip_autopipec.science.generation.matching import same_crystal
from mlip_autopipec.science.generation.start_ranking import Start, ranked, unranked
from mlip_autopipec.science.generation.start_relaxation import Evaluate
from mlip_autopipec.science.lattices import bare
from mlip_autopipec.science.reading import read_start

__all__ = ["System", "counts", "find", "proposals", "prototypes", "read_structure"]

# Larger prototypes cost more in DFT than a start structure is worth; binary and ternary ground
# states mostly fit.
MAX_PROTOTYPE_ATOMS = 24
# Of ordered crystals of other compositions, which are many: only the small ones.
MAX_NEIGHBOUR_ATOMS = 12
# Largest start cell unless the plan says otherwise.
MAX_ATOMS = 32
# How many are taken on trust where no surrogate can rank them.
UNRANKED = 8


class System(Protocol):
    """What starts are wanted for; the plan's ``material`` is one.

    ``kind``: ``crystal``, ``solid_solution`` or ``molecule``. ``structure_file`` goes before
    everything else.
    """

    @property
    def fractions(self) -> dict[str, float]: ...
    @property
    def kind(self) -> str: ...
    @property
    def structure_file(self) -> str | None: ...
    @property
    def molecule(self) -> str | None: ...


def find(
    system: System, evaluate: Evaluate | None, *, seed: int = 1, max_atoms: int = MAX_ATOMS
) -> list[Start]:
    """Start structures of ``system``, best first; ``evaluate`` None: unrelaxed, where no surrogate
    knows the elements.

    ``max_atoms``: of the largest cell that is labelled: other starts than the lowest and the user's
    own are left out where they have more.

    Raises InputError for an unreadable file or a composition without a start crystal,
    MissingProgramError for a package that is needed and absent.
    """
    found = proposals(system, seed=seed, max_atoms=max_atoms)
    own = system.structure_file is not None or system.kind == "molecule"
    if evaluate is None:
        return unranked(found, len(found) if own else UNRANKED)
    mixed = system.kind == "solid_solution" and not own
    best = ranked(found, evaluate, fractions=system.fractions if mixed else None, keep_all=own)
    if own:
        return best
    return [start for start in best if start is best[0] or len(start.candidate.atoms) <= max_atoms]


def proposals(system: System, *, seed: int = 1, max_atoms: int = MAX_ATOMS) -> list[Candidate]:
    """Unrelaxed starts. Raises as :func:`find` does."""
    if system.kind == "molecule":
        text = str(system.structure_file or system.molecule)
        return [
            Candidate(
                atoms,
                Provenance("start", f"conformer:{index}", {"prototype": "molecule"}, seed=seed),
            )
            for index, atoms in enumerate(molecule_names.conformers(text, seed=seed))
        ]
    if system.structure_file is not None:
        return read_structure(system.structure_file)
    if system.kind == "solid_solution" and len(system.fractions) > 1:
        ordered = [
            _compound(near, MAX_NEIGHBOUR_ATOMS)
            for near in solid_solution.neighbours(system.fractions)
        ]
        return [
            *solid_solution.disordered(system.fractions, seed, max_atoms),
            *solid_solution.pure_elements(system.fractions),
            *itertools.chain.from_iterable(ordered),
        ]
    return prototypes(system.fractions)


def read_structure(path: str | Path) -> list[Candidate]:
    """The structures of the user's file (ASE's and pymatgen's formats; all frames).

    Raises InputError.
    """
    frames = read_start(Path(path), key="material.structure_file", one_material=False)
    return [
        Candidate(bare(frame), Provenance("file", f"file:{index}", {"file": Path(path).name}))
        for index, frame in enumerate(frames)
    ]


def counts(fractions: Mapping[str, float]) -> dict[str, int]:
    """Atoms per formula unit: the smallest integers (up to 12 atoms of each) with these fractions.

    Raises InputError when there are none, as for a dilute solid solution.
    """
    lowest = min(fractions.values())
    ratios = {
        symbol: Fraction(value / lowest).limit_denominator(4) for symbol, value in fractions.items()
    }
    scale = lcm(*(ratio.denominator for ratio in ratios.values()))
    found = {symbol: int(ratio * scale) for symbol, ratio in ratios.items()}
    total = sum(found.values())
    if max(found.values()) > 12 or any(
        abs(found[s] / total - fractions[s]) > 0.01 for s in fractions
    ):
        raise _no_prototype(fractions)
    return found


def prototypes(fractions: Mapping[str, float]) -> list[Candidate]:
    """Unrelaxed start crystals for a stoichiometry, scaled to touching covalent radii.

    Elements: the reference state of ASE's table first, then the simple lattices. Compounds: every
    AFLOW prototype of the anonymised formula with every assignment of elements to its sites. Raises
    InputError where none is known.
    """
    wanted = counts(fractions)
    if len(wanted) == 1:
        return elemental(next(iter(wanted)))
    found = _compound(wanted, MAX_PROTOTYPE_ATOMS)
    if not found:
        raise _no_prototype(fractions)
    return found


def _compound(wanted: Mapping[str, int], max_atoms: int) -> list[Candidate]:
    """The commonest prototypes first, then the smallest; duplicate names are numbered."""
    items = aflow.prototypes_of(wanted, max_atoms)
    items.sort(key=lambda item: item.strukturbericht not in aflow.COMMON)
    formula = Formula.from_dict(dict(wanted)).format("metal")
    found: list[Candidate] = []
    names: dict[str, int] = {}
    for item in items:
        seen: list[Atoms] = []
        for assignment, atoms in aflow.decorations(item, wanted):
            scaled = touching(atoms)
            if any(
                same_crystal(scaled, other, strict=True) for other in seen
            ):  # Na and Cl may change places
                continue
            seen.append(scaled)
            unique = len(set(wanted.values())) == len(wanted)
            name = f"{item.strukturbericht or item.label}:{formula if unique else assignment}"
            names[name] = names.get(name, 0) + 1
            group = name if names[name] == 1 else f"{name}:{names[name]}"
            parameters = {"prototype": item.name, "aflow": item.label}
            found.append(Candidate(scaled, Provenance("start", group, parameters)))
    return found


def _no_prototype(fractions: Mapping[str, float]) -> InputError:
    return InputError(
        "no start crystal is known for this composition",
        key="material",
        value=", ".join(f"{symbol} {value:.3g}" for symbol, value in sorted(fractions.items())),
        hint=(
            "give a structure file (CIF, POSCAR, extended XYZ), or 'composition' if it is a solid"
            " solution"
        ),
    )
