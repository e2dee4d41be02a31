"""The largest cell that DFT is asked for, and how cutouts are made of it."""

from __future__ import annotations

from mlip_autopipec.config import cost, facts
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.plan import DftPlan, Embedding, Material

__all__ = ["DFT_CELL_SIZES", "LABEL_CPU_S", "PAIR_CPU_S", "derive_embedding"]

# The largest of DFT_CELL_SIZES whose label is expected to cost at most this is cut out.
LABEL_CPU_S = 400.0


PAIR_CPU_S = 60.0  # of two molecules: their MD is that of one


# Atoms of the cells that are tried, largest first: below the last a cutout has no core.
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
    if material.kind == "molecule":
        return _molecule_embedding(material, dft, why)
    affordable = [n for n in DFT_CELL_SIZES if cost.label_cpu_s(material, dft, n) <= LABEL_CPU_S]
    atoms = given or (affordable[0] if affordable else DFT_CELL_SIZES[-1])
    bond = 2 * facts.radius_a(material)
    # Half the height of a compact cell of that many atoms, less 12 % for cells that are not the
    # ideal shape.
    reach = 0.44 * (atoms * facts.volume_per_atom_a3(material)) ** (1 / 3)
    core = round(min(1.22 * bond, 0.72 * reach), 2)
    # Silicon, core forces of cutouts against the parent's: 0.11 eV/Å off at 1.35 bonds, 0.04 at
    # 1.7.
    environment = round(min(1.7 * bond, 1.3 * reach), 2)
    seconds = cost.label_cpu_s(material, dft, atoms)
    return Embedding(
        max_dft_atoms=why.because(
            "embedding.max_dft_atoms",
            atoms,
            f"{'given; ' if given else ''}about {seconds:.0f} s of one core for such a label",
        ),
        core_radius_a=why.because(
            "embedding.core_radius_a", core, f"first neighbours at about {bond:.2f} Å"
        ),
        buffer_a=why.because(
            "embedding.buffer_a", round(reach - core, 2), "what a cell of max_dft_atoms leaves"
        ),
        environment_a=why.because(
            "embedding.environment_a",
            environment,
            f"{environment / bond:.2g} bonds that must equal the parent's",
        ),
    )
