"""Labelled structures of a user's file: what of it is learned from, and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.base.values import FloatArray

__all__ = ["LEARNED", "LabelledFile", "in_words", "read_file", "read_labelled"]

FORMAT_HINT = "an extended XYZ file with `energy` per structure and `forces` per atom (eV, eV/Å)"

# Names under which a file may have them, the first that is there counts.
# With smearing the free energy is the one that the forces belong to.
ENERGIES = ("free_energy", "energy")
FORCES = ("forces", "force")
WEIGHTS = ("force_weight", "force_weights", "w_forces", "force_mask")
STRESS = ("stress",)
VIRIAL = ("virial", "virials")
GROUP = ("group", "provenance_group")
SPLIT = "split"
LEARNED = "train"
_ATOMS = {"numbers", "positions"}
# ASE's order of the elements of a 3 x 3 tensor.
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """``items``: every structure; ``splits``: what the file says of each (None: nothing);
    ``used`` and ``ignored``: names of its columns.
    """

    items: tuple[LabelledStructure, ...]
    splits: tuple[str | None, ...]
    used: tuple[str, ...]
    ignored: tuple[str, ...]

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


def read_file(path: Path) -> LabelledFile:
    """Every structure of a file that ASE reads (also gzipped).

    Energy (eV, the free one where both are there) and forces (eV/Å) are needed; ``stress`` (eV/Å³,
    ASE's sign) or ``virial`` (eV, the opposite sign, times the volume), ``group``, ``split`` and
    ``force_weight`` per atom (0: not learned) count where they are. Without a group a structure is
    one of its own. Raises InputError for a file without energies and forces.
    """
    try:
        frames = ase.io.read(path, ":")
    except FileNotFoundError as error:
        raise InputError("there is no such file", file=path) from error
    except Exception as error:  # ASE's readers raise whatever the parser stumbled over
        raise InputError(
            f"ASE cannot read it: {error}", file=path, hint=f"give {FORMAT_HINT}"
        ) from error
    assert isinstance(frames, list)
    if not frames:
        raise InputError("it holds no structure", file=path, hint=f"give {FORMAT_HINT}")
    used: set[str] = set()
    items = tuple(_labelled(atoms, index, path, used) for index, atoms in enumerate(frames))
    splits = tuple(None if SPLIT not in a.info else str(a.info[SPLIT]) for a in frames)
    if any(split is not None for split in splits):
        used.add(SPLIT)
    there = {name for atoms in frames for name in _columns(atoms)}
    return LabelledFile(items, splits, tuple(sorted(used)), tuple(sorted(there - used)))


def _columns(atoms: Atoms) -> set[str]:
    """All that a structure of the file has beside atoms, cell and periodicity."""
    results = set() if atoms.calc is None else set(atoms.calc.results)
    return (results | set(atoms.info) | set(atoms.arrays)) - _ATOMS


def _labelled(atoms: Atoms, index: int, path: Path, used: set[str]) -> LabelledStructure:
    results: dict[str, Any] = dict(atoms.calc.results) if atoms.calc is not None else {}

    def first(*names: str) -> Any:
        for source in (results, atoms.arrays, atoms.info):
            for name in names:
                if source.get(name) is not None:
                    used.add(name)
                    return source[name]
        return None

    energy, forces = first(*ENERGIES), first(*FORCES)
    if energy is None or not np.isfinite(energy):
        raise InputError(
            f"structure {index} has no usable energy", file=path, hint=f"give {FORMAT_HINT}"
        )
    if forces is None or not np.isfinite(forces).all():
        raise InputError(
            f"structure {index} has no usable forces", file=path, hint=f"give {FORMAT_HINT}"
        )
    stress = None
    if atoms.pbc.all():
        if (given := first(*STRESS)) is not None:
            stress = _voigt(given, STRESS[0], index, path)
        elif (given := first(*VIRIAL)) is not None:
            stress = -_voigt(given, VIRIAL[0], index, path) / atoms.get_volume()
    label = Label(
        energy_ev=float(energy),
        forces=np.asarray(forces, dtype=float).reshape(-1, 3),
        stress=stress,
        method_hash="file",
        scf_steps=0,
        wall_s=0.0,
    )
    weights = first(*WEIGHTS)
    learned = None if weights is None else np.asarray(weights, dtype=float) > 0
    core = None if learned is None or learned.all() else tuple(map(int, np.flatnonzero(learned)))
    if core == ():
        raise InputError(
            f"structure {index} has no atom whose forces may be learned",
            file=path,
            hint="leave it out, or give some atoms a force weight above 0",
        )
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    group = first(*GROUP)
    name = f"{path.name}:{index}"
    provenance = Provenance("file", name if group is None else str(group))
    return LabelledStructure(name, bare, label, provenance, core)


def _voigt(given: Any, name: str, index: int, path: Path) -> FloatArray:
    """(6,) in ASE's order, of six numbers or of a 3 x 3 tensor."""
    values = np.asarray(given, dtype=float).ravel()
    if values.size not in (6, 9) or not np.isfinite(values).all():
        raise InputError(
            f"the {name} of structure {index} is no tensor",
            file=path,
            value=str(given),
            hint="six numbers (xx yy zz yz xz xy) or nine",
        )
    if values.size == 6:
        return values
    tensor = (values.reshape(3, 3) + values.reshape(3, 3).T) / 2
    return np.array([tensor[row, column] for row, column in _VOIGT])


def in_words(columns: Sequence[str]) -> str:
    """Names on one line."""
    return ", ".join(columns) or "nothing"
