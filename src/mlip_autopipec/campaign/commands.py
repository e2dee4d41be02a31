"""What ``decide`` may ask of the driver. Each command is safe to carry out twice."""

from __future__ import annotations

from dataclasses import dataclass

from mlip_autopipec.base.tasks import EndState, Task

__all__ = ["CancelTask", "Command", "EndCampaign", "PlanTask", "PublishPotential"]


@dataclass(frozen=True, slots=True)
class PlanTask:
    """Record the task; it will be started when there is room."""

    task: Task


@dataclass(frozen=True, slots=True)
class CancelTask:
    task_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class PublishPotential:
    """Copy the potential of a finished training task into ``potentials/`` and point the running MD
    at it.
    """

    task_id: str


@dataclass(frozen=True, slots=True)
class EndCampaign:
    end_state: EndState
    reason: str


Command = PlanTask | CancelTask | PublishPotential | EndCampaign
