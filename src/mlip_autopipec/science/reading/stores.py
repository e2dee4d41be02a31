"""Labelled sets that ASE does not read: MTP's .cfg, DeePMD's folders, pacemaker's pickles; and the
rows of ASE databases with their keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.science.reading import pickles
from mlip_autopipec.science.reading.checks import Given, elements_of_types

__all__ = ["is_store", "read", "rows"]

_HDF5, _MTP = b"\x89HDF\r\n\x1a\n", b"BEGIN_CFG"
# LAMMPS's and MLIP's order of a tensor of six numbers -> ASE's: xx yy zz yz xz xy, both.
_SIX = ("xx", "yy", "zz", "yz", "xz", "xy")


def is_store(file: Path) -> bool:
    """Whether it is a file for :func:`read`, by its first bytes."""
    with file.open("rb") as raw:
        head = raw.read(4096)
    if head.startswith((_HDF5, b"PK\x03\x04")) or head.lstrip().startswith(_MTP):
        return True
    return pickles.is_pickle(file, head)


def read(file: Path, given: Given) -> list[Atoms]:
    """Structures with energy, forces and (where there) stress as results.

    Raises InputError or ValueError for what cannot be used.
    """
    if file.is_dir():
        return _deepmd(file, given)
    with file.open("rb") as raw:
        head = raw.read(4096)
    if head.startswith(_HDF5) or head.startswith(b"PK\x03\x04"):
        what = "an HDF5 file" if head.startswith(_HDF5) else "a zip or npz archive"
        raise InputError(
            f"is {what}, whose names and units no standard tells",
            file=file,
            hint="convert it to extended XYZ (ase.io.write with energy and forces in eV, eV/Å)",
        )
    if head.lstrip().startswith(_MTP):
        return _mtp(file, given)
    return pickles.read(file)


def _labelled(
    atoms: Atoms, energy: Any = None, forces: Any = None, virial: FloatArray | None = None
) -> Atoms:
    """With results; ``virial``: (3, 3) eV, positive under compression."""
    results: dict[str, Any] = {}
    if energy is not None:
        results["energy"] = float(energy)
    if forces is not None:
        results["forces"] = np.asarray(forces, dtype=float).reshape(-1, 3)
    if virial is not None and atoms.pbc.all():
        tensor = -(virial + virial.T) / 2 / atoms.get_volume()
        results["stress"] = tensor.ravel()[[0, 4, 8, 5, 2, 1]]
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _mtp(file: Path, given: Given) -> list[Atoms]:
    """Configurations of the MLIP package (moment tensor potentials); its types begin with 0."""
    text = file.read_text(encoding="utf-8", errors="replace")
    blocks = re.findall(r"BEGIN_CFG(.*?)END_CFG", text, re.DOTALL)
    frames = []
    for number, block in enumerate(blocks):
        try:
            frames.append(_mtp_frame(block, given))
        except (IndexError, KeyError) as error:
            raise ValueError(f"frame {number} cannot be read: {error}") from None
    return frames


def _mtp_frame(block: str, given: Given) -> Atoms:
    lines = [line.split() for line in block.splitlines() if line.strip()]
    heads = {words[0].rstrip(":").lower(): place for place, words in enumerate(lines)}
    count = int(lines[heads["size"] + 1][0])
    columns = lines[heads["atomdata"]][1:]
    first = heads["atomdata"] + 1
    table = lines[first : first + count]

    def column(*names: str) -> FloatArray:
        places = [columns.index(name) for name in names]
        return np.array([[float(row[place]) for place in places] for row in table])

    cell: list[list[float]] = []
    if "supercell" in heads:
        for words in lines[heads["supercell"] + 1 :][:3]:
            if len(words) != 3:
                break
            cell.append([float(word) for word in words])
    symbols = elements_of_types([int(row[columns.index("type")]) + 1 for row in table], given)
    names = ("cartes_x", "cartes_y", "cartes_z")
    if names[0] in columns:
        atoms = Atoms(symbols, positions=column(*names))
    else:
        atoms = Atoms(symbols, scaled_positions=column("direct_x", "direct_y", "direct_z"))
    if len(cell) == 3:
        direct = names[0] not in columns
        atoms.set_cell(cell, scale_atoms=direct)
        atoms.pbc = True
    energy = float(lines[heads["energy"] + 1][0]) if "energy" in heads else None
    forces = column("fx", "fy", "fz") if "fx" in columns else None
    virial = None
    stress = next((heads[key] for key in ("plusstress", "stress") if key in heads), None)
    if stress is not None:
        order = [word.lower() for word in lines[stress][1:]]
        values = dict(zip(order, map(float, lines[stress + 1]), strict=True))
        sign = 1.0 if "plusstress" in heads else -1.0
        six = [sign * values[name] for name in _SIX]
        virial = _tensor(six)
    return _labelled(atoms, energy, forces, virial)


def _tensor(six: list[float]) -> FloatArray:
    xx, yy, zz, yz, xz, xy = six
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _deepmd(folder: Path, given: Given) -> list[Atoms]:
    """DeePMD's ``type.raw``, ``type_map.raw`` and ``set.*/*.npy``, of this folder and below."""
    systems = sorted(path.parent for path in folder.rglob("type.raw"))
    if not systems:
        raise InputError(
            "this folder is no DeePMD system", file=folder, hint="type.raw and set.*/coord.npy"
        )
    return [atoms for system in systems for atoms in _deepmd_system(system, given)]


