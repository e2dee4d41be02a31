"""Which properties of the potential are held against our own DFT."""

from __future__ import annotations

from mlip_autopipec.config import cost
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.plan import Material, Validation

__all__ = ["EOS_STRAINS", "MOLECULE_MODES", "derive_validation"]

EOS_STRAINS = [-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06]


MOLECULE_MODES = 3


def derive_validation(material: Material, why: Reasons) -> Validation:
    if material.kind == "molecule":
        atoms = cost.molecule_atoms(material)
        for key in ("lattice_tolerance", "bulk_modulus_tolerance"):
            why.found.pop(f"validation.{key}")  # those of crystals
        modes = min(MOLECULE_MODES, 1 if atoms == 2 else 3 * atoms - 6)
        return Validation(
            modes=why.because(
                "validation.modes",
                modes,
                f"the stiffest, the softest and between: {2 + 2 * modes} calculations in all",
            ),
            geometry_tolerance_a=why.because(
                "validation.geometry_tolerance_a",
                0.02,
                "RMSD of the relaxed geometries, potential against our own DFT",
            ),
            frequency_tolerance_per_cm=why.because(
                "validation.frequency_tolerance_per_cm",
                50.0,
                "1/cm, RMS, potential against our own DFT",
            ),
        )
    return Validation(
        eos_strains=why.because(
            "validation.eos_strains", EOS_STRAINS, "volume strains: spans the harmonic region"
        )
    )
