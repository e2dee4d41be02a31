"""Labelled structures of a user's file: what of it is learned from, what is not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.science.label_gate import judge
from mlip_autopipec.science.label_keys import ENERGY_PER_ATOM, Chosen, Keys, choose, columns
from mlip_autopipec.science.label_keys import value as first
from mlip_autopipec.science.reading import Frames, Given

__all__ = ["LEARNED", "Keys", "LabelledFile", "in_words", "read_file", "read_labelled"]

FORCE_WEIGHTS = ("force_weight", "force_weights", "w_forces", "force_mask")
#: Weights of whole structures: 0 leaves one out, others are not used.
WEIGHTS = ("config_weight", "weight")
UNUSED_WEIGHTS = ("energy_weight", "forces_weight", "stress_weight", "virial_weight", "w_energy")
GROUP = ("group", "provenance_group", "family")
STRATEGY = ("config_type", "strategy")
SPLIT = ("split", "purpose")
CONVERGED = ("scf_converged", "converged", "is_converged", "electronic_converged")
LEARNED = "train"
_NO = (False, 0, "F", "False", "false", "no")
# ASE's order of the elements of a 3 x 3 tensor.
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
UNITS = "energies have to be totals in eV, forces in eV/Å; --keep-all learns them as they are"
# So many indices are told of what was left out.
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """``items``: structures to be used; ``splits``: what the file says of each (None: nothing);
    ``used`` and ``ignored``: names of its columns; ``left_out`` and ``notes``: what a user has to
    know, a line each; ``of``: structures in the file.
    """

    items: tuple[LabelledStructure, ...]
    splits: tuple[str | None, ...]
    used: tuple[str, ...]
    ignored: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    of: int = 0

    @property
    def train(self) -> tuple[LabelledStructure, ...]:
        """Those to learn from: all but what another split is written to."""
        return tuple(
            item
            for item, split in zip(self.items, self.splits, strict=True)
            if split in (None, LEARNED)
        )

    @property
    def held_out(self) -> tuple[LabelledStructure, ...]:
        """The others."""
        learned = {item.name for item in self.train}
        return tuple(item for item in self.items if item.name not in learned)


def read_labelled(path: Path) -> list[LabelledStructure]:
    """The structures of :func:`read_file`."""
    return list(read_file(path).items)


def read_file(
    path: Path, keys: Keys | None = None, given: Given | None = None, *, keep_all: bool = False
) -> LabelledFile:
    """The labelled structures of a file that :class:`Frames` reads.

    Energy (eV, the free one where both are there) and forces (eV/Å) are needed; ``stress`` (eV/Å³,
    ASE's sign) or ``virial`` (eV, the opposite sign, times the volume), groups, splits, config
    types and force weights (0: not learned) count where they are. ``keys``: names of the user;
    ``keep_all``: learn also what looks broken. Structures without a label, of an SCF that did not
    converge, copies and outliers are left out and counted. Raises InputError for a file without
    labels, or whose units do not fit each other.
    """
    frames = list(Frames(path, given))
    tables = [columns(atoms) for atoms in frames]
    chosen = choose(tables, keys or Keys(), path)
    used: set[str] = set()
    items: list[LabelledStructure] = []
    splits: list[str | None] = []
    lacking: dict[str, list[int]] = {}
    for index, (atoms, table) in enumerate(zip(frames, tables, strict=True)):
        found = _labelled(atoms, table, chosen, index, path, used)
        if isinstance(found, str):
            lacking.setdefault(found, []).append(index)
            continue
        split = first(table, SPLIT)
        used |= {split[0]} if split else set()
        items.append(found)
        splits.append(None if split is None else str(split[1]))
    if not items:
        raise InputError(
            "no structure can be learned: " + "; ".join(_counted(lacking, len(frames))), file=path
        )
    gate = judge(items, keep=keep_all)
    if gate.doubt is not None and not keep_all:
        raise InputError(gate.doubt, file=path, hint=UNITS)
    numbers = [int(item.name.rpartition(":")[2]) for item in items]
    for index, reason in gate.leave.items():
        lacking.setdefault(reason, []).append(numbers[index])
    kept = [index for index in range(len(items)) if index not in gate.leave]
    there = {name for table in tables for name in table}
    left = [items[index] for index in kept]
    if gate.without_stress:
        left = [replace(item, label=replace(item.label, stress=None)) for item in left]
    return LabelledFile(
        tuple(left),
        tuple(splits[index] for index in kept),
        tuple(sorted(used)),
        tuple(sorted(there - used)),
        tuple(_counted(lacking, len(frames))),
        (*chosen.notes, *_weights(tables), *gate.notes, *([gate.doubt] if gate.doubt else [])),
        len(frames),
    )


def _counted(lacking: Mapping[str, Sequence[int]], total: int) -> list[str]:
    """``3 of 30 structures have no energy: 4, 7, 9``."""
    told = []
    for reason, indices in lacking.items():
        more = f", ... ({len(indices) - _MOST_NAMED} more)" if len(indices) > _MOST_NAMED else ""
        named = ", ".join(map(str, indices[:_MOST_NAMED])) + more
        told.append(f"{len(indices)} of {total} structures left out, {reason}: {named}")
    return told


def _weights(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    names = Counter(
        name
        for table in tables
        for name in (*WEIGHTS, *UNUSED_WEIGHTS)
        if name in table and np.ndim(table[name]) == 0 and table[name] not in (0, 1)
    )
    return [f"{name} of {n} structures is not used: energies decide" for name, n in names.items()]


def _labelled(
    atoms: Atoms,
    table: Mapping[str, Any],
    chosen: Chosen,
    index: int,
    path: Path,
    used: set[str],
) -> LabelledStructure | str:
    """The structure with its label, or why there is none."""

    def pick(*names: str) -> Any:
        found = first(table, names)
        if found is None:
            return None
        used.add(found[0])
        return found[1]

    flag = pick(*CONVERGED)
    if flag is not None and np.ndim(flag) == 0 and flag in _NO:
        return "their SCF did not converge"
    weight = pick(*WEIGHTS)
    if weight is not None and np.ndim(weight) == 0 and weight == 0:
        return "their weight is 0"
    energy = _energy(pick(*chosen.energy), table, chosen, atoms, index, path)
    if energy is None:
        return "no usable energy"
    forces = _numbers(pick(*chosen.forces))
    if forces is None or forces.size != 3 * len(atoms) or not np.isfinite(forces).all():
        return "no usable forces"
    stress = None
    if atoms.pbc.all():
        if (given := pick(*chosen.stress)) is not None:
            stress = _voigt(given, chosen.stress[0], index, path)
        elif (given := pick(*chosen.virial)) is not None:
            stress = -_voigt(given, chosen.virial[0], index, path) / atoms.get_volume()
    label = Label(
        energy_ev=energy,
        forces=forces.reshape(-1, 3),
        stress=stress,
        method_hash="file",
        scf_steps=0,
        wall_s=0.0,
    )
    core = _core(pick("core"), pick(*FORCE_WEIGHTS), len(atoms))
    if core == ():
        return "no atom has a force weight above 0"
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    group, strategy = pick(*GROUP), pick(*STRATEGY)
    name = f"{path.name}:{index}"
    provenance = Provenance(
        "file" if strategy is None else str(strategy), name if group is None else str(group)
    )
    return LabelledStructure(name, bare, label, provenance, core)


def _energy(
    given: Any, table: Mapping[str, Any], chosen: Chosen, atoms: Atoms, index: int, path: Path
) -> float | None:
    """The total energy (eV), None for none. Raises InputError for energies of atoms."""
    value = _numbers(given)
    if value is None:
        return None
    name = first(table, chosen.energy)
    assert name is not None
    if value.size != 1 or value.ndim > 1:
        raise InputError(
            f"{name[0]!r} of structure {index} is a column of {value.size} numbers: energies of"
            " atoms, not the energy of the structure",
            file=path,
            hint="write the total energy (eV) as a key of the structure, or name its key:"
            " --energy-key",
        )
    total = float(value.ravel()[0])
    if name[0].lower().endswith(ENERGY_PER_ATOM):
        total *= len(atoms)
    return total if np.isfinite(total) else None


def _numbers(given: Any) -> FloatArray | None:
    if given is None:
        return None
    try:
        return np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        return None  # "None", "nan?", words: no number


def _core(listed: Any, weights: Any, count: int) -> tuple[int, ...] | None:
    """Atoms whose forces may be learned; None: all."""
    if listed is not None:
        found = tuple(int(index) for index in np.ravel(listed))
        return found if len(found) < count else None
    values = _numbers(weights)
    if values is None:
        return None
    learned = np.broadcast_to(values.ravel() > 0, (count,)) if values.size in (1, count) else None
    if learned is None or learned.all():
        return None
    return tuple(map(int, np.flatnonzero(learned)))


def _voigt(given: Any, name: str, index: int, path: Path) -> FloatArray:
    """(6,) in ASE's order, of six numbers or of a 3 x 3 tensor."""
    values = _numbers(given)
    if values is None or values.size not in (6, 9) or not np.isfinite(values).all():
        raise InputError(
            f"the {name} of structure {index} is no tensor",
            file=path,
            value=str(given)[:80],
            hint="six numbers (xx yy zz yz xz xy) or nine",
        )
    if values.size == 6:
        return values.ravel()
    tensor = (values.reshape(3, 3) + values.reshape(3, 3).T) / 2
    return np.array([tensor[row, column] for row, column in _VOIGT])


def in_words(columns: Sequence[str]) -> str:
    """Names on one line."""
    return ", ".join(columns) or "nothing"
