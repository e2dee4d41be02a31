"""Events, tasks, numbers and durations in words: each said here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.campaign.auditing import AUDIT
from mlip_autopipec.campaign.events import (
    AttemptEnded,
    CampaignEnded,
    DriverStarted,
    Event,
    MdBroke,
    MdStreamed,
    MdSwapped,
    PotentialPublished,
    SettingsChecked,
    TaskCancelled,
)
from mlip_autopipec.campaign.payloads import (
    ExplorePayload,
    GeneratePayload,
    HarvestPayload,
    HitRatePayload,
    LabelPayload,
    TrainPayload,
    ValidatePayload,
)
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.science.predictions import errors_of

__all__ = [
    "clock",
    "count",
    "describe",
    "duration",
    "number",
    "off",
    "plural",
    "task_words",
]

NOTHING = "-"


# --- numbers


def number(value: float | None, missing: str = NOTHING) -> str:
    """Three digits, integers and what is above 100 in full."""
    if value is None:
        return missing
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def count(value: float | None) -> str:
    """As it stands, without trailing zeros."""
    return NOTHING if value is None else f"{value:g}"


def plural(many: int, one: str, more: str) -> str:
    return f"{many} {one if many == 1 else more}"


def off(potential: float | None, dft: float | None, missing: str = "not known") -> str:
    """How far a value of the potential is from DFT's, in % of it."""
    if potential is None or not dft:
        return missing
    return f"{100 * (potential - dft) / dft:+.2f} %"


def duration(seconds: float | None) -> str:
    """In the unit in which a person would say it: s, min, or h and min."""
    if seconds is None:
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 6000 else f"{whole // 3600} h {whole % 3600 // 60} min"


def clock(epoch_s: float) -> str:
    """The time of day, here."""
    return datetime.fromtimestamp(epoch_s).strftime("%H:%M:%S")


# --- potentials and tasks


def _held_out(potential: PotentialRef) -> str:
    test = errors_of(potential, "test")
    parts = []
    if test.energy_rmse_mev_per_atom is not None:
        parts.append(f"{test.energy_rmse_mev_per_atom:.1f} meV/atom")
    if test.force_rmse_mev_per_a is not None:
        parts.append(f"{test.force_rmse_mev_per_a:.0f} meV/Å")
    return "held out " + ", ".join(parts) if parts else "no held-out errors"


def task_words(record: TaskRecord) -> str:
    """A task in a few words."""
    match record.task.kind:
        case "label":
            label = record.asked(LabelPayload)
            why = " (rejected, to check the screen)" if label.purpose == AUDIT else ""
            return f"DFT {label.provenance.strategy} ({len(label.numbers)} atoms){why}"
        case "train":
            fit = record.asked(TrainPayload)
            return f"fit {fit.round} ({fit.trainer}, {len(fit.labels)} labels)"
        case "explore":
            return f"MD {record.asked(ExplorePayload).condition.name}"
        case "generate":
            return "generate " + "+".join(
                item.name for item in record.asked(GeneratePayload).strategies
            )
        case "harvest":
            asked = record.asked(HarvestPayload)
            visits = plural(len(asked.visits), "visit", "visits")
            frames = plural(len(asked.files), "frame", "frames")
            return f"judge {visits} of MD" if asked.visits else f"cut {frames}"
        case "validate":
            return f"validate {record.asked(ValidatePayload).potential.rpartition('/')[2]}"
        case "hit_rate":
            accepted = record.asked(HitRatePayload).accepted
            return f"surrogate against DFT ({len(accepted)} labels)"
    return str(record.task.kind)


# --- events


def describe(
    event: Event, state: CampaignState, name: Callable[[TaskRecord], str] = task_words
) -> str | None:
    """An event in a line, or None when it is not worth one; ``name``: what its task is called."""
    match event:
        case DriverStarted(_, elapsed_s, _):
            return f"going on after {elapsed_s / 60:.0f} min" if elapsed_s else "started"
        case SettingsChecked(calculations, _):
            return f"DFT settings were checked before, with {calculations} calculations"
        case AttemptEnded():
            return _describe_end(event, name(state.tasks[event.task_id]))
        case TaskCancelled(task_id, reason):
            return f"{task_id} cancelled: {reason}"
        case PotentialPublished(_, potential):
            return (
                f"potential {potential.name} ({potential.trainer}, {potential.labels} labels):"
                f" {_held_out(potential)}"
            )
        case CampaignEnded(end_state, reason):
            return f"{end_state}: {reason}"
        case MdSwapped() | MdBroke() | MdStreamed():
            return _describe_md(event, name(state.tasks[event.task_id]))
    return None


def _describe_end(event: AttemptEnded, what: str) -> str:
    failure = event.outcome.failure
    if failure is None:
        return f"{what} done in {event.outcome.wall_s:.0f} s"
    if event.verdict == "quarantined":
        return f"{what} quarantined, {failure.kind}: {failure.message}"
    return f"{what} failed, {failure.kind}: {failure.message}; next: {event.cure or 'same again'}"


def _describe_md(event: MdSwapped | MdBroke | MdStreamed, what: str) -> str:
    match event:
        case MdSwapped():
            return f"{what}: swapped {event.old} for {event.new} at step {event.step}"
        case MdBroke():
            return (
                f"{what}: gamma {event.gamma:.1f} at step {event.step}, rewound, waits for a"
                " potential"
            )
        case MdStreamed():
            return f"{what}: unknown environment, gamma {event.gamma:.1f} at step {event.step}"
