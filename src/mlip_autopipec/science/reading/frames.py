"""The structures of a file one at a time, so that a file may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.io.formats import filetype, get_compression

from mlip_autopipec.base.errors import InputError, MlipError
from mlip_autopipec.science.reading import cif, extxyz, molfile, numbered, stores, vasp
from mlip_autopipec.science.reading.checks import (
    IN_THE_FILE,
    Given,
    complaint,
    same_elements,
    shared_site,
    uncharged,
    with_lattice,
)

__all__ = ["HINT", "Frames", "read_frames", "read_start"]

HINT = "any format of ASE or pymatgen will do, for instance CIF, POSCAR or extended XYZ"
# Enough of a file to tell its format.
_HEAD_BYTES = 65536
# Messages of ASE's readers are cut here: some hold the whole file.
_LONGEST_WORDS = 240

Reader = Callable[[int], Atoms]


class Frames:
    """``frames[i]`` is structure i (from 0) of ``file``: what ASE, pymatgen or this package reads.

    Elements are never guessed: types that are numbers are named by ``given`` or refused. Extended
    XYZ files and ASE trajectories are read where the structure stands; other formats, and
    compressed files, as a whole. Results, moments and info of the file stay on the structures.
    Raises InputError (one line) for what cannot be read or holds no structure, and (when it is
    read) for a structure of which nothing can be calculated: see :func:`checks.complaint`.
    """

    def __init__(self, file: Path, given: Given | None = None) -> None:
        self.file, self.given = Path(file), given or Given()
        if not self.file.exists():
            raise InputError(
                "no such file", file=file, hint="give a file of structures that ASE reads"
            )
        found: tuple[Reader, int] = self._guarded(None, lambda: _reader(self.file, self.given))
        self._read, self._count = found
        if not self._count:
            raise InputError("holds no structure", file=file, hint=HINT)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Atoms]:
        return (self[index] for index in range(self._count))

    def __getitem__(self, index: int) -> Atoms:
        atoms: Atoms = self._guarded(index, lambda: self._read(index))
        pbc = self.given.pbc
        if pbc is not None:
            atoms.pbc = pbc
        wrong = complaint(atoms, pbc_said=pbc is not None)
        if wrong:
            raise InputError(wrong, file=self.file, key=f"frame {index}")
        return atoms

    def _guarded(self, index: int | None, read: Callable[[], Any]) -> Any:
        key = None if index is None else f"frame {index}"
        try:
            return read()
        except MlipError:
            raise
        except ValueError as error:
            raise InputError(_one_line(error), file=self.file, key=key) from None
        except Exception as error:  # readers of ASE raise what they like
            raise InputError(
                f"ASE cannot read it: {_one_line(error)}",
                file=self.file,
                key=key,
                hint="see: ase info --formats",
            ) from None


def read_frames(path: str | Path, given: Given | None = None) -> list[Atoms]:
    """Every structure of a file, in its order. Raises InputError as :class:`Frames` does."""
    return list(Frames(Path(path), given))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_WORDS else text[:_LONGEST_WORDS] + " ..."


def _reader(file: Path, given: Given) -> tuple[Reader, int]:
    """What reads structure i, and how many there are."""
    if file.is_dir() or stores.is_store(file):
        frames = stores.read(file, given)
        return frames.__getitem__, len(frames)
    packed = get_compression(str(file))[1] is not None
    head = _head(file, packed)
    kind = _kind(file, head)
    if kind == "extxyz" and not packed:
        starts = extxyz.offsets(file)
        return (lambda i: _extxyz_frame(file, starts[i], starts[i + 1])), len(starts) - 1
    if kind == "traj" and not packed:
        trajectory = ase.io.Trajectory(str(file))
        return trajectory.__getitem__, len(trajectory)
    frames = _whole(file, kind, given, packed)
    return frames.__getitem__, len(frames)


def _head(file: Path, packed: bool) -> str:
    if packed:
        with ase.io.formats.open_with_compression(str(file), "rb") as raw:
            return bytes(raw.read(_HEAD_BYTES)).decode(errors="replace")
    with file.open("rb") as raw:
        return raw.read(_HEAD_BYTES).decode(errors="replace")


def _kind(file: Path, head: str) -> str:
    """ASE's name of the format, or ours where ASE would mistake it."""
    if head.lstrip().startswith("ITEM:"):
        return "lammps-dump"
    if numbered.is_lammps_data(head):
        return "lammps-data"
    if numbered.is_poscar(file, head):
        return "poscar"
    if file.suffix.lower() in (".xyz", ".extxyz", ".exyz") or extxyz.looks_like(head):
        return "extxyz"
    if file.suffix.lower() == ".cif":
        return "cif"
    try:
        return filetype(str(file))
    except ase.io.formats.UnknownFileTypeError:
        return "unknown"


