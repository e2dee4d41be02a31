"""Is the screen right? A few structures that it rejected are labelled, and the first labels judge
the surrogate.

The surrogate screens once, before the first selection; every later batch comes from the candidates
that passed then, or from MD with the potential itself. So a surrogate that turns out not to rank
the material changes no later task: it is said in the summary, together with the correlation that
shows it.
"""

from __future__ import annotations

import math

import numpy as np

from mlip_autopipec.base.tasks import ERROR, LOST, PERSON, STOPPED, Task
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.budget import room
from mlip_autopipec.campaign.first_set import generated
from mlip_autopipec.campaign.labels import label_task
from mlip_autopipec.campaign.payloads import HitRatePayload
from mlip_autopipec.campaign.results import GenerateResult
from mlip_autopipec.campaign.schedule import PRIORITY, PRIORITY_AUDIT_LABEL
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Plan

__all__ = ["AUDIT", "audited_labels", "hit_rate", "hit_rate_of"]

#: Purpose of a label that checks the screen. It is never trained on and never held out.
AUDIT = "audit"
# Kinds of failures that say nothing of the structure.
NOT_ITS_FAULT = (LOST, STOPPED, PERSON, ERROR)


def audited_labels(plan: Plan, state: CampaignState) -> list[Task]:
    """Labels of a few rejected structures, once the first labels and those of the validation are
    planned.

    The same draw at every call, since it follows from the plan's seed and what the generating tasks
    offered.
    """
    waits = plan.validation.calls and not state.labels("validate")
    if waits or state.labels(AUDIT) or room(plan, state) <= 0:
        return []
    offered: list[Json] = [
        item
        for record in generated(state)
        for item in GenerateResult.from_json(record.result).stored_audit
    ]
    if not offered:
        return []
    share = math.ceil(plan.rules.audited_share * len(_first_labels(state)))
    count = min(plan.rules.most_audited, share, len(offered))
    drawn = np.random.default_rng(plan.seed).permutation(len(offered))[:count]
    tasks = [label_task(plan, offered[index], AUDIT, PRIORITY_AUDIT_LABEL) for index in drawn]
    return tasks[: room(plan, state)]


def hit_rate(plan: Plan, state: CampaignState) -> list[Task]:
    """Compare surrogate and DFT on the first labels and the audited ones, once all of them have
    ended.

    Not where the surrogate lacks an element, and never twice: the screen is not used again.
    """
    if state.of_kind("hit_rate") or any(
        GenerateResult.from_json(record.result).geometry_only for record in generated(state)
    ):
        return []
    audited = state.labels(AUDIT)
    if not all(record.ended for record in audited):
        return []
    first = _first_labels(state)
    if not all(record.ended for record in first):
        return []
    accepted, rejected = _telling(first), _telling(audited)
    if not accepted:
        return []
    payload = HitRatePayload(tuple(accepted), tuple(rejected)).to_json()
    return [Task("hit_rate", payload, (*accepted, *rejected), priority=PRIORITY["hit_rate"])]


def hit_rate_of(state: CampaignState) -> Json | None:
    """:class:`~mlip_autopipec.science.hit_rate.HitRate` as JSON, if it was found."""
    done = [record for record in state.of_kind("hit_rate") if record.status == "done"]
    return done[-1].result if done else None


def _telling(records: list[TaskRecord]) -> list[str]:
    """Ids of labels that say something of their structure: made, or given up because DFT could not
    make them.
    """
    return [
        record.task.id
        for record in records
        if record.status == "done"
        or (record.status == "quarantined" and record.failures[-1].kind not in NOT_ITS_FAULT)
    ]


def _first_labels(state: CampaignState) -> list[TaskRecord]:
    """Label tasks of the first selection; empty before they are planned."""
    selections = state.of_kind("select")
    if not selections or selections[0].status != "done":
        return []
    return state.labels_of(selections[0])
