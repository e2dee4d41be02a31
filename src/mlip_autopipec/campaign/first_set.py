"""The first labels: generate, select, label; and the equation of state that the validation of a
crystal needs.
"""

from __future__ import annotations

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_from_json
from mlip_autopipec.base.tasks import Task
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.dft_rules import kmesh
from mlip_autopipec.science.properties.equation_of_state import strained_cells

__all__ = [
    "equation_of_state",
    "fill",
    "generate",
    "harvested_labels",
    "label_task",
    "room",
    "select",
    "selected_labels",
    "widen",
]

# Smaller runs first. A fit is what everything waits for; MD comes next, so that it runs while
# labels are made.
PRIORITY = {"train": 4, "explore": 5, "generate": 10, "select": 10, "harvest": 12, "validate": 20}
PRIORITY_HARVEST_LABEL, PRIORITY_LABEL, PRIORITY_EOS_LABEL = 30, 50, 60


def generate(plan: Plan, state: CampaignState) -> list[Task]:
    """One task for each batch of generation strategies; all of them side by side, so that they
    share the cores.
    """
    cores = min(plan.executor.cores, plan.executor.cores_per_node or plan.executor.cores)
    return [
        Task(
            "generate",
            {
                "batch": i,
                "strategies": [s.model_dump(mode="json") for s in batch],
                "seed": plan.seed + i,
            },
            cores=max(1, cores // len(plan.generation.batches)),
            priority=PRIORITY["generate"],
        )
        for i, batch in enumerate(plan.generation.batches)
    ]


def generated(state: CampaignState) -> list[TaskRecord]:
    """Finished generation tasks; empty while any is still open."""
    records = state.of_kind("generate")
    if not records or not all(record.ended for record in records):
        return []
    return [record for record in records if record.status == "done"]


def select(plan: Plan, state: CampaignState) -> list[Task]:
    """Thin the candidates of all generation tasks to the first training set, by
    ``selection.method``.
    """
    payload: Json = {
        "count": min(plan.selection.initial_count, room(plan, state)),
        "method": plan.selection.method,
        "random_fraction": plan.selection.random_fraction,
        "seed": plan.seed,
    }
    if state.of_kind("select"):
        return []
    needs = tuple(record.task.id for record in generated(state))
    return [Task("select", payload, needs, priority=PRIORITY["select"])] if needs else []


def widen(plan: Plan, state: CampaignState) -> list[Task]:
    """Another batch of generated candidates, by ``selection.later_method``: asked for when MD meets
    nothing new.
    """
    labelled = tuple(record.task.id for record in state.labels("train") if record.status == "done")
    count = min(plan.selection.batch_count, room(plan, state))
    pool_is_empty = any(
        record.status == "done" and not record.result["candidates"]
        for record in state.of_kind("select")
    )
    if not labelled or count <= 0 or pool_is_empty:
        return []
    batch = len(state.of_kind("select"))
    payload: Json = {
        "count": count,
        "method": plan.selection.later_method,
        "random_fraction": plan.selection.random_fraction,
        "seed": plan.seed + batch,
        "existing": list(labelled),
        "refused": [
            content_hash(record.task.payload["candidate"]["atoms"])
            for record in state.labels("train")
            if record.status == "quarantined"
        ],
    }
    pool = tuple(record.task.id for record in generated(state))
    return [Task("select", payload, (*pool, *labelled), priority=PRIORITY["select"])]


def fill(plan: Plan, state: CampaignState) -> list[Task]:
    """:func:`widen` for a core that would stand idle while a large label runs; asked for while
    errors are too large.

    A cutout takes minutes, a small cell seconds. One batch for each potential, so that the budget
    is spent on what the next one still lacks.
    """
    current = state.current
    if current is None or current.trainer != plan.training.trainer or state.with_status("queued"):
        return []
    if (
        state.active("train")
        or state.of_kind("select")[-1].order > state.of_kind("train")[-1].order
    ):
        return []
    labelling = any(record.task.payload["purpose"] == "train" for record in state.active("label"))
    return widen(plan, state) if labelling and state.cores_in_use < plan.executor.cores else []


def label_task(
    plan: Plan, candidate: Json, purpose: str, priority: int, job: LabelJob | None = None
) -> Task:
    """The DFT calculation of a candidate (as JSON) with the campaign's method."""
    job = job or LabelJob(Candidate.from_json(candidate).atoms, plan.dft.method())
    payload = {"candidate": candidate, "job": job.to_json(), "purpose": purpose}
    return Task("label", payload, cores=plan.dft.cores, priority=priority)


def selected_labels(plan: Plan, state: CampaignState) -> list[Task]:
    """Labels of the first selection."""
    return _labels_of(plan, state, state.of_kind("select"), PRIORITY_LABEL)


def harvested_labels(plan: Plan, state: CampaignState) -> list[Task]:
    """Labels of what MD did not know."""
    return _labels_of(plan, state, state.of_kind("harvest"), PRIORITY_HARVEST_LABEL)


def _labels_of(
    plan: Plan, state: CampaignState, sources: list[TaskRecord], priority: int
) -> list[Task]:
    """Labels of the candidates that finished tasks proposed, as far as the budget of DFT calls
    goes.
    """
    tasks: list[Task] = []
    for record in sources:
        if record.status == "done":
            tasks += [
                label_task(plan, item, "train", priority) for item in record.result["candidates"]
            ]
    new = [task for task in tasks if task.id not in state.tasks and not state.is_planned(task)]
    return new[: max(0, room(plan, state))]


def equation_of_state(plan: Plan, state: CampaignState) -> list[Task]:
    """Strained cells of the ground state, all on the k-point mesh of the unstrained one; used for
    validation only.
    """
    done = [record for record in state.of_kind("generate") if record.status == "done"]
    if not done or state.labels("validate"):
        return []
    crystal = atoms_from_json(done[0].result["ground_state"])
    periodic = tuple(bool(flag) for flag in crystal.pbc)
    mesh = kmesh(crystal.cell.array, periodic, plan.dft.kspacing_per_a, plan.dft.kmesh_shifted)
    tasks = []
    for strain, atoms in zip(
        plan.validation.eos_strains,
        strained_cells(crystal, plan.validation.eos_strains),
        strict=True,
    ):
        provenance = Provenance("equation_of_state", "validation", {"volumetric_strain": strain})
        job = LabelJob(atoms, plan.dft.method(), kmesh=mesh)
        tasks.append(
            label_task(
                plan,
                Candidate(atoms, provenance).to_json(),
                "validate",
                PRIORITY_EOS_LABEL,
                job=job,
            )
        )
    return tasks


def room(plan: Plan, state: CampaignState) -> int:
    """DFT calls that may still be planned: the budget less calls made, calls queued and the
    validation to come.
    """
    queued = sum(1 for record in state.of_kind("label") if record.status == "queued")
    return plan.budget.dft_calls - state.dft_calls - queued - _owed_to_validation(plan, state)


def _owed_to_validation(plan: Plan, state: CampaignState) -> int:
    """DFT calls of the validation that are not planned yet: those of a molecule follow its first
    one.
    """
    planned = state.labels("validate")
    molecular = (
        plan.validation.modes > 0 and len(planned) == 1 and planned[0].status != "quarantined"
    )
    return plan.validation.calls - len(planned) if not planned or molecular else 0