def _deepmd_system(folder: Path, given: Given) -> list[Atoms]:
    names = folder / "type_map.raw"
    known = Given(tuple(names.read_text("utf-8").split())) if names.is_file() else given
    kinds = np.loadtxt(folder / "type.raw", dtype=int, ndmin=1)
    frames = []
    for part in sorted(folder.glob("set.*")):
        arrays = {
            name: np.load(part / f"{name}.npy", allow_pickle=False)
            for name in ("coord", "box", "energy", "force", "virial", "real_atom_types")
            if (part / f"{name}.npy").is_file()
        }
        if "coord" not in arrays:
            raise ValueError(f"{part.name} has no coord.npy")
        mixed = arrays.get("real_atom_types")
        for index, row in enumerate(arrays["coord"]):
            numbers = kinds if mixed is None else mixed[index]
            symbols = elements_of_types([int(number) + 1 for number in numbers], known)
            unknown = sorted(set(symbols) - set(chemical_symbols[1:]))
            if unknown:
                raise ValueError(f"type_map.raw has {unknown[0]!r}, which is no element")
            periodic = "box" in arrays and not (folder / "nopbc").exists()
            atoms = Atoms(
                symbols,
                positions=row.reshape(-1, 3),
                cell=arrays["box"][index].reshape(3, 3) if periodic else None,
                pbc=periodic,
            )
            virial = arrays.get("virial")
            frames.append(
                _labelled(
                    atoms,
                    _at(arrays, "energy", index),
                    _at(arrays, "force", index),
                    None if virial is None else virial[index].reshape(3, 3),
                )
            )
    return frames


def _at(arrays: Mapping[str, Any], name: str, index: int) -> Any:
    return (
        arrays[name][index].ravel()[0:]
        if name == "force" and name in arrays
        else (arrays[name].ravel()[index] if name in arrays else None)
    )


def rows(file: Path, kind: str) -> list[Atoms] | None:
    """Rows of an ASE database with their keys as ``info``; None for a JSON file that is none."""
    import ase.db

    if kind == "json" and '"ids"' not in file.read_text("utf-8", errors="replace"):
        return None
    frames = []
    with ase.db.connect(str(file), use_lock_file=False) as database:
        for row in database.select():
            atoms = row.toatoms()
            data = row.get("data") or {}
            atoms.info.update({**data, **row.key_value_pairs})
            frames.append(atoms)
    return frames
