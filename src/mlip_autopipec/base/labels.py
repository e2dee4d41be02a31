"""DFT calculations asked for, what they said, and the potentials that were fitted to them.

Inside: eV, Å, amu; stress in eV/Å³, Voigt order xx yy zz yz xz xy, positive under tension (ASE's
convention). Every value has ``to_json``/``from_json``: what one process writes another reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.structures import Provenance, atoms_from_json, atoms_to_json
from mlip_autopipec.base.values import FloatArray, Json, content_hash

__all__ = [
    "Label",
    "LabelJob",
    "LabelledStructure",
    "PotentialRef",
]


@dataclass(frozen=True, slots=True)
class LabelJob:
    """One DFT calculation: a structure, the physical method and the numerical knobs that a repair
    may turn.

    ``method`` holds everything that changes the physics (its hash is ``method_hash``); ``numerics``
    what does not (mixing, diagonalisation, steps, parallelisation, restart). ``kmesh`` overrides
    the mesh that follows from the method's k-point spacing (used to keep one mesh along an equation
    of state).
    """

    atoms: Atoms
    method: Json
    numerics: Json = field(default_factory=dict)
    kmesh: tuple[int, int, int] | None = None

    @property
    def method_hash(self) -> str:
        return content_hash(self.method)

    def with_numerics(self, **changes: Any) -> LabelJob:
        """The same physics with other numerical knobs."""
        return replace(self, numerics={**self.numerics, **changes})

    def to_json(self) -> Json:
        return {
            "atoms": atoms_to_json(self.atoms),
            "method": self.method,
            "numerics": self.numerics,
            "kmesh": None if self.kmesh is None else list(self.kmesh),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LabelJob:
        mesh = data.get("kmesh")
        return cls(
            atoms=atoms_from_json(data["atoms"]),
            method=dict(data["method"]),
            numerics=dict(data.get("numerics", {})),
            kmesh=None if mesh is None else (int(mesh[0]), int(mesh[1]), int(mesh[2])),
        )


@dataclass(frozen=True, slots=True)
class Label:
    """What one DFT calculation says.

    ``energy_ev`` is the free energy E-TS that matches the forces; ``forces`` (n, 3) eV/Å;
    ``stress`` (6,) eV/Å³.
    ``energy_reference_ev``: sum of isolated-atom energies where known, so that a cohesive energy
    can be formed.
    """

    energy_ev: float
    forces: FloatArray
    stress: FloatArray | None
    method_hash: str
    scf_steps: int
    wall_s: float
    total_magnetization: float = 0.0
    energy_reference_ev: float | None = None
    attempts: int = 1

    def to_json(self) -> Json:
        data = {name: getattr(self, name) for name in self.__slots__}
        data["forces"] = np.asarray(self.forces).tolist()
        data["stress"] = None if self.stress is None else np.asarray(self.stress).tolist()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Label:
        values = dict(data)
        values["forces"] = np.asarray(values["forces"], dtype=float).reshape(-1, 3)
        if values.get("stress") is not None:
            values["stress"] = np.asarray(values["stress"], dtype=float)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class LabelledStructure:
    """A row of the training set: structure, label, who proposed it, and which atoms may be learned
    (``core``).
    """

    name: str
    atoms: Atoms
    label: Label
    provenance: Provenance
    core: tuple[int, ...] | None = None

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "atoms": atoms_to_json(self.atoms),
            "label": self.label.to_json(),
            "provenance": self.provenance.to_json(),
            "core": None if self.core is None else list(self.core),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LabelledStructure:
        core = data.get("core")
        return cls(
            name=data["name"],
            atoms=atoms_from_json(data["atoms"]),
            label=Label.from_json(data["label"]),
            provenance=Provenance.from_json(data["provenance"]),
            core=None if core is None else tuple(core),
        )


@dataclass(frozen=True, slots=True)
class PotentialRef:
    """A trained potential in its own immutable folder ``potentials/<name>/``.

    ``trainer``: who made it, and knows its files. Beside them lie ``potential.json`` (the maker),
    ``metrics.json`` and ``predictions.json``. ``folder`` is relative to the run folder.
    """

    name: str
    folder: str
    trainer: str
    elements: tuple[str, ...]
    labels: int
    metrics: Json = field(default_factory=dict)

    def to_json(self) -> Json:
        return {**asdict(self), "elements": list(self.elements)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PotentialRef:
        return cls(**{**data, "elements": tuple(data["elements"])})
