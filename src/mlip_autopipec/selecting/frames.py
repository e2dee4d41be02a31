"""The structures of a file one at a time, so that a file may be larger than memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.io.extxyz import read_xyz
from ase.io.formats import filetype, get_compression

from mlip_autopipec.base.errors import InputError

__all__ = ["Frames"]


class Frames:
    """``frames[i]`` is structure i (from 0) of ``file``, as ASE reads it.

    Extended XYZ files and ASE trajectories are read where the structure stands; other formats, and
    compressed files, are read as a whole. Raises InputError for what cannot be read or holds no
    structure, and (when it is read) for a structure without atoms, with positions that are not
    finite, or periodic without a lattice vector.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        if not file.is_file():
            raise InputError(
                "no such file", file=file, hint="give a file of structures that ASE reads"
            )
        found: tuple[Callable[[int], Atoms], int] = _guarded(file, None, lambda: _reader(file))
        self._read, self._count = found
        if not self._count:
            raise InputError("holds no structure", file=file)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Atoms:
        atoms: Atoms = _guarded(self.file, index, lambda: self._read(index))
        complaint = _complaint(atoms)
        if complaint:
            raise InputError(complaint, file=self.file, key=f"frame {index}")
        return atoms


def _reader(file: Path) -> tuple[Callable[[int], Atoms], int]:
    """What reads structure i, and how many there are."""
    kind = filetype(str(file)) if get_compression(str(file))[1] is None else "compressed"
    if kind == "extxyz":
        offsets = _offsets(file)
        return (lambda index: _extxyz_frame(file, offsets[index], offsets[index + 1])), len(
            offsets
        ) - 1
    if kind == "traj":
        trajectory = ase.io.Trajectory(str(file))
        return trajectory.__getitem__, len(trajectory)
    frames = list(ase.io.iread(str(file), index=":", do_not_split_by_at_sign=True))
    return (lambda index: frames[index]), len(frames)


def _offsets(file: Path) -> list[int]:
    """Where each frame of an extended XYZ file begins, and the end of the last one, in bytes."""
    offsets = [0]
    with file.open("rb") as lines:
        for line in lines:
            if line.split()[:1] == [b"VEC1"] or line[:3] == b"VEC" or not line.strip():
                offsets[-1] += len(line)
                continue
            try:
                count = int(line)
            except ValueError:
                text = line.decode(errors="replace").strip()[:60]
                raise ValueError(
                    f"frame {len(offsets) - 1}: a number of atoms should stand for {text!r}"
                ) from None
            length = len(line)
            for _ in range(count + 1):
                following = next(lines, b"")
                if not following:
                    raise ValueError(
                        f"frame {len(offsets) - 1} is cut off: {count} atoms should follow"
                    )
                length += len(following)
            offsets.append(offsets[-1] + length)
    return offsets


def _extxyz_frame(file: Path, start: int, stop: int) -> Atoms:
    with file.open("rb") as raw:
        raw.seek(start)
        text = raw.read(stop - start).decode()
    atoms: Atoms
    (atoms,) = read_xyz(io.StringIO(text), index=slice(None))
    return atoms


def _complaint(atoms: Atoms) -> str | None:
    if not len(atoms):
        return "no atoms"
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        return "positions or cell are not finite"
    if (atoms.numbers == 0).any():
        return "an atom has no element"
    if (np.array(atoms.pbc, dtype=bool) & (atoms.cell.lengths() < 1e-6)).any():
        return "periodic along a direction without a lattice vector"
    return None


def _guarded(file: Path, index: int | None, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # readers of ASE raise what they like
        text = " ".join(str(error).split()) or type(error).__name__
        key = None if index is None else f"frame {index}"
        raise InputError(
            f"ASE cannot read it: {text}", file=file, key=key, hint="see: ase info --formats"
        ) from None
