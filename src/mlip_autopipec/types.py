"""The values that rooms exchange: frozen, with units in the names where a number leaves a room.

``ase.Atoms`` is the structure type. Inside: eV, Å, amu; stress in eV/Å³, Voigt order xx yy zz yz xz xy, positive under
tension (ASE's convention). Every value has ``to_json``/``from_json``: what one process writes another reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

__all__ = [
    "Candidate",
    "EndState",
    "Evidence",
    "Failure",
    "Json",
    "Label",
    "LabelJob",
    "LabelledStructure",
    "Outcome",
    "PotentialRef",
    "Provenance",
    "Task",
    "TaskKind",
    "TaskSpec",
    "atoms_from_json",
    "atoms_to_json",
    "content_hash",
]

Json = dict[str, Any]
FloatArray = NDArray[np.float64]
EndState = Literal["converged", "budget_exhausted", "stalled", "needs_attention"]
TaskKind = Literal["generate", "select", "label", "train", "explore", "harvest", "validate", "hit_rate"]


def content_hash(value: Any, length: int = 12) -> str:
    """A hash of JSON content: equal content, equal name; key order does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def atoms_to_json(atoms: Atoms) -> Json:
    """Numbers, positions (Å, rounded to 1e-8), cell (Å), pbc and, where set, initial magnetic moments."""
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
    atoms = Atoms(numbers=data["numbers"], positions=data["positions"], cell=data["cell"], pbc=data["pbc"])
    if "magmoms" in data:
        atoms.set_initial_magnetic_moments(data["magmoms"])
    return atoms


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who proposed a structure: strategy, its parameters, the parent's name, the seed, the potential in force.

    ``group`` names the family that must stay on one side of a train/test split (a parent and its children).
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
    ``core``: indices of the atoms whose forces may be learned; ``None`` for a whole cell without a mask.
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


@dataclass(frozen=True, slots=True)
class Evidence:
    """A line of a program's output that shows why a verdict was given."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A calculation that did not succeed: a value, never an exception swallowed.

    ``kind`` is a class name of the engine's table (for Quantum ESPRESSO: ``engines/dft/quantum_espresso/failures.py``)
    or ``lost`` when the worker vanished without an outcome, or ``error`` for an unexpected Python exception.
    """

    kind: str
    message: str
    evidence: tuple[Evidence, ...] = ()

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        return cls(data["kind"], data["message"], tuple(Evidence(**item) for item in data.get("evidence", ())))


@dataclass(frozen=True, slots=True)
class LabelJob:
    """One DFT calculation: a structure, the physical method and the numerical knobs that a repair may turn.

    ``method`` holds everything that changes the physics (its hash is ``method_hash``); ``numerics`` what does not
    (mixing, diagonalisation, steps, parallelisation, restart). ``kmesh`` overrides the mesh that follows from the
    method's k-point spacing (used to keep one mesh along an equation of state).
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

    ``energy_ev`` is the free energy E-TS that matches the forces; ``forces`` (n, 3) eV/Å; ``stress`` (6,) eV/Å³.
    ``energy_reference_ev``: sum of isolated-atom energies where known, so that a cohesive energy can be formed.
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
    """A row of the training set: structure, label, who proposed it, and which atoms may be learned (``core``)."""

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

    Files inside, by fixed names: ``potential.yaml`` (ACE, pyace format), ``potential.asi`` (active set inverse),
    ``potential.yace`` (LAMMPS pace), ``metrics.json``. ``folder`` is relative to the run folder.
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

    def path(self, root: Path, file: str = "potential.yaml") -> Path:
        return root / self.folder / file


@dataclass(frozen=True, slots=True)
class Task:
    """A unit of work. Its id is the hash of its content, so planning it twice is a no-op.

    ``needs``: ids of finished tasks whose attempt folders the worker may read. ``cores``: what it occupies.
    Smaller ``priority`` runs first.
    """

    kind: TaskKind
    payload: Json
    needs: tuple[str, ...] = ()
    cores: int = 1
    priority: int = 50

    @property
    def id(self) -> str:
        return f"{self.kind}-{content_hash([self.kind, self.payload, list(self.needs)])}"

    def to_json(self) -> Json:
        return {
            "kind": self.kind,
            "payload": self.payload,
            "needs": list(self.needs),
            "cores": self.cores,
            "priority": self.priority,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Task:
        return cls(data["kind"], data["payload"], tuple(data["needs"]), data["cores"], data["priority"])


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What a worker reads (``spec.json``): the task, which attempt this is, and where its inputs lie.

    ``root``: the run folder (absolute). ``inputs``: id of a needed task -> its attempt folder, relative to ``root``.
    ``payload``: the task's payload, with the changes that a repair made. ``salvage``: folder (relative) of a dead
    attempt that may hold a finished result nobody reported.
    """

    task: Task
    attempt: int
    root: str
    payload: Json
    inputs: dict[str, str] = field(default_factory=dict)
    salvage: str | None = None

    def input_folder(self, task_id: str) -> Path:
        return Path(self.root) / self.inputs[task_id]

    def to_json(self) -> Json:
        return {
            "task": self.task.to_json(),
            "attempt": self.attempt,
            "root": self.root,
            "payload": self.payload,
            "inputs": self.inputs,
            "salvage": self.salvage,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskSpec:
        return cls(
            Task.from_json(data["task"]),
            data["attempt"],
            data["root"],
            data["payload"],
            dict(data["inputs"]),
            data.get("salvage"),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker reports (``outcome.json``): a small result or a failure; large data lies in files beside it."""

    result: Json | None
    failure: Failure | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.failure is None

    def to_json(self) -> Json:
        return {
            "result": self.result,
            "failure": None if self.failure is None else self.failure.to_json(),
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        failure = data.get("failure")
        return cls(
            data["result"],
            None if failure is None else Failure.from_json(failure),
            data.get("wall_s", 0.0),
            data.get("cpu_s", 0.0),
        )
