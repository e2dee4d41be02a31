"""What the sections of a plan, and the settings that an engine brings, have in common: closed,
frozen, and errors that reach the user as they are.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = ["Count", "Positive", "Section", "complaint"]

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Unknown keys are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def complaint(what: str, hint: str, value: Any = None) -> PydanticCustomError:
    """An error whose text reaches the user as it is; ``value``: what was given, where that says
    more.
    """
    return PydanticCustomError(
        "mlip", "{what}; {hint}", {"what": what, "hint": hint, "value": value}
    )
