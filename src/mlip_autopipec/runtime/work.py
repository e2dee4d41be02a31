"""What the driver can carry out: the active-learning loop, or anything else that answers the same
questions.

The driver knows processes, clocks and the log; a :class:`Work` knows which tasks should exist and
what to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mlip_autopipec.base.labels import LabelJob, PotentialRef
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.commands import Command
from mlip_autopipec.campaign.events import Event
from mlip_autopipec.campaign.state import CampaignState, TaskRecord
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.config.plan import Plan

__all__ = ["History", "Work"]

History = Sequence[tuple[float, Event]]


class Work(Protocol):
    """One kind of campaign. ``elapsed_s``: wall time over all drivers; ``history``: events with
    their times.
    """

    @property
    def plan(self) -> Plan | LabelPlan: ...

    @property
    def worker(self) -> tuple[str, ...]:
        """The command that carries out one attempt; the attempt's folder follows as its last
        argument.
        """
        ...

    def settle(self, root: Path) -> None:
        """Write the plan into the run folder.

        Raises CampaignStateError when the folder belongs to another one.
        """
        ...

    def earlier(self, root: Path, state: CampaignState) -> list[Event]:
        """Facts from before the log began that it still lacks."""
        ...

    def is_over(self, state: CampaignState) -> bool:
        """Whether an earlier driver ended everything, so that there is nothing to go on with."""
        ...

    def decide(self, state: CampaignState, elapsed_s: float) -> list[Command]: ...

    def startable_attempts(self, state: CampaignState, elapsed_s: float) -> int | None:
        """How many more attempts may be started; None for no limit."""
        ...

    def publish(self, root: Path, record: TaskRecord, number: int) -> PotentialRef:
        """Place the potential of a finished fit and make it the one in force."""
        ...

    def repair(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        """The next attempt of a calculation after these failures; None where it is given up."""
        ...

    def describe(self, event: Event, state: CampaignState) -> str | None:
        """An event in a line, or None."""
        ...

    def shown(self, state: CampaignState, history: History, elapsed_s: float) -> tuple[Json, str]:
        """The content of ``status.json``, and the progress line."""
        ...

    def write_result(
        self, root: Path, state: CampaignState, history: History, elapsed_s: float
    ) -> Json: ...

    def write_stopped(
        self, root: Path, state: CampaignState, history: History, elapsed_s: float
    ) -> Json:
        """What is left behind when the user stops the run; ``end_state`` is None in it."""
        ...
