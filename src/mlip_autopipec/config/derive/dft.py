"""How a campaign labels: the code, its method, and the wall time of one calculation."""

from __future__ import annotations

from dataclasses import replace

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.config import cost
from mlip_autopipec.config.derive.reasons import Reasons, given
from mlip_autopipec.config.dft_plan import checked_wishes
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import DftPlan, Material
from mlip_autopipec.engines import registry
from mlip_autopipec.science.label_set import Kind, LabelSet, label_set_of

__all__ = ["CONVERGENCE", "derive_dft", "with_walltime"]

CONVERGENCE = {
    "derived": "these settings are taken as they are; 'check' runs a series of calculations first",
    "check": (
        "cutoff and k-points here are where a series begins, before the first label; its choice"
        " replaces them"
    ),
}


def derive_dft(user: UserInput, material: Material, why: Reasons) -> DftPlan:
    """Raises InputError for an element or a wish that the code cannot serve."""
    name = user.dft.engine
    wishes = checked_wishes(name, user.dft.wishes)
    if user.dft.wishes.get("charge") and material.kind != "molecule":
        raise InputError(
            "every cell of the campaign would have it, whatever its size",
            key="dft.charge",
            value=user.dft.wishes["charge"],
            hint="a charge is for molecules; label charged cells of one size with: mlip-auto dft",
        )
    found = registry.dft_engine(name).method(_needed(material), wishes)
    why.found |= {f"dft.method.{key}": reason for key, reason in found.reasons.items()}
    if given(user.dft, "engine") == "given":
        why.found["dft.engine"] = "given"
    return DftPlan(
        engine=name,
        method=found.method,
        convergence=why.because(
            "dft.convergence", user.dft.convergence, CONVERGENCE[user.dft.convergence]
        ),
    )


def _needed(material: Material) -> LabelSet:
    """Every cell of a campaign is of its material, or of a part of it; what the user's structures
    are built of counts where there are some.
    """
    if material.kind == "molecule":
        from mlip_autopipec.science.generation import molecule_names

        one = molecule_names.one_geometry(str(material.structure_file or material.molecule))
        odd = bool(int(one.numbers.sum()) % 2)
        kind = Kind(material.fractions, (False, False, False), odd_electrons=odd)
        return LabelSet(material.elements, (kind,), own_boxes=True)
    if material.structure_file is None:
        return LabelSet(material.elements, (Kind(material.fractions),))
    from mlip_autopipec.science.generation import starts

    given = [start.atoms for start in starts.read_structure(material.structure_file)]
    kinds = [
        replace(kind, composition=material.fractions, periodic=(True, True, True))
        for kind in label_set_of(given, material.elements).kinds
    ]
    different = [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]
    return LabelSet(material.elements, tuple(different))


def with_walltime(material: Material, dft: DftPlan, atoms: int, why: Reasons) -> DftPlan:
    """Half an hour, or five times what the largest label is expected to take."""
    limit = cost.attempt_s(dft, [cost.cell_size(material, atoms)])
    if limit <= dft.walltime_s:
        return dft
    value = why.because(
        "dft.walltime_s", limit, "one attempt: five times what the largest label should take"
    )
    return dft.model_copy(update={"walltime_s": value})