def _whole(file: Path, kind: str, given: Given, packed: bool) -> list[Atoms]:
    text = _text(file, packed) if kind in _OF_TEXT else ""
    if kind == "extxyz":
        return _all_extxyz(text)
    if kind == "cif":
        return cif.read(text)
    if kind == "lammps-dump":
        return numbered.lammps_dump(text, given)
    if kind == "lammps-data":
        return numbered.lammps_data(text, given)
    if kind == "poscar":
        return numbered.poscar(file, text, given)
    if kind in ("vasp-xml", "vasp-out"):
        return vasp.read(file, kind)
    if kind in ("db", "json"):
        rows = stores.rows(file, kind)
        if rows is not None:
            return rows
    try:
        found = ase.io.read(str(file), index=":", do_not_split_by_at_sign=True)
    except Exception as error:  # pymatgen may know it
        return [_by_pymatgen(file, error)]
    frames: list[Atoms] = found if isinstance(found, list) else [found]
    if kind in molfile.TEXT_FORMATS and frames:
        frames[0].info["charge"] = molfile.charge(kind, text)
    return frames


_OF_TEXT = ("extxyz", "cif", "lammps-dump", "lammps-data", "poscar", *molfile.TEXT_FORMATS)


def _text(file: Path, packed: bool) -> str:
    if packed:
        with ase.io.formats.open_with_compression(str(file), "rb") as raw:
            return bytes(raw.read()).decode(errors="replace")
    return file.read_text(encoding="utf-8", errors="replace")


def _all_extxyz(text: str) -> list[Atoms]:
    frames: list[Atoms] = []
    lines, start = text.splitlines(keepends=True), 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        count = int(lines[start])
        stop = start + 2 + count
        if stop > len(lines):
            raise ValueError(f"frame {len(frames)} is cut off: {count} atoms should follow")
        while stop < len(lines) and lines[stop].startswith("VEC"):
            stop += 1
        frames.append(extxyz.frame("".join(lines[start:stop])))
        start = stop
    return frames


def _extxyz_frame(file: Path, start: int, stop: int) -> Atoms:
    with file.open("rb") as raw:
        raw.seek(start)
        return extxyz.frame(raw.read(stop - start).decode())


def _by_pymatgen(path: Path, first: Exception) -> Atoms:
    """For the few formats that ASE lacks (pymatgen's own JSON and YAML, CHGCAR-like files of odd
    names ...). Raises ``first``, the more useful answer, where it does not know better.
    """
    try:
        from pymatgen.core.structure import Structure
        from pymatgen.io.ase import AseAtomsAdaptor

        structure = Structure.from_file(str(path))
    except Exception:
        raise first from None
    if not structure.is_ordered:
        words = next(str(site.species) for site in structure if not site.is_ordered)
        raise ValueError(shared_site(words))
    found = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    return Atoms(numbers=found.numbers, positions=found.positions, cell=found.cell, pbc=True)


def read_start(
    path: Path,
    *,
    key: str,
    file: str | Path | None = None,
    lattice: bool = True,
    one_material: bool = True,
) -> list[Atoms]:
    """Structures that a campaign starts from: neutral, with a lattice (unless it is of a molecule)
    and without elements that the first lacks (unless ``one_material`` is False).

    ``key`` and ``file``: where the user named the file, for the message. Raises InputError.
    """
    try:
        frames = read_frames(path)
        for atoms in frames:
            uncharged(atoms)
        if lattice:
            with_lattice(frames)
        if one_material:
            same_elements(frames)
    except InputError as error:
        message = f"{error.key}: {error.message}" if error.key else error.message
        for on_the_command_line, in_the_file in IN_THE_FILE.items():
            message = message.replace(on_the_command_line, in_the_file)
        raise InputError(
            message, file=file, key=key, value=str(path), hint=error.hint or HINT
        ) from None
    except ValueError as error:
        raise InputError(str(error), file=file, key=key, value=str(path), hint=HINT) from None
    return frames
