"""pacemaker's pickled tables of structures, read without running what a pickle may ask for.

A pickle names functions that are called while it is read. Here only those that build arrays, tables
and structures are known, each by its whole name; a pickle that names another is refused.
"""

from __future__ import annotations

import gzip
import importlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.base.errors import InputError, MissingProgramError

__all__ = ["is_pickle", "read"]

INSTALL = "pip install 'mlip-autopipec[pacemaker]'"
CONVERT = (
    "if you trust it, convert it yourself: for r in pandas.read_pickle(FILE).itertuples():"
    " a = r.ase_atoms; a.calc = SinglePointCalculator(a, energy=r.energy, forces=r.forces);"
    " ase.io.write('data.xyz', a, append=True)"
)
_SUFFIXES = (".pckl", ".pkl", ".pickle", ".pckl.gzip", ".pckl.gz", ".pkl.gz", ".pkl.gzip")
# Unpacked: more is no training set, but a file made to fill the memory.
_LARGEST_BYTES = 4 * 2**30

# All that arrays, tables and structures are pickled by; none of them calls what the pickle chooses.
_KNOWN = {
    *((module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray")
      for name in ("_reconstruct", "scalar")),
    *((module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("builtins", "slice"),
    ("builtins", "set"),
    ("builtins", "complex"),
    ("ase.atoms", "Atoms"),
    ("ase.cell", "Cell"),
    ("ase.calculators.singlepoint", "SinglePointCalculator"),
    ("ase.calculators.calculator", "Parameters"),
    ("ase.constraints", "FixAtoms"),
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.series", "Series"),
    ("pandas.core.internals.managers", "BlockManager"),
    ("pandas.core.internals.managers", "SingleBlockManager"),
    ("pandas.core.internals.blocks", "new_block"),
    ("pandas._libs.internals", "_unpickle_block"),
    ("pandas.core.indexes.base", "_new_Index"),
    ("pandas.core.indexes.base", "Index"),
    ("pandas.core.indexes.range", "RangeIndex"),
    ("pandas.core.indexes.numeric", "Int64Index"),
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"),
}  # fmt: skip


def _bytes(text: str, codec: str) -> bytes:
    """How protocol 2 writes bytes; no other codec is looked up."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"the codec {codec!r}")
    return text.encode("latin1")


def _no_method(*_: object) -> None:
    """For methods that calculators carry, which nobody here needs: none is looked up."""


class _Careful(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # as protocol 2 calls it
        if (module, name) == ("_codecs", "encode"):
            return _bytes
        if (module, name) == ("builtins", "getattr"):
            return _no_method
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name}")
        if module == "pandas.core.indexes.numeric":
            module, name = "pandas.core.indexes.base", "Index"
        return getattr(importlib.import_module(module), name)


def is_pickle(file: Path, head: bytes) -> bool:
    """By its name, or by the first two bytes of every pickle since protocol 2."""
    if file.name.lower().endswith(_SUFFIXES):
        return True
    if head[:2] == b"\x1f\x8b":
        with gzip.open(file) as raw:
            try:
                head = raw.read(2)
            except (OSError, EOFError):
                return False
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def read(file: Path) -> list[Atoms]:
    """Structures of the column ``ase_atoms`` with energy and forces as results, weights as arrays.

    Raises InputError for a pickle that names anything but arrays, tables and structures, or lacks
    the column; MissingProgramError without pandas.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise MissingProgramError("the Python package 'pandas'", INSTALL) from error
    raw = file.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(raw)) as packed:
            raw = packed.read(_LARGEST_BYTES)
    try:
        table = _Careful(io.BytesIO(raw)).load()
    except pickle.UnpicklingError as error:
        raise InputError(
            f"this pickle asks for {error}, more than arrays, tables and structures: not read",
            file=file,
            hint=CONVERT,
        ) from None
    except Exception as error:  # a damaged stream fails anywhere
        raise InputError(
            f"this pickle cannot be read: {' '.join(str(error).split())[:120]}",
            file=file,
            hint=CONVERT,
        ) from None
    if not isinstance(table, pandas.DataFrame) or "ase_atoms" not in table.columns:
        raise InputError(
            "this pickle is no table with a column 'ase_atoms'", file=file, hint=CONVERT
        )
    return [_structure(row, index, file) for index, row in enumerate(table.to_dict("records"))]


def _structure(row: dict[str, Any], index: int, file: Path) -> Atoms:
    given = row.pop("ase_atoms")
    if not isinstance(given, Atoms):
        raise InputError("its column 'ase_atoms' holds something else", file=file, value=index)
    # made anew of numbers: what a pickle builds is not called as an object
    inside = vars(given)
    arrays, cell = inside.get("arrays", {}), inside.get("_cellobj")
    atoms = Atoms(
        numbers=np.asarray(arrays["numbers"], dtype=int),
        positions=np.asarray(arrays["positions"], dtype=float),
        cell=None if cell is None else np.asarray(vars(cell)["array"], dtype=float),
        pbc=np.asarray(inside.get("_pbc", False), dtype=bool),
    )
    results: dict[str, Any] = {}
    calculator = inside.get("_calc")
    if isinstance(calculator, SinglePointCalculator):
        found = vars(calculator).get("results", {})
        results = {key: found[key] for key in ("energy", "free_energy", "stress") if key in found}
        if "forces" in found:
            results["forces"] = np.asarray(found["forces"], dtype=float).reshape(-1, 3)
    for key, value in row.items():
        if key in ("energy", "free_energy") and value is not None:
            results[key] = float(value)
        elif key == "forces" and value is not None:
            results["forces"] = np.array([list(item) for item in value], dtype=float)
        elif key == "w_forces" and np.ndim(value) == 1 and len(value) == len(atoms):
            atoms.arrays["w_forces"] = np.asarray(value, dtype=float)
        elif isinstance(value, str | int | float):
            atoms.info[str(key)] = value
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
