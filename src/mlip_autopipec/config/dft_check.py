"""The convergence check of DFT settings: what it depends on, and what follows from its result. No
file is touched here.

``dft.convergence`` of a plan says ``check`` until the series has been run, ``checked`` once its
choice stands there.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.config import cost
from mlip_autopipec.config.dft_plan import DftPlan
from mlip_autopipec.config.plan import Plan

__all__ = ["FOLDER", "RESULT", "key_of", "reasons_of", "with_choice", "with_result"]

#: Where the series lies, in the run folder, and its table there.
FOLDER, RESULT = "convergence", "convergence.json"


def key_of(plan: Plan) -> str:
    """Everything the series depends on, as a hash: plans with the same one share a series."""
    return content_hash(
        {
            "method": plan.dft.label_method(),
            "material": plan.material.model_dump(mode="json"),
            "seed": plan.seed,
        }
    )


def with_choice(dft: DftPlan, result: Json) -> DftPlan:
    """The settings with those that the series chose."""
    return dft.with_method(**result["chosen"]).model_copy(update={"convergence": "checked"})


def reasons_of(derived: DftPlan, result: Json) -> dict[str, str]:
    """Dotted key -> why, for what the series chose in place of ``derived``."""
    method = derived.method.model_dump(mode="json")
    reasons = {
        f"dft.method.{item['setting']}": (
            f"checked: {item['reason']} (derived: {method[item['setting']]:g})"
        )
        for item in result["series"]
    }
    for item in result["series"]:
        for key, factor in item.get("in_step", {}).items():
            reasons[f"dft.method.{key}"] = f"{factor:g} x the checked {item['setting']}"
    reasons["dft.convergence"] = (
        f"series on {result['formula']}, {result['calculations']} calculations: {FOLDER}/"
    )
    return reasons


def with_result(
    plan: Plan, reasons: Mapping[str, str], result: Json
) -> tuple[Plan, dict[str, str]]:
    """A campaign's plan and its reasons with the choice of the series; the wall time follows where
    labels cost more.

    All else stays as it was planned: sizes of cells were chosen by the cost of the derived
    settings.
    """
    dft, found = with_choice(plan.dft, result), {**reasons, **reasons_of(plan.dft, result)}
    limit = cost.attempt_s(dft, [cost.cell_size(plan.material, plan.embedding.max_dft_atoms)])
    if limit > dft.walltime_s:
        dft = dft.model_copy(update={"walltime_s": limit})
        found["dft.walltime_s"] = (
            "one attempt: five times what the largest label should take as checked"
        )
    return plan.model_copy(update={"dft": dft}), found
