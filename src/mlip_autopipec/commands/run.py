"""Campaigns and folders of labels whose DFT settings are checked before the first label.

The series lies in ``convergence/`` of the run folder. Until it is complete the plan says
``dft.convergence: check``; from then on the plan has what the series chose, whichever file it is
derived from again.
"""

from __future__ import annotations

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.active_learning import run_campaign
from mlip_autopipec.commands.dft_check.cell import start_cell
from mlip_autopipec.commands.dft_check.series import Labeller, beginning, converge_cell
from mlip_autopipec.config import dft_check, load
from mlip_autopipec.config.begun import keep_question
from mlip_autopipec.config.load import PreparedPlan
from mlip_autopipec.config.outlook import outlook
from mlip_autopipec.config.yaml import write_plan
from mlip_autopipec.runtime import layout

__all__ = ["checked", "run"]


def run(prepared: PreparedPlan, *, progress: Progress | None = None) -> Json:
    """Check the settings where the plan asks for it, then carry the campaign to its end: what
    ``mlip-auto run`` does.

    Returns and raises as :func:`run_campaign`; a check that fails
    ends the campaign as ``needs_attention``.
    """
    progress = progress or Progress()
    is_new = not (prepared.root / layout.PLAN_JSON).exists()
    if is_new and (expected := outlook(prepared.plan)).rounds is None:
        progress.log(f"the budget is {expected.text}")
    found = checked(prepared, progress=progress)
    if isinstance(found, Failure):
        return {
            "name": prepared.plan.name,
            "end_state": "needs_attention",
            "reason": f"the convergence check failed, {found.kind}: {found.message}",
        }
    if not (found.root / layout.PLAN_JSON).exists():
        keep_question(found.root, found.question)
    return run_campaign(found.plan, found.reasons, found.root)


def checked(
    prepared: PreparedPlan, *, progress: Progress | None = None, label: Labeller | None = None
) -> PreparedPlan | Failure:
    """The plan with the settings that its convergence check chose.

    The check is made, gone on with after an interruption, or read. A plan that asks for none comes
    back as it is. Raises InputError where no cell is known, CampaignLockedError,
    MissingProgramError, and KeyboardInterrupt when the user stopped it.
    """
    if prepared.plan.dft.convergence != "check":
        return prepared
    prepared = load.with_stored_check(prepared)
    plan, home = prepared.plan, prepared.root / dft_check.FOLDER
    if plan.dft.convergence == "checked":
        return prepared
    if (prepared.root / layout.PLAN_JSON).exists():
        raise CampaignStateError(
            f"{prepared.root} was begun without a convergence check; choose another name"
        )
    progress = progress or Progress()
    cell = start_cell(plan, home / "cell")
    if isinstance(cell, Failure):
        return cell
    if not (prepared.root / layout.PLAN_YAML).exists():
        write_plan(plan, prepared.reasons, prepared.root / layout.PLAN_YAML)
    progress.log(beginning(cell, plan.dft))
    result = converge_cell(
        cell,
        plan.dft,
        home,
        plan.executor,
        key=dft_check.key_of(plan),
        seed=plan.seed,
        progress=progress,
        label=label,
    )
    if isinstance(result, Failure):
        return result
    chosen = ", ".join(f"{item.setting} {item.chosen:g}" for item in result.series)
    progress.log(f"chosen: {chosen}")
    return load.with_stored_check(prepared)
