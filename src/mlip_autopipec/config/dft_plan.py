"""The plan's ``dft`` section: the code, its method, and the limits of one calculation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.problems import complaint_of, validate
from mlip_autopipec.base.section import Count, Positive, Section, complaint
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import DftMethod, DftWishes

__all__ = ["DftPlan", "checked_wishes"]


class DftPlan(Section):
    """How structures are labelled.

    ``method``: everything that fixes the physics, in the form of ``engine`` (its ``Method``); all
    else are limits and numerical settings. ``convergence``: ``check`` asks for a series of
    calculations before the first label, ``checked`` says that its choice stands in the method.
    ``cores`` of one calculation are MPI ranks times OpenMP ``threads``.
    """

    engine: str = registry.DEFAULT_DFT
    method: SerializeAsAny[DftMethod]
    convergence: Literal["derived", "check", "checked"] = "derived"
    max_force_ev_per_a: Positive = 50.0
    walltime_s: Positive = 1800.0
    max_attempts: Count = 5
    cores: Count = 1
    threads: Count = 1

    @field_validator("engine")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            registry.dft_engine(value)
        except InputError as error:
            raise complaint(error.message, error.hint or "", error.value) from None
        return value

    @field_validator("method", mode="before")
    @classmethod
    def _in_the_form_of_the_engine(cls, value: Any, info: ValidationInfo) -> Any:
        if "engine" not in info.data:
            return DftMethod()  # the engine is complained of; nobody can judge its method
        if not isinstance(value, Mapping):
            return value
        try:
            return validate(registry.dft_engine(info.data["engine"]).Method, value, None)
        except InputError as error:
            raise complaint_of(error) from None

    @model_validator(mode="after")
    def _whole_ranks(self) -> DftPlan:
        if self.cores % self.threads:
            hint = "cores are MPI ranks times threads"
            raise complaint(
                f"{self.cores} cores cannot be shared out as {self.threads} threads per rank", hint
            )
        return self

    def label_method(self) -> Json:
        """The physics alone, as it stands in every :class:`LabelJob` (and is hashed into its
        label).
        """
        return {"engine": self.engine, **self.method.model_dump(mode="json")}

    @property
    def method_hash(self) -> str:
        return content_hash(self.label_method())

    def with_method(self, **changes: Any) -> DftPlan:
        """The same with other settings of the method."""
        return self.model_copy(update={"method": self.method.model_copy(update=changes)})


def checked_wishes(engine: str, wishes: Mapping[str, Any]) -> DftWishes:
    """What is wished of a method, in the form of its engine.

    Raises InputError, whose ``key`` is the name of the wish, for one that the engine does not have,
    and for a value that cannot be; for an unknown engine its ``key`` is ``dft.engine``.
    """
    return validate(registry.dft_engine(engine).Wishes, wishes, None)
