"""Structures as the padded arrays that ace-jax evaluates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.values import FloatArray

__all__ = ["Neighbours", "around", "enlarged", "joined", "padded", "rounded", "species_of"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """``vectors`` (n, k, 3) from each atom to its neighbours, ``index`` (n, k) of these among the
    atoms, ``real`` (n, k) False where a row is padded, ``species`` (n,).
    """

    vectors: FloatArray
    index: IntArray
    real: NDArray[np.bool_]
    species: IntArray

    def __len__(self) -> int:
        return len(self.species)


def rounded(number: int, step: int) -> int:
    """The next multiple of ``step``: each new shape of arrays costs seconds of compilation."""
    return max(1, -(-number // step)) * step


def species_of(symbols: Sequence[str], elements: Sequence[str]) -> IntArray:
    """Index into ``elements`` of each atom; InputError for one that the potential lacks."""
    missing = sorted(set(symbols) - set(elements))
    if missing:
        raise InputError("the potential does not know these elements", value=missing)
    return np.array([list(elements).index(symbol) for symbol in symbols], dtype=np.int64)


def around(atoms: Atoms, elements: Sequence[str], cutoff_a: float) -> Neighbours:
    """The neighbours of each atom within the cutoff."""
    i, j, vectors = neighbor_list("ijD", atoms, cutoff_a)
    return padded(i, j, vectors, species_of(atoms.get_chemical_symbols(), elements), cutoff_a)


def padded(
    i: IntArray, j: IntArray, vectors: FloatArray, species: IntArray, cutoff_a: float
) -> Neighbours:
    """Pairs, sorted by ``i``, as rows of equal length; padding lies at the cutoff, where every
    function ends.
    """
    n = len(species)
    counts = np.bincount(i, minlength=n)
    width = rounded(int(counts.max(initial=0)), 8)
    place = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
    out = np.zeros((n, width, 3))
    out[..., 0] = cutoff_a
    index = np.zeros((n, width), dtype=np.int64)
    out[i, place], index[i, place] = vectors, j
    return Neighbours(out, index, np.arange(width) < counts[:, None], species)


def enlarged(one: Neighbours, atoms: int, width: int, cutoff_a: float) -> Neighbours:
    """The same with padded atoms and neighbours, in a shape that is compiled already."""
    more: Any = ((0, atoms - len(one)), (0, width - one.real.shape[1]))
    vectors = np.zeros((atoms, width, 3))
    vectors[..., 0] = cutoff_a
    vectors[: len(one), : one.real.shape[1]] = one.vectors
    return Neighbours(
        vectors,
        np.pad(one.index, more),
        np.pad(one.real, more),
        np.pad(one.species, more[0]),
    )


def joined(parts: Sequence[Neighbours], atoms: int, width: int, cutoff_a: float) -> Neighbours:
    """Several structures side by side in one array of ``atoms`` rows."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    wide = [enlarged(part, len(part), width, cutoff_a) for part in parts]
    together = Neighbours(
        np.concatenate([part.vectors for part in wide]),
        np.concatenate([part.index + start for part, start in zip(wide, starts[:-1], strict=True)]),
        np.concatenate([part.real for part in wide]),
        np.concatenate([part.species for part in wide]),
    )
    return enlarged(together, atoms, width, cutoff_a)
