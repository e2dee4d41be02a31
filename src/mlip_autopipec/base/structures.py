"""Structures as values: their JSON, who proposed them, and those that ask to be labelled.

``ase.Atoms`` is the structure type; lengths in Å.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.values import Json

__all__ = [
    "Candidate",
    "Provenance",
    "atoms_from_json",
    "atoms_to_json",
]


def atoms_to_json(atoms: Atoms) -> Json:
    """Numbers, positions (Å, rounded to 1e-8), cell (Å), pbc and, where set, initial magnetic
    moments.
    """
    data: Json = {
        "numbers": atoms.numbers.tolist(),
        "positions": np.round(atoms.positions, 8).tolist(),
        "cell": np.round(atoms.cell.array, 8).tolist(),
        "pbc": [bool(flag) for flag in atoms.pbc],
    }
    if atoms.has("initial_magmoms"):
        data["magmoms"] = np.round(atoms.get_initial_magnetic_moments(), 6).tolist()
    return data


def atoms_from_json(data: Mapping[str, Any]) -> Atoms:
    """Inverse of :func:`atoms_to_json`."""
    atoms = Atoms(
        numbers=data["numbers"], positions=data["positions"], cell=data["cell"], pbc=data["pbc"]
    )
    if "magmoms" in data:
        atoms.set_initial_magnetic_moments(data["magmoms"])
    return atoms


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who proposed a structure: strategy, its parameters, the parent's name, the seed, the
    potential in force.

    ``group`` names the family that must stay on one side of a train/test split (a parent and its
    children).
    """

    strategy: str
    group: str
    parameters: Json = field(default_factory=dict)
    parent: str | None = None
    seed: int | None = None
    potential: str | None = None

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Provenance:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A structure that asks to be labelled.

    ``forced``: kept by selection whatever its fingerprint (prototypes, equation-of-state points).
    ``core``: indices of the atoms whose forces may be learned; ``None`` where every atom counts,
    and energy and stress with them.
    ``gamma_max``: largest extrapolation grade seen, where it came from MD.
    """

    atoms: Atoms
    provenance: Provenance
    forced: bool = False
    core: tuple[int, ...] | None = None
    gamma_max: float | None = None

    def to_json(self) -> Json:
        return {
            "atoms": atoms_to_json(self.atoms),
            "provenance": self.provenance.to_json(),
            "forced": self.forced,
            "core": None if self.core is None else [int(i) for i in self.core],
            "gamma_max": None if self.gamma_max is None else float(self.gamma_max),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        core = data.get("core")
        return cls(
            atoms=atoms_from_json(data["atoms"]),
            provenance=Provenance.from_json(data["provenance"]),
            forced=bool(data.get("forced", False)),
            core=None if core is None else tuple(core),
            gamma_max=data.get("gamma_max"),
        )
