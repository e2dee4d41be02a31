"""The largest cell that DFT is asked for, and how cutouts are made of it."""

from __future__ import annotations

from collections.abc import Callable

from mlip_autopipec.config import cost, facts
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.plan import DftPlan, Embedding, Material
from mlip_autopipec.science.cutout_rules import (
    CUTOUT_SIZES,
    HALF_DISTANCE_FRACTION,
    MIN_CUTOUT_ATOMS,
)

__all__ = ["DFT_CELL_SIZES", "LABEL_CPU_S", "PAIR_CPU_S", "derive_embedding", "radii_a"]

# The largest cell whose label is expected to cost at most this is labelled whole, or cut out.
LABEL_CPU_S = 400.0
PAIR_CPU_S = 60.0  # of two molecules: their MD is that of one


# Atoms of the whole cells that are tried, largest first.
DFT_CELL_SIZES = (32, 24, 16)


def _molecule_embedding(material: Material, dft: DftPlan, why: Reasons) -> Embedding:
    """A molecule is never cut: it is labelled whole, and beside a second one where that is
    cheap.
    """
    atoms = facts.molecule_atoms(material)
    alone, beside = (cost.label_cpu_s(material, dft, n) for n in (atoms, 2 * atoms))
    pairs = beside <= PAIR_CPU_S
    reason = f"the molecule, about {alone:.0f} s of one core for a label"
    reason += (
        f", and a pair of it, {beside:.0f} s" if pairs else f"; a pair would take {beside:.0f} s"
    )
    reach = 2 * facts.radius_a(material)
    why.found |= dict.fromkeys(
        [f"embedding.{key}_a" for key in ("core_radius", "buffer", "environment")]
        + ["embedding.seam_force_ev_per_a", "embedding.energy_weight"],
        "without effect: a molecule is labelled whole",
    )
    return Embedding(
        max_dft_atoms=why.because("embedding.max_dft_atoms", 2 * atoms if pairs else atoms, reason),
        core_radius_a=round(reach, 2),
        buffer_a=round(reach, 2),
        environment_a=round(reach, 2),
    )


def derive_embedding(
    material: Material, dft: DftPlan, given: int | None, why: Reasons
) -> Embedding:
    """Whole cells as large as DFT affords; cutouts only where one large enough to have a core is
    affordable as well.

    ``given``: atoms of the largest cell, by the user.
    """
    if material.kind == "molecule":
        return _molecule_embedding(material, dft, why)

    def seconds(atoms: int) -> float:
        return cost.label_cpu_s(material, dft, atoms)

    affordable = [n for n in DFT_CELL_SIZES if seconds(n) <= LABEL_CPU_S]
    atoms = given or (affordable[0] if affordable else DFT_CELL_SIZES[-1])
    if given:
        cutout = given if given >= MIN_CUTOUT_ATOMS else None
    else:
        cutout = next((n for n in CUTOUT_SIZES if seconds(n) <= LABEL_CPU_S), None)
    core, buffer, environment = radii_a(cutout or MIN_CUTOUT_ATOMS, material)
    embedding = Embedding(
        max_dft_atoms=why.because(
            "embedding.max_dft_atoms",
            atoms,
            f"{'given; ' if given else ''}about {seconds(atoms):.0f} s of one core for such a"
            f" label{'' if cutout else '; no cutouts: ' + _why_none(given, seconds)}",
        ),
        cutout_atoms=cutout,
        core_radius_a=core,
        buffer_a=buffer,
        environment_a=environment,
    )
    keys = [f"embedding.{key}_a" for key in ("core_radius", "buffer", "environment")]
    if cutout is None:
        unused = "without effect: there are no cutouts"
        why.found |= dict.fromkeys([*keys, "embedding.seam_force_ev_per_a"], unused)
        return embedding
    bond = 2 * facts.radius_a(material)
    reasons = (
        f"first neighbours at about {bond:.2f} Å",
        f"core and buffer: half the distance of the images of {cutout} atoms",
        f"{environment / bond:.2g} bonds that must equal the parent's",
    )
    why.found |= dict(zip(keys, reasons, strict=True))
    why.because(
        "embedding.cutout_atoms", cutout, f"about {seconds(cutout):.0f} s of one core for a cutout"
    )
    return embedding


def _why_none(given: int | None, seconds: Callable[[int], float]) -> str:
    least = f"they need {MIN_CUTOUT_ATOMS} atoms to have a core"
    if given:
        return least
    return f"{least}, and such a label takes {seconds(MIN_CUTOUT_ATOMS):.0f} s"


def radii_a(atoms: int, material: Material) -> tuple[float, float, float]:
    """Core radius, buffer and environment (Å) of a cutout: core and environment together within
    half the distance of its images.
    """
    bond = 2 * facts.radius_a(material)
    reach = HALF_DISTANCE_FRACTION * (atoms * facts.volume_per_atom_a3(material)) ** (1 / 3)
    # Silicon, core forces of cutouts against the parent's: 0.11 eV/Å off at 1.35 bonds, 0.04 at
    # 1.7.
    environment = min(1.7 * bond, 0.7 * reach)
    core = min(1.22 * bond, reach - environment)
    return round(core, 2), round(reach - core, 2), round(environment, 2)
