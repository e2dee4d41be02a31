"""Basis and design matrix: what energies, forces and stresses of structures are made of."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.ace_jax.jaxed import start
from mlip_autopipec.engines.train.ace_jax.neighbours import Neighbours, around, joined, rounded

__all__ = ["Basis", "Rows", "build_basis", "design_rows", "with_coefficients"]

# Atoms and structures in one evaluation: compiled once (20 s of CPU), then kept on disk.
BATCH_ATOMS, BATCH_STRUCTURES = 64, 32

# Of ACEpotentials' prior, the fourth power of the degree. Silicon, 50 labels of a campaign,
# cross-validated: 21.6 meV/atom and 173 meV/Å with 0.25, 27.5 and 167 with 0.5.
PENALTY_POWER = 0.25


@dataclass(frozen=True)
class Basis:
    """The functions of a potential, not yet fitted. ``penalty`` (n_functions,): rises with degree
    (after the smoothness prior of ACEpotentials). ``arrays``: of ``model.npz``.
    """

    arrays: dict[str, Any]
    model: Any
    elements: tuple[str, ...]
    cutoff_a: float
    many_body: int
    pair: int
    penalty: FloatArray

    @property
    def functions(self) -> int:
        """Columns of the design matrix: functions of each element."""
        return len(self.penalty)

    def save(self, coefficients: FloatArray, references: dict[str, float], path: Path) -> None:
        """``model.npz`` with the readout (one coefficient a column) and the reference energies
        (eV).
        """
        fitted = with_coefficients(self.arrays, coefficients)
        fitted["E0"] = np.array([references[element] for element in self.elements])
        np.savez(path, **fitted)


def with_coefficients(arrays: dict[str, Any], coefficients: FloatArray) -> dict[str, Any]:
    """The arrays of ``model.npz`` with others (m,) as readout: many-body functions of each element,
    then pair functions of each.
    """
    kinds, n = np.shape(arrays["WB"])
    many_body, pair = coefficients[: n * kinds], coefficients[n * kinds :]
    readout = {
        "WB": many_body.reshape(n, kinds).T.copy(),
        "Wpair": pair.reshape(n, -1).T.copy(),
    }
    return {**arrays, **readout}


@dataclass(frozen=True, slots=True)
class Rows:
    """The design matrix of one structure: ``energy`` (m,), ``forces`` (n, 3, m) and ``virial`` (6,
    m), -stress times volume in ASE's order; ``descriptors`` (n, m / elements), the functions of
    each atom.
    """

    energy: FloatArray
    forces: FloatArray
    virial: FloatArray
    descriptors: FloatArray


def build_basis(
    elements: Sequence[str], order: int, max_degree: int, cutoff_a: float, seed: int = 0
) -> Basis:
    """All functions of ``elements`` (sorted) up to order and degree."""
    start()
    from ace_jax.basis.export import save_npz
    from ace_jax.basis.model import build_model
    from ace_jax.eval import load

    built = build_model(list(elements), order, max_degree, rcut=cutoff_a, seed=seed)
    buffer = io.BytesIO()
    save_npz(buffer, built)
    buffer.seek(0)
    model, meta, stored = load(buffer)
    return Basis(
        arrays={name: stored[name] for name in stored.files},
        model=model,
        elements=tuple(elements),
        cutoff_a=float(meta["rcut"]),
        many_body=int(meta["n_B"]),
        pair=int(meta["n_pair"]),
        penalty=np.asarray(built.gamma, dtype=float) ** PENALTY_POWER,
    )


def design_rows(basis: Basis, structures: Sequence[Atoms]) -> list[Rows]:
    """The design matrix of each structure, of the expansion alone (no reference, no core)."""
    import equinox
    from ace_jax.fit.inducing import GPConfig
    from ace_jax.fit.rows import linear_rows

    parts = [around(atoms, basis.elements, basis.cutoff_a) for atoms in structures]
    width = rounded(max((part.real.shape[1] for part in parts), default=8), 16)
    most = rounded(max([BATCH_ATOMS, *map(len, parts)]), 16)
    groups, slots = _packed(parts, most), BATCH_STRUCTURES
    config = GPConfig(
        r0=2.5,
        rcut=basis.cutoff_a,
        n_B=basis.many_body,
        n_pair=basis.pair,
        NZ=len(basis.elements),
        C=slots,
    )

    def of_batch(model: Any, batch: Any) -> Any:
        rows, descriptors, _ = linear_rows(model, config, batch)
        return rows.E, rows.F, rows.V, descriptors

    evaluate = equinox.filter_jit(of_batch)
    found: list[Rows] = []
    for group in groups:
        batch = _batch(group, most, width, slots, basis.cutoff_a)
        energy, forces, virial, descriptors = map(np.asarray, evaluate(basis.model, batch))
        begin = 0
        for number, part in enumerate(group):
            atoms = slice(begin, begin := begin + len(part))
            # xx yy zz zy zx yx, as in ASE
            found.append(Rows(energy[number], forces[atoms], virial[number], descriptors[atoms]))
    return found


def _packed(parts: Sequence[Neighbours], most: int) -> Iterator[list[Neighbours]]:
    """Structures in turn, as many together as have ``most`` atoms."""
    group: list[Neighbours] = []
    for part in parts:
        full = len(group) == BATCH_STRUCTURES or sum(map(len, group)) + len(part) > most
        if group and full:
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _batch(group: Sequence[Neighbours], atoms: int, width: int, slots: int, cutoff_a: float) -> Any:
    """ace-jax's own Dataset of one batch, without labels."""
    import jax.numpy as jnp
    from ace_jax.fit.data import Dataset

    all_of = joined(group, atoms, width, cutoff_a)
    owner = np.concatenate([np.full(len(part), number) for number, part in enumerate(group)])
    fields: dict[str, Any] = dict.fromkeys(Dataset._fields, jnp.zeros(1))
    fields |= {
        "rij": jnp.asarray(all_of.vectors),
        "nbr": jnp.asarray(all_of.index, dtype=jnp.int32),
        "nbr_mask": jnp.asarray(all_of.real),
        "node_z": jnp.asarray(all_of.species, dtype=jnp.int32),
        "node_cfg": jnp.asarray(
            np.pad(owner, (0, atoms - len(owner)), constant_values=slots), dtype=jnp.int32
        ),
        "node_mask": jnp.asarray(np.arange(atoms) < len(owner)),
        "y_E": jnp.zeros(slots),
    }
    return Dataset(**fields)
