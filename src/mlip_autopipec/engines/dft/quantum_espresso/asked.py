"""What a user may ask of the method of Quantum ESPRESSO: the keys of ``dft:`` in ``input.yaml`` and
of ``--set``, and their values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator

from mlip_autopipec.base.section import Positive, complaint
from mlip_autopipec.engines.dft.quantum_espresso.fragment import normalized
from mlip_autopipec.engines.dft.quantum_espresso.hubbard import Projectors, manifolds
from mlip_autopipec.engines.dft_port import DftWishes

__all__ = [
    "FUNCTIONALS",
    "Dispersion",
    "Functional",
    "Isolated",
    "MagneticOrder",
    "Occupations",
    "Smearing",
    "Wishes",
]

Occupations = Literal["smearing", "fixed"]
Smearing = Literal["mv", "gaussian", "fd", "mp"]
Isolated = Literal["none", "martyna_tuckerman"]
Functional = Literal["PBE", "PBEsol", "revPBE", "PW91", "BLYP", "LDA"]
Dispersion = Literal["none", "d3", "d3bj"]
"""Grimme's D3 with zero damping, and with that of Becke and Johnson; two-body terms."""
MagneticOrder = Literal["ferro", "antiferro"]

#: Functionals in pw.x's words (``funct.f90`` of 6.7 and 7.2 know them alike).
FUNCTIONALS: Mapping[Functional, str] = {
    "PBE": "pbe",
    "PBEsol": "pbesol",
    "revPBE": "revpbe",
    "PW91": "pw91",
    "BLYP": "blyp",
    "LDA": "pz",
}
# Elementary charges. More in one cell is a typing error, or needs more than a background.
_MOST_CHARGE = 10


class Wishes(DftWishes):
    """Settings in place of derived ones; ``family`` of pseudopotentials, and what is never derived:
    ``functional``, ``hubbard`` (U in eV), ``charge`` and ``extra`` (see :mod:`fragment`).
    """

    family: str | None = None
    cutoff_ry: float | None = None
    rho_cutoff_ry: Positive | None = None
    kspacing_per_a: float | None = None
    kmesh_shifted: bool | None = None
    occupations: Occupations | None = None
    smearing: Smearing | None = None
    degauss_ry: Positive | None = None
    spin_polarized: bool | None = None
    starting_moments: dict[str, float] | None = None
    isolated: Isolated | None = None
    conv_thr_ry_per_atom: Positive | None = None
    functional: Functional | None = None
    dispersion: Dispersion | None = None
    hubbard: dict[str, float] | None = None
    hubbard_projectors: Projectors | None = None
    charge: int | None = None
    dipole_correction: bool | None = None
    magnetic_order: MagneticOrder | None = None
    extra: str | None = None

    @field_validator("starting_moments", "hubbard", mode="before")
    @classmethod
    def _on_one_line(cls, value: Any) -> Any:
        """``Ni=6, Fe=4`` of the command line, or JSON."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("{"):
            try:
                return json.loads(value)
            except json.JSONDecodeError:
                pass  # told as what it is not, below
        pairs = [part.partition("=") for part in value.split(",")]
        if not all(sign for _, sign, _ in pairs):
            raise complaint("neither Ni=6,Fe=4 nor a mapping", "one number for each element", value)
        return {key.strip(): number.strip() for key, _, number in pairs}

    @field_validator("hubbard")
    @classmethod
    def _shells(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        try:
            return None if value is None else manifolds(value)
        except ValueError as error:
            raise complaint(str(error), "for example: hubbard: {Ni: 6.0}") from None

    @field_validator("charge")
    @classmethod
    def _usual_charge(cls, value: int | None) -> int | None:
        if value is not None and abs(value) > _MOST_CHARGE:
            raise complaint("impossible charge", f"-{_MOST_CHARGE} to {_MOST_CHARGE}, in electrons")
        return value

    @field_validator("extra")
    @classmethod
    def _one_form(cls, value: str | None) -> str | None:
        try:
            return None if value is None else normalized(value)
        except ValueError as error:
            raise complaint(str(error), "namelists of pw.x: &system, a line each, /") from None

    @field_validator("cutoff_ry")
    @classmethod
    def _usual_cutoff(cls, value: float | None) -> float | None:
        if value is not None and not 10.0 <= value <= 400.0:
            raise complaint("impossible cutoff", "10 to 400 Ry; leave it out to have it derived")
        return value

    @field_validator("kspacing_per_a")
    @classmethod
    def _usual_spacing(cls, value: float | None) -> float | None:
        if value is not None and not 0.05 <= value <= 2.0:
            raise complaint(
                "impossible k-point spacing", "0.05 to 2 1/Å; leave it out to have it derived"
            )
        return value
