"""The plan's ``dft`` section: everything that fixes a labelling method, and the first numerical
settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mlip_autopipec.base.section import Count, Positive, Section, complaint
from mlip_autopipec.base.values import Json, content_hash

__all__ = ["ASE_CALCULATOR", "QUANTUM_ESPRESSO", "DftPlan"]

QUANTUM_ESPRESSO, ASE_CALCULATOR = "quantum_espresso", "ase_calculator"

#: Keys of plane-wave programs and what stands in for them where there is none (never written, never
#: hashed).
_PLANE_WAVES: Json = {
    "functional": "none",
    "pseudo_family": "none",
    "pseudos": {},
    "pseudo_sha256": {},
    "cutoff_ry": 1.0,
    "rho_cutoff_ry": 1.0,
    "kspacing_per_a": 1.0,
    "kmesh_shifted": False,
    "occupations": "smearing",
    "smearing": "gaussian",
    "degauss_ry": 0.01,
    "conv_thr_ry_per_atom": 1e-9,
    "convergence": "derived",
}
_CALCULATOR = ("calculator", "arguments", "calculator_version")


class DftPlan(Section):
    """Everything that fixes the DFT method (the physics) and the first numerical settings.

    The engine ``ase_calculator`` has ``calculator`` (``module:attribute``), its ``arguments`` and
    the version of its package in place of pseudopotentials, cutoffs, k-points and smearing.
    ``convergence``: ``check`` asks for a series of calculations before the first label, ``checked``
    says that its choice stands here. ``isolated``: how images of a molecule in its box are taken
    out of the potential. ``cores`` of one calculation are MPI ranks times OpenMP threads.
    """

    engine: str = QUANTUM_ESPRESSO
    calculator: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    calculator_version: str | None = None
    functional: str
    pseudo_family: str
    pseudos: dict[str, str]
    pseudo_sha256: dict[str, str]
    cutoff_ry: Positive
    rho_cutoff_ry: Positive
    kspacing_per_a: Positive
    kmesh_shifted: bool
    occupations: Literal["smearing", "fixed"] = "smearing"
    smearing: Literal["mv", "gaussian", "fd", "mp"]
    degauss_ry: Positive
    spin_polarized: bool
    starting_moments: dict[str, float]
    isolated: Literal["none", "martyna_tuckerman"] = "none"
    conv_thr_ry_per_atom: Positive = 1e-9
    convergence: Literal["derived", "check", "checked"] = "derived"
    max_force_ev_per_a: Positive = 50.0
    walltime_s: Positive = 1800.0
    max_attempts: Count = 5
    cores: Count = 1
    threads: Count = 1

    @model_validator(mode="after")
    def _whole_ranks(self) -> DftPlan:
        if self.cores % self.threads:
            hint = "cores are MPI ranks times threads"
            raise complaint(
                f"{self.cores} cores cannot be shared out as {self.threads} threads per rank", hint
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _keys_of_the_engine(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        if data.get("engine") != ASE_CALCULATOR:
            if given := [key for key in _CALCULATOR if data.get(key)]:
                raise complaint(
                    f"{', '.join(given)} belongs to engine {ASE_CALCULATOR}",
                    "set 'engine', or remove it",
                )
            return data
        if given := [key for key in _PLANE_WAVES if key in data]:
            raise complaint(
                f"{', '.join(given)} belongs to plane waves", "give the calculator 'arguments'"
            )
        if not data.get("calculator"):
            raise complaint(
                "calculator is missing", "write module:attribute, for example tblite.ase:TBLite"
            )
        return {**_PLANE_WAVES, **data}

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The keys of other engines are left out."""
        data: dict[str, Any] = handler(self)
        unused = _PLANE_WAVES if self.engine == ASE_CALCULATOR else _CALCULATOR
        kept = {key: value for key, value in data.items() if key not in unused}
        return {key: value for key, value in kept.items() if (key, value) != ("isolated", "none")}

    @property
    def plane_waves(self) -> bool:
        """Whether the method has cutoffs and k-points."""
        return self.engine != ASE_CALCULATOR

    def method(self) -> Json:
        """The physics alone (hashed into every label). Numerical settings are left out."""
        physics = {
            "engine",
            "functional",
            "pseudo_family",
            "pseudos",
            "pseudo_sha256",
            "cutoff_ry",
            "rho_cutoff_ry",
            "kspacing_per_a",
            "kmesh_shifted",
            "occupations",
            "smearing",
            "degauss_ry",
            "spin_polarized",
            "starting_moments",
            "isolated",
            "conv_thr_ry_per_atom",
            *_CALCULATOR,
        }
        return self.model_dump(mode="json", include=physics)

    @property
    def method_hash(self) -> str:
        return content_hash(self.method())
