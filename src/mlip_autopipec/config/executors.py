"""Where tasks run: the plan's ``executor`` section, and the table of what it can name."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.plugins import Plugins
from mlip_autopipec.base.section import Count, Positive, Section, complaint

__all__ = ["CLUSTERS", "EXECUTORS", "ExecutorInput", "ExecutorPlan"]

EXECUTORS = Plugins(
    "executor",
    "executor.name",
    "mlip_autopipec.executor",
    {
        "local": "mlip_autopipec.runtime.executors.local:LocalExecutor",
        "slurm": "mlip_autopipec.runtime.executors.parsl.executor:parsl_executor",
        "pbs": "mlip_autopipec.runtime.executors.parsl.executor:parsl_executor",
    },
)
CLUSTERS = ("slurm", "pbs")


class ExecutorPlan(Section):
    """Where tasks run. ``cores``: cores that may be used at once, of this machine or of all blocks
    together.

    ``slurm`` and ``pbs`` ask the scheduler for *blocks* (allocations of ``nodes_per_block`` whole
    or shared nodes) and pack tasks into them; their keys belong to those two. ``queue`` is
    Slurm's partition or PBS's queue, ``worker_init`` shell lines that prepare a node (modules),
    ``scheduler_options`` more ``#SBATCH`` or ``#PBS`` lines, ``select_options`` what follows PBS's
    ``select=``, ``address`` this machine's name or address as the nodes see it. ``options`` go to
    an executor of another package, named by its entry point or as ``module:Class``.
    """

    name: str = "local"
    cores: Count
    queue: str | None = None
    account: str | None = None
    nodes_per_block: Count = 1
    cores_per_node: Count | None = None
    memory_per_node_gb: Count | None = None
    max_blocks: Count = 1
    walltime_minutes: Positive = 240.0
    idle_minutes: Positive = 5.0
    exclusive: bool = False
    launcher: Literal["auto", "single", "srun", "mpiexec"] = "auto"
    worker_init: str = ""
    scheduler_options: str = ""
    select_options: str | None = None
    address: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            target = EXECUTORS.target(value)
            if value not in EXECUTORS.built_in:
                EXECUTORS.find(target)
        except InputError as error:
            raise complaint(error.message, error.hint or "", value) from None
        return value

    @model_validator(mode="after")
    def _fits(self) -> ExecutorPlan:
        own = {"name", "cores"} if self.name in EXECUTORS.built_in else {"name", "cores", "options"}
        if self.name not in CLUSTERS:
            given = sorted(self.model_fields_set - own)
            if given:
                where = "executors of other packages" if given == ["options"] else "slurm and pbs"
                raise complaint(
                    f"{', '.join(given)} belongs to {where} only", "set 'name', or remove it"
                )
        elif self.options:
            raise complaint("options belongs to executors of other packages only", "remove it")
        elif self.cores_per_node is None:
            raise complaint("cores_per_node is missing", "the cores of one node that tasks may use")
        return self

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only the keys that the executor has."""
        data: dict[str, Any] = handler(self)
        if self.name in CLUSTERS:
            return {key: value for key, value in data.items() if key != "options"}
        own = ("name", "cores") if self.name in EXECUTORS.built_in else ("name", "cores", "options")
        return {key: data[key] for key in own if key in data}


class ExecutorInput(ExecutorPlan):
    """The same in ``input.yaml``, where ``cores`` may be left out."""

    cores: Count | None = None  # type: ignore[assignment]

    def planned(self, cores: int) -> ExecutorPlan:
        """The plan's section. ``cores`` of this machine where none are given; of a cluster all that
        its blocks have.
        """
        if self.name in CLUSTERS:
            cores = (self.cores_per_node or 1) * self.nodes_per_block * self.max_blocks
        given = self.model_dump(mode="json", exclude_unset=True)
        return ExecutorPlan.model_validate({**given, "cores": self.cores or cores})
