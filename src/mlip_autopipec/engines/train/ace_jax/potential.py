"""A finished potential: energy, forces, virial and grades of neighbours, and the ASE calculator."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.engines.train.ace_jax.core import core_repulsion
from mlip_autopipec.engines.train.ace_jax.design import with_coefficients
from mlip_autopipec.engines.train.ace_jax.guard import grades
from mlip_autopipec.engines.train.ace_jax.jaxed import start
from mlip_autopipec.engines.train.ace_jax.neighbours import Neighbours, around, enlarged, rounded

__all__ = ["FILES", "GUARD", "MODEL", "POSTERIOR", "AceJaxCalculator", "Potential"]

MODEL, GUARD, POSTERIOR = "model.npz", "guard.npz", "posterior.npz"
FILES = {
    MODEL: "the expansion (ace-jax; python: ace_jax.ACECalculator, without the core repulsion)",
    GUARD: "its active set, for extrapolation grades",
    POSTERIOR: "what the predicted force errors and resampled fits are from",
}


@functools.cache
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Energy, forces and virial; and descriptors. Compiled once for each shape in a process."""
    start()
    import equinox

    def forces(model: Any, vectors: Any, zi: Any, zj: Any, index: Any, real: Any, z: Any) -> Any:
        return model.energy_forces_virial_dense(vectors, zi, zj, index, real, z)

    def descriptors(model: Any, vectors: Any, zi: Any, zj: Any, real: Any) -> Any:
        return model.site_basis_dense(vectors, zi, zj, real)

    return equinox.filter_jit(forces), equinox.filter_jit(descriptors)


class Potential:
    """The files of a potential folder ready for evaluation. ``elements``: sorted symbols.

    ``coefficients``: others (m,) in place of the potential's own, of a resampled fit.
    """

    def __init__(self, folder: Path, coefficients: FloatArray | None = None) -> None:
        for name in (MODEL, GUARD):
            if not (folder / name).is_file():
                raise InputError("no such file in the potential's folder", file=folder / name)
        start()
        from ace_jax.eval import load
        from ace_jax.eval.model import lean
        from ase.data import chemical_symbols

        self._model, meta, stored = load(folder / MODEL)
        if coefficients is not None:
            arrays = {name: stored[name] for name in stored.files}
            buffer = io.BytesIO()
            np.savez(buffer, **with_coefficients(arrays, coefficients))
            buffer.seek(0)
            self._model, _, _ = load(buffer)
        self._quick = lean(self._model)  # the same energies, without what only descriptors need
        self.elements = tuple(chemical_symbols[int(number)] for number in meta["elements"])
        self.cutoff_a = float(meta["rcut"])
        with np.load(folder / GUARD) as guard:
            self._guard = [
                (guard[f"columns_{element}"], guard[f"inverse_{element}"])
                for element in self.elements
            ]

    def compute(
        self, near: Neighbours, *, graded: bool, atoms: int | None = None
    ) -> tuple[float, FloatArray, FloatArray, FloatArray | None]:
        """Energy (eV), forces (n, 3), the derivative of the energy by strain (3, 3) in eV, and
        gamma (n,).

        ``atoms``: rows of the arrays that are compiled for, at least n.
        """
        n = len(near)
        padding = (atoms or n) - n
        wide = enlarged(near, n + padding, rounded(near.real.shape[1], 16), self.cutoff_a)
        zi = np.broadcast_to(wide.species[:, None], wide.index.shape)
        zj = wide.species[wide.index]
        evaluate, describe = _compiled()
        found = evaluate(self._quick, wide.vectors, zi, zj, wide.index, wide.real, wide.species)
        energy, forces, virial = (np.asarray(value) for value in found)
        # A padded atom still has its reference energy and its empty environment.
        energy_ev = float(energy) - (
            padding * self._empty(int(wide.species[-1])) if padding else 0.0
        )
        core, derivative, _ = core_repulsion(near, self.elements)
        forces = np.array(forces[:n])
        if core:
            forces += derivative.sum(axis=1)
            np.add.at(forces, near.index.ravel(), -derivative.reshape(-1, 3))
        strain = -np.asarray(virial) + np.einsum("nka,nkb->ab", derivative, near.vectors)
        gamma = None
        if graded:
            body, pair = describe(self._model, wide.vectors, zi, zj, wide.real)
            features = np.concatenate([np.asarray(body), np.asarray(pair)], axis=1)[:n]
            gamma = self._grades(features, near)
        return energy_ev + core, forces, strain, gamma

    @functools.lru_cache(maxsize=16)  # noqa: B019 - as long as the potential lives
    def _empty(self, species: int) -> float:
        """Energy (eV) of an atom without neighbours."""
        alone = Neighbours(
            np.full((1, 16, 3), self.cutoff_a),
            np.zeros((1, 16), dtype=np.int64),
            np.zeros((1, 16), dtype=bool),
            np.array([species]),
        )
        return self.compute(alone, graded=False)[0]

    def _grades(self, features: FloatArray, near: Neighbours) -> FloatArray:
        gamma = np.zeros(len(near))
        for kind, (columns, inverse) in enumerate(self._guard):
            ours = near.species == kind
            gamma[ours] = grades(features[np.ix_(ours, columns)], inverse)
        return gamma


class AceJaxCalculator(Calculator):
    """Total energy, forces, stress and ``results["gamma"]`` of a potential folder."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]  # type: ignore[misc]

    def __init__(self, folder: Path, coefficients: FloatArray | None = None) -> None:
        super().__init__()
        self.potential = Potential(folder, coefficients)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        potential = self.potential
        near = around(self.atoms, potential.elements, potential.cutoff_a)
        shape = 1 << max(3, (len(near) - 1).bit_length())  # few shapes, few compilations
        energy, forces, strain, gamma = potential.compute(near, graded=True, atoms=shape)
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": forces,
            "gamma": gamma,
        }
        if self.atoms.cell.rank == 3:
            stress = 0.5 * (strain + strain.T) / self.atoms.get_volume()
            self.results["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]
