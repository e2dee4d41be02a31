"""Under which names a file has its labels: given by the user, or found, one choice a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.errors import InputError

__all__ = ["ENERGY_PER_ATOM", "Chosen", "Keys", "choose", "columns", "value"]

# What names begin or end with that mark the reference calculation: REF_energy (MACE), dft_energy
# (GAP), energy_vasp ... Of several the first that is there counts; none of them before one, since
# beside a marked name a plain one is often the prediction of another potential.
_MARKS = "ref reference dft qm target label vasp qe cp2k aims castep gpaw pbe pbesol scan r2scan"
TAGS: tuple[str, ...] = (*_MARKS.split(), "")
# With smearing the free energy is the one that the forces belong to: first where both are there.
ENERGIES = ("free_energy", "energy")
ENERGY_PER_ATOM = ("energy_per_atom", "energy_pa", "e_per_atom")
FORCES, STRESS, VIRIAL = ("forces", "force"), ("stress",), ("virial", "virials")
_ATOMS = {"numbers", "positions"}
# A tag that fewer frames have than this share of the most is not the one of the file.
_ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class Keys:
    """Names that the user gave; None: to be found."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The names that count, in their order; ``notes``: what a user should know of the choice."""

    energy: tuple[str, ...]
    forces: tuple[str, ...]
    stress: tuple[str, ...]
    virial: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


def columns(atoms: Atoms) -> dict[str, Any]:
    """All that a structure has beside atoms, cell and periodicity; results go before arrays before
    info.
    """
    results = {} if atoms.calc is None else dict(atoms.calc.results)
    found: dict[str, Any] = {**atoms.info, **atoms.arrays, **results}
    return {name: item for name, item in found.items() if name not in _ATOMS and item is not None}


def value(there: Mapping[str, Any], names: Sequence[str]) -> tuple[str, Any] | None:
    """The first of the names that a structure has, and what stands there."""
    return next(((name, there[name]) for name in names if name in there), None)


def choose(frames: Sequence[Mapping[str, Any]], keys: Keys, file: Path) -> Chosen:
    """One choice for the whole file.

    Raises InputError, with the keys that the file has, where a given one lacks, no energy or no
    forces are found, or several names would do.
    """
    there = Counter(name for frame in frames for name in frame)
    for option in ("energy", "forces", "stress", "virial"):
        given = getattr(keys, option)
        if given is not None and given not in there:
            raise InputError(
                f"no structure has it: {_in_words(frames)}",
                file=file,
                key=f"--{option}-key",
                value=given,
            )
    notes: list[str] = []
    energy: tuple[str, ...]
    if keys.energy is not None:
        tag, energy = None, (keys.energy,)
    else:
        tag = _tag(there, (*ENERGIES, *ENERGY_PER_ATOM), "energy", frames, file)
        energy = _names(there, tag, (*ENERGIES, *ENERGY_PER_ATOM))
    forces: tuple[str, ...]
    forces = (keys.forces,) if keys.forces else _forces(there, tag, frames, file)
    if tag and not keys.forces and not _names(there, tag, FORCES):
        notes.append(f"energies are of {energy[0]}, forces of {forces[0]}")
    stress: tuple[str, ...] = (keys.stress,) if keys.stress else ()
    virial: tuple[str, ...] = (keys.virial,) if keys.virial else ()
    if not stress and not virial:
        of = tag if tag is not None else _tag_of(energy[0])
        stress, virial = _names(there, of, STRESS), _names(there, of, VIRIAL)
    notes += _mixture(frames, energy)
    return Chosen(energy, forces, stress, virial, tuple(notes))


def _forces(
    there: Counter[str], tag: str | None, frames: Sequence[Mapping[str, Any]], file: Path
) -> tuple[str, ...]:
    same = () if tag is None else _names(there, tag, FORCES)
    if same:
        return same
    if tag and _names(there, "", ENERGIES) and _names(there, "", FORCES):
        raise InputError(
            f"energies of {tag!r} and plain ones are there, but forces are plain alone",
            file=file,
            hint="name what belongs together: --energy-key and --forces-key",
        )
    return _names(there, _tag(there, FORCES, "forces", frames, file), FORCES)


def _spelled(tag: str, stem: str) -> tuple[str, ...]:
    return (f"{tag}_{stem}", f"{stem}_{tag}") if tag else (stem,)


def _names(there: Mapping[str, int], tag: str, stems: Sequence[str]) -> tuple[str, ...]:
    """Names of the file (in any case) that are a stem with this tag, in the order of the stems."""
    lower: dict[str, list[str]] = {}
    for name in there:
        lower.setdefault(name.lower(), []).append(name)
    return tuple(
        name for stem in stems for word in _spelled(tag, stem) for name in lower.get(word, ())
    )


def _tag_of(name: str) -> str:
    stems = (*ENERGIES, *ENERGY_PER_ATOM)
    return next((tag for tag in TAGS for s in stems if name.lower() in _spelled(tag, s)), "")


def _tag(
    there: Counter[str],
    stems: Sequence[str],
    what: str,
    frames: Sequence[Mapping[str, Any]],
    file: Path,
) -> str:
    counts = {tag: max((there[n] for n in _names(there, tag, stems)), default=0) for tag in TAGS}
    most = max(counts.values())
    if not most:
        raise InputError(
            f"no {what} under a known name: {_in_words(frames)}",
            file=file,
            hint=f"name one: --{what}-key",
        )
    enough = [tag for tag, count in counts.items() if count >= _ENOUGH * most]
    marked = [tag for tag in enough if tag]
    if len(marked) > 1:
        names = ", ".join(name for tag in marked for name in _names(there, tag, stems))
        raise InputError(
            f"several {what} are there: {names}", file=file, hint=f"choose one: --{what}-key"
        )
    return enough[0]


def _mixture(frames: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> list[str]:
    used = Counter(found[0] for frame in frames if (found := value(frame, names)))
    if len(used) < 2:
        return []
    return ["energies are of " + " and ".join(f"{name} in {n}" for name, n in used.items())]


def _in_words(frames: Sequence[Mapping[str, Any]]) -> str:
    """The keys of a file by what stands there, on one line."""
    kinds: dict[str, set[str]] = {"numbers": set(), "vectors of atoms": set(), "tensors": set()}
    others: set[str] = set()
    for frame in frames:
        for name, item in frame.items():
            shape = np.shape(item) if isinstance(item, int | float | np.ndarray | list) else None
            if shape == ():
                kinds["numbers"].add(name)
            elif shape in ((6,), (9,), (3, 3)):
                kinds["tensors"].add(name)
            elif shape is not None and len(shape) == 2 and shape[1] == 3:
                kinds["vectors of atoms"].add(name)
            else:
                others.add(name)
    kinds["others"] = others
    told = [
        f"{kind} {', '.join(sorted(names)[:8])}{' ...' if len(names) > 8 else ''}"
        for kind, names in kinds.items()
        if names
    ]
    return "its keys are " + "; ".join(told) if told else "it has structures alone, without keys"
