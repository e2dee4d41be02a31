"""What is known of each property of the plan: its labels, what it starts from, what it still costs,
and how it compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlip_autopipec.base.labels import Label, PotentialRef
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.payloads import LabelPayload, ValidatePayload
from mlip_autopipec.campaign.results import GenerateResult
from mlip_autopipec.campaign.schedule import PRIORITY_FIRST_ANSWER
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.science.properties import stored
from mlip_autopipec.science.properties.port import (
    Answer,
    AsksSurrogate,
    Comparison,
    Known,
    Property,
    PropertyValue,
    Question,
    values_with_spread,
)
from mlip_autopipec.science.properties.window import FindsVolume

__all__ = [
    "compared",
    "gate_of",
    "labels_of",
    "next_questions",
    "owed",
    "property_values",
    "source_of",
    "validation_of",
    "volume_ratio",
]

# Of the volume, in digits: what changes less is the same start cell.
VOLUME_DIGITS = 4


def labels_of(plan: Plan, state: CampaignState) -> dict[str, list[TaskRecord]]:
    """Label tasks of each property, oldest first. Logs from before properties had names hold those
    of one.
    """
    found: dict[str, list[TaskRecord]] = {name: [] for name in plan.validation.each}
    only = next(iter(found))
    for record in state.labels("validate"):
        found[record.asked(LabelPayload).of_property or only].append(record)
    return found


def source_of(state: CampaignState, item: Property) -> TaskRecord | None:
    """The finished generation task that a property starts from; every batch finds the same start.

    What was prepared by the surrogate has to be that of one batch, so all of them have to end.
    """
    records = state.of_kind("generate")
    if isinstance(item, AsksSurrogate) and not all(record.ended for record in records):
        return None
    return next((record for record in records if record.status == "done"), None)


def next_questions(
    plan: Plan, state: CampaignState, name: str, asked: list[TaskRecord]
) -> list[Question]:
    """What a property wants labelled now, once all that it ``asked`` has been answered."""
    item = plan.validation.each[name]
    if len(asked) >= item.calls or not all(record.ended for record in asked):
        return []
    source = source_of(state, item)
    return [] if source is None else list(item.structures(_known(plan, source, name, asked)))


def _known(plan: Plan, source: TaskRecord, name: str, asked: list[TaskRecord]) -> Known:
    generated = GenerateResult.from_json(source.result)
    return Known(
        start=generated.ground_state,
        surrogate=plan.surrogate.engine,
        prepared=generated.prepared.get(name),
        answers=tuple(
            Answer(
                record.asked(LabelPayload).candidate,
                Label.from_json(record.result) if record.status == "done" else None,
            )
            for record in asked
        ),
    )


def volume_ratio(plan: Plan, state: CampaignState) -> float | None:
    """DFT's volume over that of the start crystal, which the surrogate relaxed; None as long as no
    property knows it.
    """
    for name, asked in labels_of(plan, state).items():
        item = plan.validation.each[name]
        source = source_of(state, item)
        if not isinstance(item, FindsVolume) or source is None:
            continue
        ratio = item.volume_ratio(_known(plan, source, name, asked))
        if ratio is not None:
            return round(ratio, VOLUME_DIGITS)
    return None


def owed(plan: Plan, state: CampaignState) -> int:
    """DFT calls of the validation that are not planned yet."""
    return sum(_owed(plan, state, name, asked) for name, asked in labels_of(plan, state).items())


def _owed(plan: Plan, state: CampaignState, name: str, asked: list[TaskRecord]) -> int:
    item = plan.validation.each[name]
    rest = item.calls - len(asked)
    if any(not record.ended and record.task.priority == PRIORITY_FIRST_ANSWER for record in asked):
        return rest
    coming = len(next_questions(plan, state, name, asked))
    unknown = not asked and (coming > 0 or source_of(state, item) is None)
    return rest if unknown else coming


def validation_of(state: CampaignState, potential: PotentialRef) -> Json | None:
    """Result of the latest validation of a potential, if it was done."""
    return next(_validations(state, potential), None)


def _validations(state: CampaignState, potential: PotentialRef) -> Iterator[Json]:
    """Results of the finished validations of a potential, the latest first."""
    for record in reversed(state.of_kind("validate")):
        asked = record.asked(ValidatePayload)
        if record.status == "done" and asked.potential == potential.folder:
            yield record.result


def compared(state: CampaignState, potential: PotentialRef) -> Mapping[str, Comparison]:
    """Each property by a potential and by DFT, as far as that was validated."""
    result = validation_of(state, potential)
    return {} if result is None else stored.comparisons(result)


def gate_of(state: CampaignState, potential: PotentialRef) -> tuple[bool, str] | None:
    """Whether a potential passed the release gate, and why in words; None where it was not
    tried.
    """
    found = (result["gate"] for result in _validations(state, potential) if result.get("gate"))
    gate = next(found, None)
    if gate is None:
        return None
    told = [item["text"] for item in gate["checks"] if item["passed"] == gate["passed"]]
    return bool(gate["passed"]), "; ".join(told)


def property_values(plan: Plan, found: Mapping[str, Comparison]) -> tuple[PropertyValue, ...]:
    """Every number that the plan asks for, those that are not known as well."""
    return tuple(
        value
        for name, item in plan.validation.each.items()
        for value in values_with_spread(item, found.get(name, Comparison()))
    )
